//! Docker's options that stand before the command: `docker --config DIR ps`. A line without a command is a build, whose flags have
//! some of the same names, so that these are read only before a command.

use super::known_flags::{
    KnownFlag,
    Takes::{Switch, Value},
};
use crate::error::UsageError;
use clap::Command;
use std::ffi::OsString;

/// What the options before the command ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BeforeCommand {
    /// The directory of docker's `config.json`.
    pub(crate) config: Option<String>,
    /// Names of options without an effect.
    pub(crate) idle: Vec<&'static str>,
}

const OPTIONS: [KnownFlag; 10] = [
    ("config", None, Value),
    ("context", Some('c'), Value),
    ("debug", Some('D'), Switch),
    ("host", Some('H'), Value),
    ("log-level", Some('l'), Value),
    ("tls", None, Switch),
    ("tlscacert", None, Value),
    ("tlscert", None, Value),
    ("tlskey", None, Value),
    ("tlsverify", None, Switch),
];

const LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];

impl BeforeCommand {
    /// Takes the options out of the words of the command line, of which the first is the program's name.
    ///
    /// # Errors
    /// Names the first that asks for something which rbuild does not have.
    pub(crate) fn take(words: &mut Vec<OsString>, root: &Command) -> Result<Self, UsageError> {
        let (mut given, mut kept, mut at) = (Vec::new(), Vec::new(), 1);
        while let Some(word) = words.get(at) {
            if let Some(count) = words_of_root(word) {
                kept.extend(words[at..].iter().take(count).cloned());
                at += count;
            } else if let Some((name, value, count)) = option(&words[at..]) {
                given.push((name, value));
                at += count;
            } else {
                break;
            }
        }
        let next = words.get(at).and_then(|word| word.to_str());
        let is_command = |word: &str| {
            matches!(word, "help" | "--help" | "--version") || root.find_subcommand(word).is_some()
        };
        if given.is_empty() || !next.is_some_and(is_command) {
            return Ok(Self::default());
        }
        words.splice(1..at, kept);
        Self::of(given)
    }

    fn of(given: Vec<(&'static str, String)>) -> Result<Self, UsageError> {
        let mut found = Self::default();
        for (name, value) in given {
            match (name, value.as_str()) {
                ("config", _) => found.config = Some(value).filter(|directory| !directory.is_empty()),
                ("context", "" | "default") | ("debug" | "tls" | "tlsverify", "false" | "0") => {}
                ("log-level", level) if !LEVELS.contains(&level) => {
                    return Err(UsageError::refused(format!("Unable to parse logging level: {level}")));
                }
                ("debug" | "log-level", _) => found.idle.push(name),
                (name, _) => {
                    let reason = "there is no daemon to connect to";
                    return Err(UsageError::refused(format!("--{name} is not supported: {reason}")));
                }
            }
        }
        Ok(found)
    }
}

/// How many words rbuild's own option takes; `None` for another word.
pub(super) fn words_of_root(word: &OsString) -> Option<usize> {
    match word {
        word if word == "--root" => Some(2),
        word if word.as_encoded_bytes().starts_with(b"--root=") => Some(1),
        _ => None,
    }
}

/// The option that `words` begin with, its value, and how many words it takes.
fn option(words: &[OsString]) -> Option<(&'static str, String, usize)> {
    let word = words.first()?.to_str()?;
    let (known, inline) = match word.strip_prefix("--") {
        Some(long) => {
            let (name, value) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            (OPTIONS.iter().find(|(known, ..)| *known == name)?, value)
        }
        None => {
            let mut letters = word.strip_prefix('-')?.chars();
            let letter = letters.next();
            let rest = Some(letters.as_str()).filter(|rest| !rest.is_empty());
            let known = OPTIONS.iter().find(|(_, known, _)| known.is_some() && *known == letter)?;
            (known, rest.map(|rest| rest.strip_prefix('=').unwrap_or(rest)))
        }
    };
    let (name, _, takes) = *known;
    match (takes, inline) {
        (_, Some(value)) => Some((name, value.to_owned(), 1)),
        (Value, None) => Some((name, words.get(1)?.to_str()?.to_owned(), 2)),
        (Switch, None) => Some((name, "true".to_owned(), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;

    fn taken(line: &str) -> (Result<BeforeCommand, String>, String) {
        let mut words = line.split(' ').map(OsString::from).collect();
        let taken = BeforeCommand::take(&mut words, &Cli::command()).map_err(|error| error.to_string());
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        (taken, words.join(" "))
    }

    #[test]
    fn options_before_a_command_are_docker_s_and_those_of_a_build_are_its_own() {
        let of = |config: Option<&str>, idle: &[&'static str]| {
            Ok(BeforeCommand { config: config.map(str::to_owned), idle: idle.to_vec() })
        };
        for (line, options, rest) in [
            ("rbuild --config /c ps -a", of(Some("/c"), &[]), "rbuild ps -a"),
            ("rbuild --root /r --config=/c -c default ps", of(Some("/c"), &[]), "rbuild --root /r ps"),
            ("rbuild -D -lwarn --tls=false images", of(None, &["debug", "log-level"]), "rbuild images"),
            ("rbuild -c 512 -t x .", of(None, &[]), "rbuild -c 512 -t x ."),
            ("rbuild --debug .", of(None, &[]), "rbuild --debug ."),
            ("rbuild ps --config x", of(None, &[]), "rbuild ps --config x"),
            ("rbuild --config", of(None, &[]), "rbuild --config"),
        ] {
            assert_eq!(taken(line), (options, rest.to_owned()), "{line}");
        }
        for (line, problem) in [
            ("rbuild -H unix:///run/docker.sock ps", "--host is not supported: there is no daemon"),
            ("rbuild --context far ps", "--context is not supported: there is no daemon"),
            ("rbuild --tlsverify ps", "--tlsverify is not supported"),
            ("rbuild -l bogus ps", "Unable to parse logging level: bogus"),
        ] {
            let problem_found = taken(line).0.unwrap_err();
            assert!(problem_found.starts_with(problem), "{line}: {problem_found}");
        }
    }
}
