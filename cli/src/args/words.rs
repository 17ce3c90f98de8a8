//! What clap has no rule for: a line without a command is a build, and everything after the image of `run` belongs to the
//! container.

use clap::Command;
use std::ffi::{OsStr, OsString};

/// Completes the words of the command line (the program's name among them): puts `build` where the first word is a flag or
/// `is_context`, and `--` after the image of `run`. Any other first word that is not a command is left to clap to refuse.
pub(crate) fn complete(
    mut words: Vec<OsString>,
    root: &Command,
    is_context: impl FnOnce(&OsStr) -> bool,
) -> Vec<OsString> {
    let Some(first) = first_own_word(&words) else { return words };
    let word = words[first].to_string_lossy().into_owned();
    if matches!(word.as_str(), "-h" | "--help" | "-V" | "--version") {
        return words;
    }
    if word == "-v" {
        // docker's letter for it, which no command has alone
        words[first] = "--version".into();
        return words;
    }
    if word == "help" {
        // `help images` is `images --help`
        words.remove(first);
        words.push("--help".into());
        return words;
    }
    match root.find_subcommand(&word) {
        None if word.starts_with('-') || is_context(&words[first]) => words.insert(first, "build".into()),
        None => {}
        Some(run) if takes_command(run) => separate_command(&mut words, first + 1, run),
        Some(group) if group.get_name() == "container" => {
            // the commands for what containers do are the same alone
            let word = words.get(first + 1).and_then(|word| word.to_str());
            let run = word.and_then(|word| root.find_subcommand(word)).filter(|run| takes_command(run));
            if let Some(run) = run {
                separate_command(&mut words, first + 2, run);
            }
        }
        Some(_) => {}
    }
    words
}

/// True if what follows the first argument belongs to the container.
fn takes_command(command: &Command) -> bool {
    matches!(command.get_name(), "run" | "create" | "exec" | "top")
}

/// Index of the first word that is not a flag of rbuild itself.
pub(super) fn first_own_word(words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match words_of_root(word) {
            Some(count) => at += count,
            None => return Some(at),
        }
    }
    None
}

/// How many words rbuild's own option takes; `None` for another word.
pub(super) fn words_of_root(word: &OsString) -> Option<usize> {
    match word {
        word if word == "--root" => Some(2),
        word if word.as_encoded_bytes().starts_with(b"--root=") => Some(1),
        _ => None,
    }
}

/// Puts `--` after the image, which is the first word from `at` on that is neither a flag nor a flag's value.
fn separate_command(words: &mut Vec<OsString>, mut at: usize, run: &Command) {
    let mut run = run.clone();
    // its flags are described late
    run.build();
    while let Some(word) = words.get(at) {
        if word == "--" {
            // flags have ended before the image
            words.remove(at);
            words.insert(words.len().min(at + 1), "--".into());
            return;
        }
        match words_of_flag(word, &run) {
            Some(taken) => at += taken,
            None => {
                words.insert(at + 1, "--".into());
                return;
            }
        }
    }
}

/// How many words the flag `word` takes, itself included; `None` when it is not a flag.
fn words_of_flag(word: &OsStr, run: &Command) -> Option<usize> {
    let word = word.to_str()?;
    let takes_next = |arg: &clap::Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    if let Some(long) = word.strip_prefix("--") {
        let named = |arg: &&clap::Arg| {
            arg.get_long() == Some(long)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
        };
        let known = run.get_arguments().find(named);
        return Some(if known.is_some_and(takes_next) || long == "root" { 2 } else { 1 });
    }
    let shorts = word.strip_prefix('-').filter(|shorts| !shorts.is_empty())?;
    for (index, short) in shorts.char_indices() {
        let known = run.get_arguments().find(|arg| arg.get_short() == Some(short));
        if known.is_some_and(takes_next) {
            // the value is the rest of the word, or the next one
            return Some(if index + short.len_utf8() == shorts.len() { 2 } else { 1 });
        }
    }
    Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;

    fn completed(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words = complete(words, &Cli::command(), |word| word == "." || word == "-");
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_line_without_a_command_is_a_build() {
        for (line, expected) in [
            ("rbuild -t x .", "rbuild build -t x ."),
            ("rbuild .", "rbuild build ."),
            ("rbuild --root /r .", "rbuild --root /r build ."),
            ("rbuild --root=/r images", "rbuild --root=/r images"),
            ("rbuild --help", "rbuild --help"),
            ("rbuild help tag", "rbuild tag --help"),
            ("rbuild -", "rbuild build -"),
            ("rbuild b .", "rbuild b ."),
            ("rbuild biuld .", "rbuild biuld ."),
            ("rbuild", "rbuild"),
        ] {
            assert_eq!(completed(line), expected);
        }
    }

    #[test]
    fn flags_after_the_image_are_the_container_s() {
        for (line, expected) in [
            ("rbuild run -it -e A=1 img -e x", "rbuild run -it -e A=1 img -- -e x"),
            ("rbuild run --rm img", "rbuild run --rm img --"),
            ("rbuild run -iw x img sh", "rbuild run -iw x img -- sh"),
            ("rbuild run -ew x sh", "rbuild run -ew x -- sh"),
            ("rbuild run --net host img -- x", "rbuild run --net host img -- -- x"),
            ("rbuild container run -w / img ls -l", "rbuild container run -w / img -- ls -l"),
            ("rbuild run --name=a img", "rbuild run --name=a img --"),
            ("rbuild run --rm -- img echo x", "rbuild run --rm img -- echo x"),
            ("rbuild run --", "rbuild run --"),
        ] {
            assert_eq!(completed(line), expected);
        }
    }
}
