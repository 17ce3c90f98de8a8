//! Prints a syntax tree as text. Parsing the text gives the same tree, except for its places.
//!
//! Spelling without meaning is not kept: continuations, runs of blanks, quotes around flags.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write as _};

use crate::{
    Add, ArgDeclaration, CommandLine, Copy, Dockerfile, Escape, Expansion, From, Healthcheck, Heredoc,
    Instruction, MAX_LINE, Node, Pairs, PairsForm, Run, Source, Tabs, Transfer, Word, heredoc,
};

impl Display for Dockerfile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let escape = self.directives.escape;
        if let Some(syntax) = &self.directives.syntax {
            writeln!(f, "# syntax={}", syntax.value)?;
        }
        if escape == Escape::Backtick {
            writeln!(f, "# escape=`")?;
        }
        if let Some(check) = &self.directives.check {
            writeln!(f, "# check={}", check.value)?;
        }
        // an empty line ends the directives, because the next comment may look like one
        writeln!(f)?;
        let printer = Printer { escape };
        for node in &self.global_args {
            printer.node(f, node, &printer.declarations(&node.value), &[])?;
        }
        for stage in &self.stages {
            printer.node(f, &stage.from, &printer.from(&stage.from.value), &[])?;
            for node in &stage.instructions {
                let (operands, bodies) = printer.instruction(&node.value);
                printer.node(f, node, &operands, &bodies)?;
            }
        }
        Ok(())
    }
}

struct Printer {
    escape: Escape,
}

/// The lines of a here-document.
struct Body<'a> {
    text: &'a str,
    name: Cow<'a, str>,
}

impl Printer {
    /// Comments, the line, and the bodies of its here-documents.
    fn node<T>(
        &self,
        f: &mut Formatter<'_>,
        node: &Node<T>,
        operands: &str,
        bodies: &[Body<'_>],
    ) -> fmt::Result {
        for comment in &node.comments {
            writeln!(f, "# {}", comment.value)?;
        }
        let mut line = format!("{} {operands}", node.keyword.value);
        let escape = self.escape.as_char();
        let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape);
        if before.is_some_and(|before| !before.ends_with(escape)) {
            // the line would be continued; trimming removes white space that a continuation does not skip
            line.push('\u{c}');
        }
        self.line(f, &line)?;
        for Body { text, name } in bodies {
            writeln!(f, "{text}{name}")?;
        }
        Ok(())
    }

    /// A line, continued where it is too long for one. Lines after the first (of triggers with here-documents) are
    /// never too long.
    fn line(&self, f: &mut Formatter<'_>, line: &str) -> fmt::Result {
        const ROOM: usize = MAX_LINE - 16;
        let escape = self.escape.as_char();
        let mut rest = line;
        while rest.find('\n').unwrap_or(rest.len()) > ROOM {
            let splits = |&at: &usize| {
                rest.is_char_boundary(at)
                    && !rest[..at].ends_with(escape)
                    && rest[at..].chars().next().is_some_and(|c| !c.is_whitespace() && c != '#')
            };
            let Some(at) = (1..ROOM).rev().find(splits) else { break };
            writeln!(f, "{}{escape}", &rest[..at])?;
            rest = &rest[at..];
        }
        writeln!(f, "{rest}")
    }

    fn from(&self, from: &From) -> String {
        let mut out = String::new();
        self.flag(&mut out, "platform", from.platform.as_ref());
        guard(&mut out, &from.image.value);
        if let Some(name) = &from.name {
            out.push_str(" AS ");
            out.push_str(&name.value);
        }
        out
    }

    fn instruction<'a>(&self, instruction: &'a Instruction) -> (String, Vec<Body<'a>>) {
        let text = match instruction {
            Instruction::Add(add) => return self.add(add),
            Instruction::Copy(copy) => return self.copy(copy),
            Instruction::Run(run) => return self.run(run),
            Instruction::Arg(args) => self.declarations(args),
            Instruction::Cmd(command) | Instruction::Entrypoint(command) => {
                let mut out = String::new();
                push_command(&mut out, command);
                out
            }
            Instruction::Env(pairs) | Instruction::Label(pairs) => self.key_values(pairs),
            Instruction::Expose(words) => {
                let mut out = String::new();
                push_words(&mut out, words.iter().map(|word| word.value.as_str()));
                out
            }
            Instruction::Healthcheck(healthcheck) => self.healthcheck(healthcheck),
            Instruction::Onbuild(onbuild) => onbuild.text.clone(),
            Instruction::Shell(words) => json(words.iter().map(String::as_str)),
            Instruction::Maintainer(word)
            | Instruction::Stopsignal(word)
            | Instruction::User(word)
            | Instruction::Workdir(word) => {
                let mut out = String::new();
                guard(&mut out, &word.value);
                out
            }
            Instruction::Volume(words) => {
                let mut out = String::new();
                push_list(&mut out, words.iter().map(|word| word.value.as_str()).collect());
                out
            }
        };
        (text, Vec::new())
    }

    fn copy<'a>(&self, copy: &'a Copy) -> (String, Vec<Body<'a>>) {
        let mut out = String::new();
        self.flag(&mut out, "from", copy.from.as_ref());
        if copy.parents {
            out.push_str("--parents ");
        }
        self.transfer(out, &copy.transfer)
    }

    fn add<'a>(&self, add: &'a Add) -> (String, Vec<Body<'a>>) {
        let mut out = String::new();
        self.flag(&mut out, "checksum", add.checksum.as_ref());
        for (name, value) in [("keep-git-dir", add.keep_git_dir), ("unpack", add.unpack)] {
            if let Some(value) = value {
                // writing to a String cannot fail
                let _ = write!(out, "--{name}={value} ");
            }
        }
        self.transfer(out, &add.transfer)
    }

    /// Adds the shared operands and flags of ADD and COPY to `out`, which has their own flags.
    fn transfer<'a>(&self, mut out: String, transfer: &'a Transfer) -> (String, Vec<Body<'a>>) {
        self.flag(&mut out, "chown", transfer.chown.as_ref());
        self.flag(&mut out, "chmod", transfer.chmod.as_ref());
        if transfer.link {
            out.push_str("--link ");
        }
        for exclude in &transfer.exclude {
            self.flag(&mut out, "exclude", Some(exclude));
        }
        let mut words: Vec<Cow<'_, str>> = Vec::with_capacity(transfer.sources.len() + 1);
        for source in &transfer.sources {
            words.push(match source {
                Source::Path(word) => word.value.as_str().into(),
                Source::Heredoc(heredoc) => marker(heredoc).into(),
            });
        }
        words.push(transfer.destination.value.as_str().into());
        let operands = out.len();
        if inline_files(transfer).next().is_none() {
            push_list(&mut out, words.iter().map(AsRef::as_ref).collect());
            if out[operands..].starts_with('[') {
                // an array announces nothing
                return (out, Vec::new());
            }
        } else {
            push_words(&mut out, words.iter().map(AsRef::as_ref));
        }
        let bodies = bodies(&out, transfer);
        (out, bodies)
    }

    fn run<'a>(&self, run: &'a Run) -> (String, Vec<Body<'a>>) {
        let mut out = String::new();
        for mount in &run.mounts {
            self.flag(&mut out, "mount", Some(mount));
        }
        self.flag(&mut out, "network", run.network.as_ref());
        self.flag(&mut out, "security", run.security.as_ref());
        for device in &run.devices {
            self.flag(&mut out, "device", Some(device));
        }
        push_command(&mut out, &run.command);
        let heredocs = run.heredocs.iter();
        let bodies = heredocs
            .map(|heredoc| Body { text: &heredoc.body.value, name: Cow::Borrowed(heredoc.name.as_str()) });
        (out, bodies.collect())
    }

    fn healthcheck(&self, healthcheck: &Healthcheck) -> String {
        let Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } =
            healthcheck
        else {
            return "NONE".to_owned();
        };
        let mut out = String::new();
        let durations = [
            ("interval", interval),
            ("timeout", timeout),
            ("start-period", start_period),
            ("start-interval", start_interval),
        ];
        for (name, nanoseconds) in durations {
            if *nanoseconds != 0 {
                let _ = write!(out, "--{name}={nanoseconds}ns ");
            }
        }
        if *retries != 0 {
            let _ = write!(out, "--retries={retries} ");
        }
        out.push_str("CMD ");
        match command {
            CommandLine::Shell(text) => out.push_str(&text.value),
            CommandLine::Exec(_) => push_command(&mut out, command),
        }
        out
    }

    fn key_values(&self, pairs: &Pairs) -> String {
        let sign = |key: &str| match pairs.form {
            PairsForm::Equals => "=",
            // an escaped blank does not separate words
            PairsForm::Legacy if key.ends_with(self.escape.as_char()) => "  ",
            PairsForm::Legacy => " ",
        };
        let words = pairs.pairs.iter().map(|(key, value)| {
            let (key, value) = (key.value.as_str(), value.value.as_str());
            format!("{key}{}{value}", sign(key))
        });
        self.quoted_words(&words.collect::<Vec<_>>())
    }

    fn declarations(&self, declarations: &[ArgDeclaration]) -> String {
        let words = declarations.iter().map(|declaration| match &declaration.default {
            Some(default) => format!("{}={}", declaration.name.value, default.value),
            None => declaration.name.value.clone(),
        });
        self.quoted_words(&words.collect::<Vec<_>>())
    }

    fn quoted_words(&self, words: &[String]) -> String {
        let mut out = String::new();
        guard(&mut out, &words.join(" "));
        if out.ends_with(char::is_whitespace) {
            // an escape character at the very end protects nothing, but keeps white space in an open quote
            out.push(self.escape.as_char());
        }
        out
    }

    /// `--name=value `, in double quotes when the value is not plain.
    fn flag(&self, out: &mut String, name: &str, value: Option<&Word>) {
        let Some(value) = value else { return };
        let escape = self.escape.as_char();
        let is_special = |c: char| c.is_whitespace() || c == '\'' || c == '"' || c == escape;
        let _ = write!(out, "--{name}=");
        if value.value.contains(is_special) {
            out.push('"');
            for c in value.value.chars() {
                if c == '"' || c == escape {
                    out.push(escape);
                }
                out.push(c);
            }
            out.push('"');
        } else {
            out.push_str(&value.value);
        }
        out.push(' ');
    }
}

fn inline_files(transfer: &Transfer) -> impl DoubleEndedIterator<Item = &Heredoc> {
    transfer.sources.iter().filter_map(|source| match source {
        Source::Heredoc(heredoc) => Some(heredoc),
        Source::Path(_) => None,
    })
}

/// The bodies that must follow a line for the markers on it. They may differ from the inline files: a quote may keep a
/// source from being a marker, or join words to a marker that is not a source, and of several with one name only the last
/// counts.
fn bodies<'a>(line: &str, transfer: &'a Transfer) -> Vec<Body<'a>> {
    let markers = heredoc::markers(line);
    let body = |(index, marker): (usize, &heredoc::Marker)| {
        let is_last = markers[index + 1..].iter().all(|later| later.name != marker.name);
        let file = inline_files(transfer).rfind(|heredoc| is_last && heredoc.name == marker.name);
        let text = file.map_or("", |heredoc| heredoc.body.value.as_str());
        Body { text, name: Cow::Owned(marker.name.clone()) }
    };
    markers.iter().enumerate().map(body).collect()
}

/// `3<<-NAME`, quoted as far as it must be.
fn marker(heredoc: &Heredoc) -> String {
    let mut out = format!("{}<<", heredoc.descriptor);
    if heredoc.tabs == Tabs::Stripped {
        out.push('-');
    }
    match heredoc.expansion {
        Expansion::Literal => {
            let _ = write!(out, "'{}'", heredoc.name.replace('\'', "'\\''"));
        }
        Expansion::Active => {
            for (at, c) in heredoc.name.char_indices() {
                if c.is_whitespace() || matches!(c, '\'' | '"' | '\\' | '$') || (at, c) == (0, '-') {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
    out
}

fn push_command(out: &mut String, command: &CommandLine) {
    match command {
        CommandLine::Shell(text) => guard(out, &text.value),
        CommandLine::Exec(words) => out.push_str(&json(words.iter().map(String::as_str))),
    }
}

/// Words between blanks, or a JSON array when one of them would not be read as one word.
fn push_list(out: &mut String, words: Vec<&str>) {
    let blank = [' ', '\t', '\r', '\n', '\u{b}', '\u{c}'];
    let plain = |word: &&str| {
        let trimmed = word.trim().len() == word.len();
        !word.is_empty() && trimmed && !word.contains(blank) && !word.contains("<<") && !word.starts_with('[')
    };
    if words.iter().all(plain) {
        push_words(out, words.into_iter());
    } else {
        out.push_str(&json(words.into_iter()));
    }
}

fn push_words<'a>(out: &mut String, words: impl Iterator<Item = &'a str>) {
    let words: Vec<&str> = words.collect();
    guard(out, &words.join(" "));
}

fn json<'a>(words: impl Iterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(words).to_string()
}

/// Appends operands, after a bare `--` if they would be read as flags.
fn guard(out: &mut String, operands: &str) {
    if operands.starts_with("--") {
        out.push_str("-- ");
    }
    out.push_str(operands);
}
