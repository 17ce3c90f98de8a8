//! Mistakes that clap finds and Docker has words for: a command that does not exist, a wrong number of arguments.

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Commands of docker that rbuild does not have: a mistyped word is not what they are.
const OTHERS: [&str; 10] =
    ["compose", "config", "events", "node", "plugin", "secret", "service", "stack", "swarm", "trust"];

/// A mistake in the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// There is no such command.
    Command(String),
    /// The command takes more or fewer arguments.
    Count(String),
}

/// The mistake that `error` is about, in Docker's words where Docker has some; `None` leaves the words to clap.
pub(crate) fn mistake(error: &clap::Error, root: &Command) -> Option<Mistake> {
    match error.kind() {
        ErrorKind::InvalidSubcommand => no_such_command(error, root).map(Mistake::Command),
        ErrorKind::MissingRequiredArgument => wrong_count(error, root).map(Mistake::Count),
        ErrorKind::UnknownArgument if !text(error, ContextKind::InvalidArg)?.starts_with('-') => {
            wrong_count(error, root).map(Mistake::Count)
        }
        _ => None,
    }
}

/// The same error with the command's whole usage, which does not depend on what was typed, and without the advice to pass a flag as
/// a value.
pub(crate) fn without_guesses(mut error: clap::Error, root: &Command) -> clap::Error {
    if let Some(usage) = text(&error, ContextKind::Usage) {
        let usage = command_of(&usage, root).0.clone().render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains(" as a value, use "));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    error
}

fn no_such_command(error: &clap::Error, root: &Command) -> Option<String> {
    let word = text(error, ContextKind::InvalidSubcommand)?;
    let (group, path) = command_of(&text(error, ContextKind::Usage)?, root);
    let near = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(names)) => names.last().cloned(),
        Some(ContextValue::String(name)) => Some(name.clone()),
        _ => None,
    };
    // clap's suggestions include aliases of one letter
    let near = near.filter(|name| name.len() > 1);
    let what = if word == "events" {
        "the docker command 'events' is not supported: there is no daemon that sees all that happens; 'rbuild logs -f', 'rbuild wait' and \
         'rbuild ps' ask each container"
            .to_owned()
    } else if word == "bake" && group.get_name() == "buildx" {
        "the docker command 'bake' is not supported: one 'rbuild build' has several results, each with an output of its own that names \
         its target, as in '-o type=local,dest=out,target=test -t app'"
            .to_owned()
    } else if OTHERS.contains(&word.as_str()) {
        format!("the docker command '{word}' is not supported")
    } else {
        // a first word could also have been the context of a build
        let place = if group.get_name() == root.get_name() { " and nothing here has that name" } else { "" };
        let hint = near.map(|name| format!("; did you mean '{path} {name}'?")).unwrap_or_default();
        format!("'{word}' is not a command{place}{hint}")
    };
    Some(format!("{what}\n\nRun '{path} --help' for more information"))
}

fn wrong_count(error: &clap::Error, root: &Command) -> Option<String> {
    let usage = text(error, ContextKind::Usage)?;
    let usage = usage.trim_start_matches("Usage:").trim();
    let (command, path) = command_of(usage, root);
    let positionals: Vec<_> = command.get_positionals().collect();
    let least = positionals.iter().filter(|arg| arg.is_required_set()).count();
    let repeated = positionals.iter().any(|arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1));
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let most = positionals.len();
    let rule = match (least, most) {
        _ if repeated => format!("requires at least {least} {}", plural(least)),
        (0, 0) => "accepts no arguments".to_owned(),
        (0, most) => format!("requires at most {most} {}", plural(most)),
        (least, most) if least == most => format!("requires {least} {}", plural(least)),
        (least, most) => format!("requires at least {least} and at most {most} arguments"),
    };
    Some(format!("'{path}' {rule}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"))
}

/// The command whose usage this is, and the words that lead to it.
fn command_of<'c>(usage: &str, root: &'c Command) -> (&'c Command, String) {
    let words = usage.trim_start_matches("Usage:").split_whitespace().skip(1);
    let (mut command, mut path) = (root, String::from("rbuild"));
    for word in words {
        let Some(next) = command.find_subcommand(word) else { break };
        command = next;
        path = format!("{path} {word}");
    }
    (command, path)
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::StyledStr(text)) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;

    fn found(line: &str) -> Mistake {
        let mut root = Cli::command();
        let error = root.try_get_matches_from_mut(line.split(' ')).unwrap_err();
        mistake(&error, &root).unwrap_or_else(|| panic!("{error}"))
    }

    #[test]
    fn commands_that_do_not_exist_are_named_and_the_nearest_is_suggested() {
        for (line, message) in [
            (
                "rbuild biuld .",
                "'biuld' is not a command and nothing here has that name; did you mean 'rbuild build'?",
            ),
            (
                "rbuild imgaes",
                "'imgaes' is not a command and nothing here has that name; did you mean 'rbuild images'?",
            ),
            ("rbuild xyzzy", "'xyzzy' is not a command and nothing here has that name"),
            ("rbuild swarm x", "the docker command 'swarm' is not supported"),
            (
                "rbuild events",
                "the docker command 'events' is not supported: there is no daemon that sees all that happens; 'rbuild logs -f', \
                 'rbuild wait' and 'rbuild ps' ask each container",
            ),
            (
                "rbuild buildx bake",
                "the docker command 'bake' is not supported: one 'rbuild build' has several results, each with an output of its own that \
                 names its target, as in '-o type=local,dest=out,target=test -t app'",
            ),
            ("rbuild container plugin x", "the docker command 'plugin' is not supported"),
            ("rbuild image lss", "'lss' is not a command; did you mean 'rbuild image ls'?"),
        ] {
            let Mistake::Command(text) = found(line) else { panic!("{line}") };
            assert_eq!(text.lines().next(), Some(message), "{line}");
            assert!(text.contains("--help' for more information"), "{text}");
        }
    }

    #[test]
    fn commands_of_docker_are_not_rbuild_s() {
        let root = Cli::command();
        for name in OTHERS {
            assert!(root.find_subcommand(name).is_none(), "rbuild has {name}");
        }
    }

    #[test]
    fn wrong_counts_are_reported_in_docker_s_words() {
        for (line, message) in [
            ("rbuild tag a", "'rbuild tag' requires 2 arguments\n\nUsage:  rbuild tag SOURCE_"),
            ("rbuild build", "'rbuild build' requires 1 argument\n"),
            ("rbuild build a b", "'rbuild build' requires 1 argument\n"),
            ("rbuild rmi", "'rbuild rmi' requires at least 1 argument\n"),
            ("rbuild image rm", "'rbuild image rm' requires at least 1 argument\n"),
            ("rbuild commit", "'rbuild commit' requires at least 1 and at most 2 arguments\n"),
        ] {
            let Mistake::Count(text) = found(line) else { panic!("{line}") };
            assert!(text.starts_with(message), "{line}: {text}");
        }
    }
}
