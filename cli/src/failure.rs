//! A failure in one line: the messages of its causes, and what can be done about it in rbuild's commands and flags.

use rbuild::{Causes, Hint};
use std::error::Error;

/// The messages, outermost first.
pub(crate) fn joined(causes: &Causes) -> String {
    in_one_line(causes.iter())
}

/// Messages as a record has them, outermost first.
pub(crate) fn in_one_line<'a>(messages: impl IntoIterator<Item = &'a str>) -> String {
    messages.into_iter().map(plain).collect::<Vec<_>>().join(": ")
}

/// The messages of `error` and what caused it, and its hint.
pub(crate) fn in_full(error: &dyn Error, hint: Option<&Hint>) -> String {
    let mut text = joined(&Causes::of(error));
    if let Some(hint) = hint {
        text.push_str(&words(hint));
    }
    text
}

/// The causes behind the message.
fn words(hint: &Hint) -> String {
    match hint {
        Hint::DidYouMean(name) => format!(" (did you mean {name}?)"),
        Hint::GiveSecret { id, near } => {
            let near = near.as_ref().map(|near| format!(" (the build was given {near})")).unwrap_or_default();
            format!(": give it with --secret id={id},src=FILE{near}")
        }
        Hint::LogIn(registry) => format!(": run \"rbuild login {registry}\""),
        Hint::Fetch(image) => format!(" (nothing is pulled here: fetch it with 'rbuild pull {image}')"),
        Hint::PullAgain(image) => format!(": pull it again with 'rbuild pull {image}'"),
        Hint::MakeAgain => ": build the image again, which makes what is missing".to_owned(),
        Hint::Reach(registry) => {
            format!(": nothing else has the layer: see that {registry} can be reached, or use another image")
        }
        Hint::RemoveNames => ": remove them one by one, or use --force".to_owned(),
        Hint::Force => ": use --force".to_owned(),
        Hint::RemoveWhole => ": remove the image itself, without --platform".to_owned(),
        Hint::RemoveImage(image) => format!(": remove that image with `rbuild rmi {image}`"),
        Hint::RemoveContainer(_) => ": remove the container first, or use --force".to_owned(),
        Hint::StopUserOfImage(id) => {
            format!(": stop it with 'rbuild stop {id}', or give a name alone to take that away")
        }
        Hint::RemoveDamaged(id) => format!(": remove this container with 'rbuild rm -f {id}'"),
        Hint::RepairStore => ": 'rbuild cache verify --repair' says what is damaged, and then the next build, load or pull makes it again".to_owned(),
        Hint::FreeName(name) => format!(": remove it (rbuild rm {name}) or use another name"),
        Hint::BringImage => ": where no registry is reached, 'rbuild load' and 'rbuild import' bring base images from files, and --image-source docker takes those of the docker that runs here".to_owned(),
        Hint::NameDockerfile => ": 'rbuild build -f FILE DIRECTORY' names another".to_owned(),
        Hint::WidenContext => ": a build reaches nothing above its context: build with a directory above as the context and the file given by -f, or copy from one of its own: --build-context NAME=DIRECTORY and COPY --from=NAME".to_owned(),
        Hint::MakeRoom => ": 'rbuild df -v' says what takes how much, 'rbuild prune' removes what is not used".to_owned(),
        Hint::LockAgain => ": build with --lock to write it".to_owned(),
        Hint::StopContainer => ": stop it first, or use --force".to_owned(),
        Hint::ContinueMonitor { name, monitor } => {
            format!(": continue that with 'kill -CONT {monitor}', or remove the container with 'rbuild rm -f {name}'")
        }
        Hint::UseSocket => ": be root, or a member of the group that the socket belongs to".to_owned(),
        Hint::StartDaemon => ": start it, or write a file with 'rbuild save -o FILE IMAGE'".to_owned(),
    }
}

/// The system's words as Go's programs write them: without their number, which says nothing to people, and in lower case as
/// every other message. What a message names (a path, a command) may be as long as a stranger likes.
pub(crate) fn plain(message: &str) -> String {
    without_middle(&in_plain_words(message))
}

/// `text`, of which the beginning and the end are left if it is long.
fn without_middle(text: &str) -> String {
    const BEGINNING: usize = 600;
    const END: usize = 300;
    let length = text.chars().count();
    if length <= BEGINNING + END {
        return text.to_owned();
    }
    let end = text.chars().skip(length - END);
    text.chars().take(BEGINNING).chain(" […] ".chars()).chain(end).collect()
}

fn in_plain_words(message: &str) -> String {
    match message.rsplit_once(" (os error ") {
        Some((words, number)) if number.ends_with(')') => {
            let mut chars = words.chars();
            let first = chars.next().map(|c| c.to_ascii_lowercase());
            first.into_iter().chain(chars).collect()
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild::UnknownName;
    use std::io;

    #[test]
    fn causes_follow_their_message_and_the_hint_comes_last() {
        let source = io::Error::from_raw_os_error(2);
        let unreadable = rbuild::Error::DockerfileUnreadable { path: "/x".into(), meant: None, source };
        assert_eq!(
            in_full(&unreadable, None),
            "failed to read dockerfile: open /x: no such file or directory"
        );
        let taken = rbuild::Error::ContainerNameTaken { name: "a".to_owned(), id: "1".to_owned() };
        assert_eq!(
            in_full(&taken, taken.hint().as_ref()),
            "the container name \"a\" is already in use by container 1: remove it (rbuild rm a) or use another name"
        );
        let missing = rbuild::Error::NoSuchImage(UnknownName { name: "a".to_owned(), near: None });
        let near = Hint::DidYouMean("base".to_owned());
        assert_eq!(in_full(&missing, Some(&near)), "No such image: a (did you mean base?)");
    }

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let long = |middle: usize| format!("process \"{}\" failed: 3", "ü".repeat(middle));
        assert_eq!(plain(&long(800)), long(800));
        let cut = plain(&long(1 << 20));
        assert!(
            cut.starts_with("process \"ü") && cut.contains("ü […] ü") && cut.ends_with("ü\" failed: 3"),
            "{cut}"
        );
        assert_eq!(cut.chars().count(), 905);
    }

    #[test]
    fn only_the_system_s_words_are_changed() {
        assert_eq!(plain("Permission denied (os error 13)"), "permission denied");
        assert_eq!(plain("No such image: a"), "No such image: a");
    }
}
