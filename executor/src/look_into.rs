//! A command, mostly a shell, in a step that failed: the step's root with all that its command had changed, its user, variables,
//! directory, mounts and network. What it changes goes to a draft that is never a layer.

use crate::{
    ExecutorError, Run, Sandboxed, Stdio,
    container::Streams,
    network::StepNetwork,
    run::{self, environment, launch},
};
use rbuild_cache::LayerDraft;
use rbuild_sys::{
    SandboxError,
    overlay::{Syncing, Upper},
};
use std::{os::fd::AsFd, path::Path};

/// A command in a failed step, running. Dropping it kills the command and removes what it changed.
pub struct StepShell<'a> {
    process: Sandboxed,
    _network: StepNetwork<'a>,
    _draft: LayerDraft,
}

impl StepShell<'_> {
    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Hands on what it writes until its end; returns the exit code, 128 + n for signal n.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    pub fn wait(&mut self) -> Result<i32, ExecutorError> {
        Ok(self.process.wait()?.code)
    }
}

/// Starts the command of `step` on its layers with the upper directory `changes` over them.
///
/// # Errors
/// [`ExecutorError::ProgramNotStarted`] when the program is not there or cannot be executed; as [`crate::run`].
pub fn look_into<'a>(step: &Run<'a>, changes: &Path, stdio: &Stdio) -> Result<StepShell<'a>, ExecutorError> {
    let draft = step.snapshots.store().new_layer()?;
    let upper = Upper { directory: draft.fs(), work: draft.work(), syncing: Syncing::Skipped };
    let root = step.snapshots.writable(step.parent, Some(changes), upper)?;
    if let Some(emulator) = step.emulator {
        emulator.make_place(&root)?;
    }
    let network = step.networks.of_step(step.action.network);
    let mut variables = environment(step);
    let terminal = match stdio {
        Stdio::Terminal(terminal) => Some(terminal.devices.as_fd()),
        Stdio::Own | Stdio::OwnOutput | Stdio::Pipes(_) => None,
    };
    if terminal.is_some() && !variables.iter().any(|pair| pair.as_encoded_bytes().starts_with(b"TERM=")) {
        variables.push("TERM=xterm".into());
    }
    let streams = Streams::new(stdio)?;
    let reached = run::Streams { environment: variables, terminal, stdio: streams.stdio() };
    let running = launch(step, &root, &network, reached).map_err(not_started)?;
    let relay = streams.relay(running.child.pidfd())?;
    let process = Sandboxed::new(running, relay, root)?;
    Ok(StepShell { process, _network: network, _draft: draft })
}

/// The words of a person's own command instead of those of a step's.
fn not_started(error: ExecutorError) -> ExecutorError {
    match error {
        ExecutorError::CommandNotStarted { source: SandboxError::Spawn(program), .. } => {
            ExecutorError::ProgramNotStarted(program)
        }
        other => other,
    }
}
