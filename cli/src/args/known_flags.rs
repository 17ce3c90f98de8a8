//! Flags of docker's that rbuild knows and does not do. They are read like any other, so that each can be answered with its own name
//! and a reason, and values that ask for nothing (`--provenance=false`) can be let through.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use std::marker::PhantomData;

/// The flags of a command.
pub(crate) trait FlagTable {
    /// The flags.
    const FLAGS: &[KnownFlag];
}

/// A flag: its name without dashes, its short form, and what stands behind it.
pub(crate) type KnownFlag = (&'static str, Option<char>, Takes);

/// What stands behind a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A value, which may begin with a dash.
    Value,
    /// `true`, or a value behind `=`.
    Switch,
}

/// Those of a table that were given, with their values, in the table's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownFlags<T> {
    /// Names without dashes.
    pub(crate) given: Vec<(&'static str, String)>,
    table: PhantomData<T>,
}

impl<T: FlagTable> Args for KnownFlags<T> {
    fn augment_args(command: Command) -> Command {
        T::FLAGS.iter().fold(command, |command, (name, short, takes)| {
            let mut arg = Arg::new(*name).long(*name).hide(true).action(ArgAction::Append);
            if let Some(short) = short {
                arg = arg.short(*short);
            }
            command.arg(match takes {
                Takes::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                Takes::Value => arg.allow_hyphen_values(true),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: FlagTable> FromArgMatches for KnownFlags<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = T::FLAGS
            .iter()
            .filter(|(name, ..)| matches.value_source(name) == Some(ValueSource::CommandLine))
            .flat_map(|(name, ..)| {
                let values = matches.get_many::<String>(name).into_iter().flatten();
                values.map(|value| (*name, value.clone()))
            })
            .collect();
        Ok(Self { given, table: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
