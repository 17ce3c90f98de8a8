//! Flags of `docker build` that rbuild knows but does not do. They are read like any other, so that each can be answered with
//! its own name, and values that ask for nothing (`--provenance=false`) can be let through.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

/// Those that were given, with their values, in the table's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OtherFlags {
    /// Names without dashes.
    pub(crate) given: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    Switch,
}
use Takes::{Switch, Value};

/// Name, short form, and whether it takes a value.
const FLAGS: [(&str, Option<char>, Takes); 13] = [
    ("allow", None, Value),
    ("attest", None, Value),
    ("builder", None, Value),
    ("compress", None, Switch),
    ("debug", Some('D'), Switch),
    ("disable-content-trust", None, Switch),
    ("force-rm", None, Switch),
    ("isolation", None, Value),
    ("policy", None, Value),
    ("provenance", None, Value),
    ("rm", None, Switch),
    ("sbom", None, Value),
    ("stream", None, Switch),
];

impl Args for OtherFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, (name, short, takes)| {
            let mut arg = Arg::new(*name).long(*name).hide(true).action(ArgAction::Append);
            if let Some(short) = short {
                arg = arg.short(*short);
            }
            // --provenance and --sbom may stand alone
            if *takes == Switch || matches!(*name, "provenance" | "sbom") {
                arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OtherFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = FLAGS
            .iter()
            .filter(|(name, ..)| matches.value_source(name) == Some(ValueSource::CommandLine))
            .flat_map(|(name, ..)| {
                let values = matches.get_many::<String>(name).into_iter().flatten();
                values.map(|value| (*name, value.clone()))
            })
            .collect();
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
