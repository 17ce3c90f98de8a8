//! Docker's options that stand before the command: `docker --config DIR ps`. A line without a command is a build, whose flags have
//! some of the same names, so that these are read only before a command. Docker's plugin has some of its own, before a command of it:
//! `buildx --builder NAME build`.

use super::{
    known_flags::{
        KnownFlag,
        Takes::{Switch, Value},
    },
    words::{first_own_word, words_of_root},
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
    /// The builder that is asked to do the work of a command of `buildx`.
    pub(crate) builder: Option<String>,
}

const OPTIONS: [KnownFlag; 11] = [
    ("builder", None, Value),
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

/// Those of the plugin.
const OF_BUILDX: [KnownFlag; 2] = [("builder", None, Value), ("debug", Some('D'), Switch)];

const LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];

impl BeforeCommand {
    /// Takes the options out of the words of the command line, of which the first is the program's name.
    ///
    /// # Errors
    /// Names the first that asks for something which rbuild does not have.
    pub(crate) fn take(words: &mut Vec<OsString>, root: &Command) -> Result<Self, UsageError> {
        let Leading { given, kept, end } = Leading::of(words, 1, &OPTIONS);
        let next = words.get(end).and_then(|word| word.to_str()).unwrap_or_default();
        let is_command = |word: &str| {
            matches!(word, "help" | "-h" | "--help" | "-v" | "-V" | "--version")
                || root.find_subcommand(word).is_some()
        };
        let mut found = Self::default();
        if !given.is_empty() && is_command(next) {
            found.add(given, next)?;
            words.splice(1..end, kept);
        }
        found.take_from_plugin(words);
        Ok(found)
    }

    /// Takes the options between `buildx` and its command.
    fn take_from_plugin(&mut self, words: &mut Vec<OsString>) {
        let Some(first) = first_own_word(words).filter(|at| words[*at] == "buildx") else { return };
        let Leading { given, kept, end } = Leading::of(words, first + 1, &OF_BUILDX);
        words.splice(first + 1..end, kept);
        for (name, value) in given {
            match (name, value.as_str()) {
                ("builder", _) => self.builder = Some(value).filter(|name| !name.is_empty()),
                (_, "false" | "0") => {}
                (name, _) => self.idle.push(name),
            }
        }
    }

    fn add(&mut self, given: Vec<Given>, command: &str) -> Result<(), UsageError> {
        let found = self;
        for (name, value) in given {
            match (name, value.as_str()) {
                ("builder", value) => {
                    let message =
                        format!("--builder stands after the command: rbuild {command} --builder {value}");
                    return Err(UsageError::refused(message));
                }
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
        Ok(())
    }
}

/// An option's name and its value.
type Given = (&'static str, String);

/// The options at a place of the command line.
struct Leading {
    given: Vec<Given>,
    /// Words between them that are rbuild's own options.
    kept: Vec<OsString>,
    /// Where they end.
    end: usize,
}

impl Leading {
    fn of(words: &[OsString], begin: usize, known: &[KnownFlag]) -> Self {
        let mut found = Self { given: Vec::new(), kept: Vec::new(), end: begin };
        while let Some(word) = words.get(found.end) {
            if let Some(count) = words_of_root(word) {
                found.kept.extend(words[found.end..].iter().take(count).cloned());
                found.end += count;
            } else if let Some((given, count)) = options(&words[found.end..], known) {
                found.given.extend(given);
                found.end += count;
            } else {
                break;
            }
        }
        found
    }
}

/// The options of the first of `words`, and how many words they take: one with a long name, or several of one letter each.
fn options(words: &[OsString], known: &[KnownFlag]) -> Option<(Vec<Given>, usize)> {
    let word = words.first()?.to_str()?;
    let next = || Some((words.get(1)?.to_str()?.to_owned(), 2));
    if let Some(long) = word.strip_prefix("--") {
        let (name, inline) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let (name, _, takes) = *known.iter().find(|(known, ..)| *known == name)?;
        let (value, count) = match (takes, inline) {
            (_, Some(value)) => (value.to_owned(), 1),
            (Value, None) => next()?,
            (Switch, None) => ("true".to_owned(), 1),
        };
        return Some((vec![(name, value)], count));
    }
    let mut given = Vec::new();
    let mut letters = word.strip_prefix('-').filter(|letters| !letters.is_empty())?.chars();
    while let Some(letter) = letters.next() {
        let (name, _, takes) = *known.iter().find(|(_, known, _)| *known == Some(letter))?;
        let rest = letters.as_str();
        let (value, count) = match (takes, rest, rest.strip_prefix('=')) {
            (_, _, Some(value)) => (value.to_owned(), 1),
            (Switch, _, None) => {
                given.push((name, "true".to_owned()));
                continue;
            }
            (Value, "", None) => next()?,
            (Value, value, None) => (value.to_owned(), 1),
        };
        given.push((name, value));
        return Some((given, count));
    }
    Some((given, 1))
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
        let of = |config: Option<&str>, idle: &[&'static str], builder: Option<&str>| {
            Ok(BeforeCommand {
                config: config.map(str::to_owned),
                idle: idle.to_vec(),
                builder: builder.map(str::to_owned),
            })
        };
        for (line, options, rest) in [
            ("rbuild --config /c ps -a", of(Some("/c"), &[], None), "rbuild ps -a"),
            ("rbuild --root /r --config=/c -c default ps", of(Some("/c"), &[], None), "rbuild --root /r ps"),
            ("rbuild -D -lwarn --tls=false images", of(None, &["debug", "log-level"], None), "rbuild images"),
            ("rbuild -Dl info ps", of(None, &["debug", "log-level"], None), "rbuild ps"),
            ("rbuild -Dldebug debug ps", of(None, &["debug", "log-level"], None), "rbuild debug ps"),
            ("rbuild -D=false -c=default ps", of(None, &[], None), "rbuild ps"),
            ("rbuild -c 512 -t x .", of(None, &[], None), "rbuild -c 512 -t x ."),
            ("rbuild --debug .", of(None, &[], None), "rbuild --debug ."),
            ("rbuild --builder x .", of(None, &[], None), "rbuild --builder x ."),
            ("rbuild ps --config x", of(None, &[], None), "rbuild ps --config x"),
            ("rbuild --config", of(None, &[], None), "rbuild --config"),
            ("rbuild buildx -D build .", of(None, &["debug"], None), "rbuild buildx build ."),
            (
                "rbuild -D --root /r buildx --builder=b --root /s build --debug .",
                of(None, &["debug"], Some("b")),
                "rbuild --root /r buildx --root /s build --debug .",
            ),
        ] {
            assert_eq!(taken(line), (options, rest.to_owned()), "{line}");
        }
        for (line, problem) in [
            ("rbuild -H unix:///run/docker.sock ps", "--host is not supported: there is no daemon"),
            ("rbuild --context far ps", "--context is not supported: there is no daemon"),
            ("rbuild --tlsverify ps", "--tlsverify is not supported"),
            ("rbuild --builder x build .", "--builder stands after the command: rbuild build --builder x"),
            ("rbuild -l bogus ps", "Unable to parse logging level: bogus"),
        ] {
            let problem_found = taken(line).0.unwrap_err();
            assert!(problem_found.starts_with(problem), "{line}: {problem_found}");
        }
    }
}
