//! How the program ends: what a failure looks like on stderr, and which exit code says whose turn it is.
//!
//! | code | means |
//! |---|---|
//! | 0 | what was asked is done, or a question was answered with no
//! | 1 | what was asked failed: the Dockerfile, a step, a name, a filter, a signal; or there is no such command |
//! | 2 | the command line is wrong |
//! | 3 | the machine is in the way: disk, permission, network |
//! | 124 | a build or a step of it took longer than `--timeout` or `--step-timeout` allows |
//! | 125 | `run`: rbuild itself failed; `create`: the command line is wrong |
//! | 126, 127 | `run`: the program cannot be executed, is not found |
//! | 128 + n | signal n |

use crate::{
    diagnostic,
    error::{CliError, UsageError},
    failure::in_full,
    shown::{Color, Paint, Shown, one_line},
    streams,
};
use rbuild::{FailureClass, Hint, Remains, StartFailure};
use rbuild_docker_api::human_size;
use std::io;

/// The exit code of something that took too long, as that of timeout(1).
const TIMED_OUT: u8 = 124;

/// The exit code for `error`.
pub(crate) fn code(error: &CliError) -> u8 {
    match error {
        CliError::Usage(UsageError::Line(_)) | CliError::Template(_) => 2,
        CliError::Usage(UsageError::Build(_) | UsageError::Command(_) | UsageError::Refused(_)) => 1,
        CliError::Build(error) if error.is_closed_by_reader() => signal_code(13),
        CliError::Engine(error) if error.is_closed_by_reader() => signal_code(13),
        CliError::Build(error) if error.is_timeout() => TIMED_OUT,
        CliError::Build(error) => class_code(error.class()),
        CliError::Engine(error) | CliError::Login(error) => class_code(error.class()),
        CliError::Run(error) => match error.as_ref() {
            CliError::Engine(error) => start_failure(error).0,
            CliError::Interrupted { signal } => signal_code(*signal),
            CliError::NotStarted { code, .. } => *code,
            _ => 125,
        },
        CliError::Stream { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => signal_code(13),
        CliError::File { source, .. } => class_code(FailureClass::of_io(source, FailureClass::Input)),
        CliError::Stream { .. } | CliError::UserNamespace(_) => 3,
        CliError::Interrupted { signal } => signal_code(*signal),
        CliError::NotStarted { .. }
        | CliError::NoSuchObject(_)
        | CliError::NoSuchStep(_)
        | CliError::Refused(_)
        | CliError::NoSuchDockerContext { .. }
        | CliError::Configuration { .. }
        | CliError::ConfigFile { .. }
        | CliError::LockFile { .. }
        | CliError::NoLockFile(_)
        | CliError::Unbuildable(_) => 1,
        CliError::Declined => 0,
        CliError::Reported { code } => *code,
    }
}

/// Tells of `error` on stderr.
pub(crate) fn report(error: &CliError, color: Color) {
    let mut text = Shown::default();
    let label = match error {
        // the reader has closed the stream, or every failure was reported already
        CliError::Stream { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => return,
        CliError::Reported { .. } | CliError::Declined => return,
        CliError::Build(failure) if failure.is_closed_by_reader() => return,
        CliError::Engine(failure) if failure.is_closed_by_reader() => return,
        CliError::Build(failure) => {
            if let rbuild::Error::Several(failures) = &**failure {
                failures.iter().for_each(|failure| report_one(failure, color, &mut text));
            }
            if let Some(diagnostic) = failure.diagnostic() {
                diagnostic::render(diagnostic, color, streams::step_output(color), &mut text);
            }
            "ERROR"
        }
        CliError::Usage(UsageError::Command(_)) => "rbuild",
        CliError::Usage(_) | CliError::Unbuildable(_) => "ERROR",
        _ => "Error",
    };
    text.painted(&format!("{label}:"), Paint::BoldRed, color);
    let message = in_full(error, hint(error).as_ref());
    let message = match error {
        // in lines of their own making
        CliError::Usage(_) | CliError::Unbuildable(_) => message.into(),
        // lines that a stranger wrote must not look like rbuild's
        _ => one_line(&message),
    };
    text.text(&format!(" {message}\n"));
    if let CliError::Build(failure) = error {
        text.text(&way_in(&failure.remains()));
    }
    streams::tell(&text);
}

/// The way to look into failed steps, in one line.
fn way_in(remains: &[Remains]) -> String {
    let kept = remains.iter().filter_map(|one| match one {
        Remains::Kept { step } => Some(format!("rbuild debug {step}")),
        Remains::TooLarge { .. } | Remains::Nothing => None,
    });
    let kept: Vec<String> = kept.collect();
    match (kept.as_slice(), remains) {
        ([_], _) => "To look into the failed step: rbuild debug\n".to_owned(),
        ([_, ..], _) => format!("To look into the failed steps: {}\n", kept.join(", ")),
        ([], [Remains::TooLarge { bytes, most }, ..]) => format!(
            "The files of the failed step are not kept: they take {}, and failedStepsSize of config.toml allows {}\n",
            human_size(*bytes),
            human_size(*most)
        ),
        ([], _) => String::new(),
    }
}

/// One of several failures of a build.
fn report_one(failure: &rbuild::Error, color: Color, text: &mut Shown) {
    if let Some(diagnostic) = failure.diagnostic() {
        diagnostic::render(diagnostic, color, streams::step_output(color), text);
    }
    text.painted("ERROR:", Paint::BoldRed, color);
    text.text(&format!(" {}\n", one_line(&in_full(failure, failure.hint().as_ref()))));
}

/// The exit code of `run`, and the words, for a container's program that could not be started.
pub(crate) fn start_failure(error: &rbuild::Error) -> (u8, String) {
    let code = match error.start_failure() {
        Some(StartFailure::NotFound) => 127,
        Some(StartFailure::NotExecutable) => 126,
        None => 125,
    };
    (code, in_full(error, error.hint().as_ref()))
}

/// Tells of something that does not stop the command.
pub(crate) fn warn(text: &str) {
    streams::tell(&Shown::from(format!("WARNING: {text}\n").as_str()));
}

/// Says something to the person at the keyboard.
pub(crate) fn tell(text: &str) {
    streams::tell(&Shown::from(format!("{text}\n").as_str()));
}

/// Puts a question to the person at the keyboard, and leaves the cursor behind it.
pub(crate) fn ask(question: &str) {
    streams::tell(&Shown::from(question));
}

/// The advice about a failure.
fn hint(error: &CliError) -> Option<Hint> {
    match error {
        CliError::Build(error) => error.hint(),
        CliError::Engine(error) => error.hint(),
        CliError::Run(error) => hint(error),
        CliError::NoSuchObject(unknown) => unknown.near.clone().map(Hint::DidYouMean),
        _ => None,
    }
}

/// The exit code for a class of failures.
pub(crate) fn class_code(class: FailureClass) -> u8 {
    match class {
        FailureClass::Input | FailureClass::Internal => 1,
        FailureClass::Environment => 3,
    }
}

pub(crate) fn signal_code(signal: i32) -> u8 {
    (128 + signal).clamp(1, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_the_user_s() {
        let source = io::Error::from_raw_os_error(2);
        let error = CliError::File { action: "open", path: "/x".into(), source };
        assert_eq!(code(&error), 1);
        let missing = rbuild::Error::ContextMissing { path: "/nope".into() };
        let error = CliError::Build(Box::new(missing));
        assert_eq!(
            in_full(&error, None),
            "failed to build: unable to prepare context: path \"/nope\" not found"
        );
        assert_eq!(code(&error), 1);
    }

    #[test]
    fn usage_and_signals_have_their_codes() {
        assert_eq!(code(&UsageError::new("x").into()), 2);
        assert_eq!(code(&UsageError::refused("x").into()), 1);
        assert_eq!(code(&CliError::Interrupted { signal: 2 }), 130);
        assert_eq!(code(&CliError::Run(Box::new(UsageError::new("x").into()))), 125);
    }
}
