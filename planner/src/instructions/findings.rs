//! Build checks of single instructions, made while they are carried out: only of stages that are reached, of triggers
//! too.

use crate::plan::{CopyAction, CopySource, Filesystem};
use crate::stage_lowering::StageLowering;
use rbuild_parser::{Lines, PairsForm, Rule};

/// The last lines of each instruction of which only the last in a stage counts.
#[derive(Debug, Default)]
pub(crate) struct OnlyOnce {
    pub(crate) cmd: Option<Lines>,
    pub(crate) entrypoint: Option<Lines>,
    pub(crate) healthcheck: Option<Lines>,
}

/// MultipleInstructionsDisallowed: at the earlier instruction, since that one does nothing.
pub(super) fn only_once(stage: &mut StageLowering<'_, '_>, kind: fn(&mut OnlyOnce) -> &mut Option<Lines>) {
    let here = stage.lines();
    let Some(earlier) = kind(&mut stage.once).replace(here) else { return };
    let message = format!(
        "Multiple {} instructions should not be used in the same stage because only the last one will be used",
        stage.keyword()
    );
    stage.lint_at(Rule::MultipleInstructionsDisallowed, message, earlier);
}

/// LegacyKeyValueFormat: `ENV name value`.
pub(super) fn pairs_form(stage: &mut StageLowering<'_, '_>, form: PairsForm) {
    match form {
        PairsForm::Legacy => {
            let name = stage.keyword();
            let message =
                format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
            stage.lint(Rule::LegacyKeyValueFormat, message);
        }
        PairsForm::Equals => {}
    }
}

/// JSONArgsRecommended: a shell receives the signals instead of the program, although SHELL was not used.
pub(super) fn shell_form(stage: &mut StageLowering<'_, '_>) {
    let message = format!(
        "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
        stage.keyword()
    );
    stage.lint(Rule::JSONArgsRecommended, message);
}

/// SecretsUsedInArgOrEnv: a variable named like a secret, which the image would keep.
pub(super) fn secret(stage: &mut StageLowering<'_, '_>, instruction: &str, key: &str) {
    if sounds_secret(key) {
        let message =
            format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {key:?})");
        stage.lint(Rule::SecretsUsedInArgOrEnv, message);
    }
}

/// CopyIgnoredFile: sources of a COPY or ADD that the ignore file leaves out of the main context.
pub(super) fn ignored_sources(stage: &mut StageLowering<'_, '_>, action: &CopyAction, instruction: &str) {
    let verb = match instruction {
        "ADD" => "Add",
        _ => "Copy",
    };
    if action.from != Filesystem::Context {
        return;
    }
    for source in &action.sources {
        match source {
            CopySource::Path(path) => {
                let path = cleaned(path);
                if stage.is_ignored(&path) {
                    let message =
                        format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
                    stage.lint(Rule::CopyIgnoredFile, message);
                }
            }
            CopySource::Http(_) | CopySource::Git(_) | CopySource::Inline { .. } => {}
        }
    }
}

/// True if a word of `key` names a secret, and no other word says that the value is not the secret itself.
#[must_use]
pub fn sounds_secret(key: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let has = |words: &[&str]| key.split('_').any(|part| words.iter().any(|w| part.eq_ignore_ascii_case(w)));
    has(&SECRET) && !has(&HARMLESS)
}

/// `path` without `.`, `..` and doubled slashes, as Go's `path.Clean` has it.
fn cleaned(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if !root.is_empty() => {}
            other => parts.push(other),
        }
    }
    match (root, parts.join("/")) {
        ("", path) if path.is_empty() => ".".to_owned(),
        (root, path) => format!("{root}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (text, clean) in
            [("./a//b/", "a/b"), ("/a/../b", "/b"), (".", "."), ("", "."), ("/", "/"), ("../x", "../x")]
        {
            assert_eq!(cleaned(text), clean);
        }
    }
}
