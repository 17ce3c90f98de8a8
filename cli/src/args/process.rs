//! The flags for the first process of a container and its kernel, and those of docker's that rbuild knows and does not do: they
//! are read like any other, so that each is answered with its own name and a reason.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

/// What a container's first process and its kernel are told.
#[derive(Debug, Default, Args)]
pub(crate) struct ProcessFlags {
    /// A group beside the user's, by name or number; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Name of the container's domain
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// How soon its processes are killed when the machine has no memory (-1000 to 1000)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) oom_score_adj: Option<String>,
    /// A parameter of its own network or its own message queues and shared memory (net.core.somaxconn=1024); may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// A note for other programs (NAME=VALUE); may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// The streams to stay with: stdout and stderr, which is so anyway
    #[arg(short, long, value_name = "STREAM")]
    pub(crate) attach: Vec<String>,
}

/// Docker's flags that were given and are not done, with their values, in the table's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnmetFlags {
    /// Names without dashes.
    pub(crate) given: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    Switch,
}
use Takes::{Switch, Value};

const FLAGS: [(&str, Takes); 27] = [
    ("blkio-weight", Value),
    ("blkio-weight-device", Value),
    ("cgroupns", Value),
    ("cpu-rt-period", Value),
    ("cpu-rt-runtime", Value),
    ("device-cgroup-rule", Value),
    ("device-read-bps", Value),
    ("device-read-iops", Value),
    ("device-write-bps", Value),
    ("device-write-iops", Value),
    ("disable-content-trust", Switch),
    ("gpus", Value),
    ("ipc", Value),
    ("isolation", Value),
    ("kernel-memory", Value),
    ("link", Value),
    ("link-local-ip", Value),
    ("mac-address", Value),
    ("memory-reservation", Value),
    ("memory-swappiness", Value),
    ("oom-kill-disable", Switch),
    ("pid", Value),
    ("runtime", Value),
    ("storage-opt", Value),
    ("use-api-socket", Switch),
    ("userns", Value),
    ("uts", Value),
];

impl Args for UnmetFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, (name, takes)| {
            let arg =
                Arg::new(*name).long(*name).hide(true).action(ArgAction::Append).allow_hyphen_values(true);
            command.arg(match takes {
                Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                Value => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for UnmetFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = FLAGS
            .iter()
            .filter(|(name, _)| matches.value_source(name) == Some(ValueSource::CommandLine))
            .flat_map(|(name, _)| {
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
