//! `debug`: the step, the command, and what a person gives again.

use super::{secrets, ssh};
use crate::{args::DebugArgs, environment::Environment, error::UsageError};
use rbuild::{BuildRequest, SecretValue, SshKeys};
use std::collections::BTreeMap;

/// The longest word that is the number of a step: an id of a build that has only digits is longer.
const LONGEST_NUMBER: usize = 5;

/// What `debug` is to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct DebugOptions {
    /// The build.
    pub(crate) build: Option<String>,
    /// The number of its step.
    pub(crate) step: Option<u32>,
    /// The command; the shell when empty.
    pub(crate) command: Vec<String>,
    /// The secrets of the step.
    pub(crate) secrets: BTreeMap<String, SecretValue>,
    /// Its keys.
    pub(crate) ssh: BTreeMap<String, SshKeys>,
}

impl DebugOptions {
    /// Settles what `args` means.
    ///
    /// # Errors
    /// [`UsageError`].
    pub(crate) fn new(args: DebugArgs, environment: &Environment) -> Result<Self, UsageError> {
        let (build, step) = match args.step.as_slice() {
            [] => (None, None),
            [one] if is_number(one) => (None, Some(number(one)?)),
            [build] => (Some(build.clone()), None),
            [build, step, ..] => (Some(build.clone()), Some(number(step)?)),
        };
        Ok(Self {
            build,
            step,
            command: args.command,
            secrets: secrets::secrets(&args.secret, environment)?,
            ssh: ssh::keys(&args.ssh, environment)?,
        })
    }

    /// A shell in the failed step of a build that was given this.
    pub(crate) fn of_build(request: &BuildRequest) -> Self {
        Self { secrets: request.secrets.clone(), ssh: request.ssh.clone(), ..Self::default() }
    }
}

fn is_number(text: &str) -> bool {
    text.len() <= LONGEST_NUMBER && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str) -> Result<u32, UsageError> {
    text.parse().map_err(|_| {
        UsageError::new(format!("invalid step {text:?}: give its number, as builds inspect shows it"))
    })
}
