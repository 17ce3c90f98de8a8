//! The effects of each instruction on its stage.

mod config;
mod copy;
mod device;
mod expose;
mod findings;
mod git;
pub(crate) mod mount;
mod run;
mod size;
mod workdir;

pub(crate) use copy::classify;
pub(crate) use findings::OnlyOnce;
pub use findings::sounds_secret;
pub use git::{GitSource, GitTimes, Submodules};
pub use size::parse_size;

use crate::PlanError;
use crate::stage_lowering::StageLowering;
use rbuild_parser::Instruction;

/// Lowers one instruction: a step, a change of the config, or both; and history.
pub(crate) fn lower(stage: &mut StageLowering<'_, '_>, instruction: &Instruction) -> Result<(), PlanError> {
    match instruction {
        Instruction::Add(add) => copy::add(stage, add),
        Instruction::Arg(args) => config::arg(stage, args),
        Instruction::Cmd(command) => config::cmd(stage, command),
        Instruction::Copy(copy) => copy::copy(stage, copy),
        Instruction::Entrypoint(command) => config::entrypoint(stage, command),
        Instruction::Env(pairs) => config::env(stage, pairs),
        Instruction::Expose(ports) => expose::expose(stage, ports),
        Instruction::Healthcheck(check) => config::healthcheck(stage, check),
        Instruction::Label(pairs) => config::label(stage, pairs),
        Instruction::Maintainer(author) => config::maintainer(stage, author),
        Instruction::Onbuild(onbuild) => {
            stage.state.config.config.on_build.push(onbuild.text.clone());
            Ok(())
        }
        Instruction::Run(run) => run::run(stage, run),
        Instruction::Shell(shell) => config::shell(stage, shell),
        Instruction::Stopsignal(signal) => config::stopsignal(stage, signal),
        Instruction::User(user) => config::user(stage, user),
        Instruction::Volume(paths) => config::volume(stage, paths),
        Instruction::Workdir(path) => workdir::workdir(stage, path),
    }
}
