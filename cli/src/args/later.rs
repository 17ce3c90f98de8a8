//! Flags that are described to clap only when their command is the one that was typed, because the description of a build's flags,
//! which stand under four names, costs more than most commands do.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// The flags `T` of one command.
#[derive(Debug)]
pub(crate) struct Later<T>(pub(crate) Box<T>);

impl<T: Args> Args for Later<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| keep_about(command, T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|command| keep_about(command, T::augment_args_for_update))
    }
}

/// What the command does was said where it is named, and not where its flags are.
fn keep_about(command: Command, augment: fn(Command) -> Command) -> Command {
    let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
    let command = augment(command);
    let command = if let Some(about) = about { command.about(about) } else { command };
    if let Some(about) = long_about { command.long_about(about) } else { command }
}

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Box::new).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
