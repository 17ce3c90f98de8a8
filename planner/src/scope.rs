//! Variables: the global scope before the first FROM, the automatic arguments, and ordered environments.
//!
//! Lowering a stage's instructions decides which of them it sees. Nothing here reads the real environment.

use crate::env::Env;
use crate::options::PlanOptions;
use crate::plan::{ArgumentOrigin, PlannedArgument};
use crate::{PlanError, PlanErrorKind};
use rbuild_oci::Platform;
use rbuild_parser::{ArgDeclaration, Dockerfile, Escape, Node, WordError, WordMode, expand};
use std::cell::RefCell;
use std::collections::HashMap;

/// A word after expansion, and which names it met.
#[derive(Debug, Default)]
pub(crate) struct ExpandedWord {
    pub(crate) text: String,
    pub(crate) unset: Vec<String>,
    pub(crate) used: Vec<String>,
}

/// Expands one word.
pub(crate) fn expand_word(text: &str, escape: Escape, env: &Env) -> Result<ExpandedWord, WordError> {
    if is_literal(text, escape) {
        return Ok(ExpandedWord { text: text.to_owned(), ..ExpandedWord::default() });
    }
    if let Some(name) = lone_variable(text) {
        return Ok(match env.get(name) {
            Some(value) => ExpandedWord {
                text: value.to_owned(),
                used: vec![name.to_owned()],
                ..ExpandedWord::default()
            },
            None => ExpandedWord { unset: vec![name.to_owned()], ..ExpandedWord::default() },
        });
    }
    let used = RefCell::new(Vec::new());
    let expanded = expand(text, escape, WordMode::Single, &|name| {
        let value = env.get(name)?.to_owned();
        used.borrow_mut().push(name.to_owned());
        Some(value)
    })?;
    let text = expanded.words.into_iter().next().unwrap_or_default();
    Ok(ExpandedWord { text, unset: expanded.unset, used: used.into_inner() })
}

/// The names that expansion looked for in vain, whether it worked or not.
pub(crate) fn unset_in(expanded: &Result<ExpandedWord, WordError>) -> &[String] {
    match expanded {
        Ok(word) => &word.unset,
        Err(error) => &error.unset,
    }
}

/// The name in a word that is `$name` or `${name}`, the forms that need no parser. Names of other than ASCII letters,
/// digits and `_` are left to it.
fn lone_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let name = name.strip_prefix('{').map_or(Some(name), |name| name.strip_suffix('}'))?;
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain.then_some(name)
}

/// The offset of the first character with a special meaning.
pub(crate) fn special_at(text: &str, escape: Escape) -> Option<usize> {
    let escape = match escape {
        Escape::Backslash => b'\\',
        Escape::Backtick => b'`',
    };
    text.bytes().position(|b| matches!(b, b'$' | b'\'' | b'"') || b == escape)
}

/// True if expansion would return `text` unchanged, so that it can be skipped.
pub(crate) fn is_literal(text: &str, escape: Escape) -> bool {
    special_at(text, escape).is_none()
}

/// The scope of FROM lines.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    /// The values.
    pub(crate) env: Env,
    /// The declarations in order.
    pub(crate) arguments: Vec<PlannedArgument>,
    /// The values when no build argument is given; `None` when a default does not expand then.
    pub(crate) defaults: Option<Env>,
}

/// Evaluates the ARGs before the first FROM.
pub(crate) fn evaluate_globals(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    build_args: &HashMap<String, String>,
) -> Result<Globals, PlanError> {
    let last = dockerfile.stages.last().and_then(|stage| stage.from.value.name.as_ref());
    let target = options.target().or(last.map(|name| name.value.as_str())).unwrap_or("default");
    let automatic = automatic_args(options, build_args, target);
    let escape = dockerfile.directives.escape;
    let defaults = evaluate(&dockerfile.global_args, automatic.clone(), escape, &HashMap::new()).ok();
    let defaults = defaults.map(|(env, _)| env);
    let (env, arguments) = evaluate(&dockerfile.global_args, automatic, escape, build_args)?;
    Ok(Globals { env, arguments, defaults })
}

fn evaluate(
    nodes: &[Node<Vec<ArgDeclaration>>],
    mut env: Env,
    escape: Escape,
    build_args: &HashMap<String, String>,
) -> Result<(Env, Vec<PlannedArgument>), PlanError> {
    let mut arguments: Vec<PlannedArgument> = Vec::new();
    for node in nodes {
        for arg in &node.value {
            let name = arg.name.value.as_str();
            let mut needs = Vec::new();
            let value = match (build_args.get(name), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    let expanded = expand_word(&default.value, escape, &env);
                    let expanded = expanded.map_err(|e| PlanErrorKind::Word(e).at(node.lines))?;
                    needs = expanded.used;
                    Some(expanded.text)
                }
                (None, None) => None,
            };
            // one that is made of its own earlier value needs what that one needed
            if needs.iter().any(|needed| needed == name) {
                needs.retain(|needed| needed != name);
                let earlier = arguments.iter().rev().find(|argument| argument.name == name);
                needs.extend(earlier.into_iter().flat_map(|argument| argument.needs.iter().cloned()));
            }
            if let Some(value) = &value {
                env.set(name, value.clone());
            }
            let (name, origin) = (name.to_owned(), ArgumentOrigin::Itself);
            arguments.push(PlannedArgument { name, value, origin, needs, lines: node.lines });
        }
    }
    Ok((env, arguments))
}

/// `BUILDPLATFORM`, `TARGETARCH` and so on; build arguments override them.
fn automatic_args(options: &PlanOptions, build_args: &HashMap<String, String>, target: &str) -> Env {
    let mut env = Env::default();
    let mut set = |name: String, value: &str| {
        let value = build_args.get(&name).cloned().unwrap_or_else(|| value.to_owned());
        env.set(&name, value);
    };
    for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", options.target_platform())] {
        let Platform { architecture, os, os_version, os_features: _, variant } = platform;
        set(format!("{prefix}PLATFORM"), &platform.to_string());
        set(format!("{prefix}OS"), os);
        set(format!("{prefix}OSVERSION"), os_version.as_deref().unwrap_or(""));
        set(format!("{prefix}ARCH"), architecture);
        set(format!("{prefix}VARIANT"), variant.as_deref().unwrap_or(""));
    }
    set("TARGETSTAGE".to_owned(), target);
    env
}
