//! Which file of a crate names which: paths that begin with `crate::`, `super::` or the name of a submodule, in `use` and
//! in code, followed through re-exports to the file that has the item.

use crate::{root, rust_files};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A module's path in its crate; empty is the crate's root.
type Module = Vec<String>;

/// The source files of one crate.
pub(crate) struct Sources {
    files: BTreeMap<Module, String>,
    /// By module: the names its `use` declarations bring, and what they stand for.
    imports: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Sources {
    /// Reads the crate in `folder`.
    pub(crate) fn of(folder: &str) -> Self {
        let src = root().join(folder).join("src");
        let files = rust_files(&src);
        Self::new(files.iter().map(|path| {
            let text = fs::read_to_string(path).unwrap();
            (module_of(path.strip_prefix(&src).unwrap()), code_of(&text))
        }))
    }

    fn new(files: impl Iterator<Item = (Module, String)>) -> Self {
        let mut sources = Self { files: files.collect(), imports: BTreeMap::new() };
        let modules: Vec<Module> = sources.files.keys().cloned().collect();
        for module in modules {
            let mut names = BTreeMap::new();
            for (declaration, _) in declarations(&sources.files[&module]) {
                for (path, name) in sources.paths(&module, declaration) {
                    names.insert(name, path);
                }
            }
            sources.imports.insert(module, names);
        }
        sources
    }

    /// By module, as `a::b`: the modules whose items it names.
    pub(crate) fn edges(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut edges = BTreeMap::new();
        for (module, code) in &self.files {
            let mut code = code.clone();
            // what is only handed on is not used here
            for (declaration, public) in declarations(&code.clone()) {
                if public {
                    code = code.replacen(declaration, "", 1);
                }
            }
            let named = self.paths(module, &code).into_iter().map(|(path, _)| self.home(&path, 0));
            let named: BTreeSet<String> =
                named.filter(|other| other != module).map(|other| name_of(&other)).collect();
            edges.insert(name_of(module), named);
        }
        edges
    }

    /// The module that has the item at `path`.
    fn home(&self, path: &[String], depth: usize) -> Module {
        let mut module = Module::new();
        for (position, part) in path.iter().enumerate() {
            let below: Module = module.iter().chain([part]).cloned().collect();
            if self.files.contains_key(&below) {
                module = below;
                continue;
            }
            // a chain of re-exports is short
            if let Some(imported) = self.imports.get(&module).and_then(|names| names.get(part))
                && depth < 8
                && imported.as_slice() != path
            {
                let rest = imported.iter().chain(&path[position + 1..]).cloned().collect::<Vec<_>>();
                return self.home(&rest, depth + 1);
            }
            break;
        }
        module
    }

    /// Paths into the crate in `code` of `module`, each with its last name.
    fn paths(&self, module: &Module, code: &str) -> Vec<(Module, String)> {
        let mut found = Vec::new();
        let bytes = code.as_bytes();
        let mut at = 0;
        while let Some(next) = code[at..].find("::").map(|offset| at + offset) {
            let start = code[..next].rfind(|c: char| !is_word(c)).map_or(0, |before| before + 1);
            let first = &code[start..next];
            at = next + 2;
            let is_continued = start >= 2 && &bytes[start - 2..start] == b"::";
            if is_continued || first.is_empty() {
                continue;
            }
            let below: Module = module.iter().map(String::as_str).chain([first]).map(str::to_owned).collect();
            let begin = match first {
                "crate" => Module::new(),
                "self" => module.clone(),
                "super" => module[..module.len().saturating_sub(1)].to_vec(),
                _ if self.files.contains_key(&below) => below,
                name => match self.imports.get(module).and_then(|names| names.get(name)) {
                    Some(imported) => imported.clone(),
                    None => continue,
                },
            };
            tree(&code[at..], &begin, &mut found);
        }
        found
    }
}

/// Reads what follows `prefix::`: a name, a list in braces, or more of the path. Returns how much it read.
fn tree(code: &str, prefix: &Module, found: &mut Vec<(Module, String)>) -> usize {
    let blank = code.len() - code.trim_start().len();
    let rest = &code[blank..];
    if let Some(list) = rest.strip_prefix('{') {
        let mut at = 0;
        loop {
            at += tree(&list[at..], prefix, found);
            match list[at..].find([',', '}']) {
                Some(end) if list[at + end..].starts_with(',') => at += end + 1,
                Some(end) => return blank + 1 + at + end + 1,
                None => return code.len(),
            }
        }
    }
    let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
    let after = &rest[word.len()..];
    let mut path = prefix.clone();
    match word {
        "" => return blank,
        "self" => {}
        "super" => drop(path.pop()),
        name => path.push(name.to_owned()),
    }
    if let Some(more) = after.strip_prefix("::") {
        let is_path = more.starts_with(|c| is_word(c) || c == '{');
        if is_path {
            return blank + word.len() + 2 + tree(more, &path, found);
        }
    }
    let renamed =
        after.strip_prefix(" as ").map(|rest| &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]);
    let name = renamed.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    found.push((path, name));
    blank + word.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The `use` declarations of `code`, and whether each is public.
fn declarations(code: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let public = line.starts_with("pub use ") || (line.starts_with("pub(") && line.contains(") use "));
        if (public || line.starts_with("use "))
            && let Some(end) = code[start..].find(';')
        {
            found.push((&code[start..=start + end], public));
        }
    }
    found
}

/// The text without comments, string literals and its tests, which are at its end.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let mut quoted = false;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            match c {
                '"' if before != '\\' && before != '\'' => quoted = !quoted,
                '/' if !quoted && line[at..].starts_with("//") => break,
                _ if quoted => {}
                _ => code.push(c),
            }
            before = c;
        }
        code.push('\n');
    }
    code
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn module_of(path: &Path) -> Module {
    let mut parts: Module =
        path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

fn name_of(module: &Module) -> String {
    if module.is_empty() { "crate".to_owned() } else { module.join("::") }
}

#[test]
fn names_are_followed_to_their_files() {
    let file = |module: &[&str], code: &str| {
        (module.iter().map(|part| (*part).to_owned()).collect::<Module>(), code_of(code))
    };
    let sources = Sources::new(
        [
            file(&[], "mod a;\nmod b;\npub use b::inner::{Deep, Other as Renamed};\n"),
            file(&["a"], "use crate::{Deep, b::{self, Plain}};\n// crate::c\nfn f() { crate::Renamed; \"crate::c\"; }\n"),
            file(&["b"], "mod inner;\nuse super::a;\npub(crate) use inner::Deep;\nfn g() { inner::h() }\n"),
            file(&["b", "inner"], "use super::Plain;\n#[cfg(test)]\nmod tests { use crate::c; }\n"),
            file(&["c"], "use crate::b;\nfn through() { b::Deep::new() }\n"),
        ]
        .into_iter(),
    );
    let edges = sources.edges();
    let of = |module: &str| edges[module].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("crate"), [""; 0]);
    assert_eq!(of("a"), ["b", "b::inner"]);
    assert_eq!(of("b"), ["a", "b::inner"]);
    assert_eq!(of("b::inner"), ["b"]);
    assert_eq!(of("c"), ["b", "b::inner"]);
}
