//! Switches in Docker's manner: `--pull`, `--pull=true`, `--pull=0`; and paths that may be empty.

use clap::{
    Arg, ArgAction,
    builder::{OsStringValueParser, TypedValueParser},
};
use std::path::PathBuf;

/// Takes any path: an empty one counts as none, as with Docker, where a script leaves a variable empty.
pub(super) fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Makes a switch of an argument: `#[arg(long, switch = false)]`.
pub(super) trait Switch {
    /// The argument as a switch that is `unset` when it is not given.
    fn switch(self, unset: bool) -> Self;
}

impl Switch for Arg {
    fn switch(self, unset: bool) -> Self {
        self.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value(if unset { "true" } else { "false" })
            .hide_default_value(true)
            .value_name("BOOL")
            .value_parser(parse)
    }
}

/// When to ask for an image that the store has: `--pull` is a switch in docker, and a word in newer tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PullFlag {
    /// `missing`, `false`.
    #[default]
    Missing,
    /// `always`, `true`, or nothing behind the flag.
    Always,
    /// `never`.
    Never,
}

/// Reads the value of `build --pull`.
pub(super) fn parse_pull(text: &str) -> Result<PullFlag, String> {
    match text {
        "missing" => Ok(PullFlag::Missing),
        "always" => Ok(PullFlag::Always),
        "never" => Ok(PullFlag::Never),
        text => match parse(text) {
            Ok(true) => Ok(PullFlag::Always),
            Ok(false) => Ok(PullFlag::Missing),
            Err(_) => Err("must be always, missing, never, true or false".to_owned()),
        },
    }
}

/// Reads the value of a switch as Go's `strconv.ParseBool` does.
fn parse(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}
