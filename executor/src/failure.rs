//! Who has to act on a failure of a step. `sys` knows the kernel and nothing of classes, so its errors get theirs here.

use crate::ExecutorError;
use rbuild_oci::FailureClass::{self, Environment, Input};
use rbuild_sys::{SandboxError, SpawnError, SysError};

impl ExecutorError {
    /// Who has to act on it. Files that are missing or of the wrong kind were named in the Dockerfile.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::SourceNotFound { .. }
            | Self::PatternMatchesNothing { .. }
            | Self::VolumeOverFile { .. }
            | Self::HostPathMissing { .. }
            | Self::SourceLeftOut { .. }
            | Self::SourceChanged { .. }
            | Self::NotADirectory { .. }
            | Self::IsADirectory { .. }
            | Self::ParentNotADirectory { .. }
            | Self::BelowAFile { .. }
            | Self::TooManyLinks { .. }
            | Self::LinkOutside { .. }
            | Self::PatternSyntax { .. }
            | Self::IllegalExclusion
            | Self::ArchiveBreakout { .. }
            | Self::DefinitionTooLong { .. }
            | Self::NotAFile { .. }
            | Self::NotAnArchive { .. }
            | Self::UnknownArchiveEntry { .. }
            | Self::WhiteoutInArchive { .. }
            | Self::UnknownUser { .. }
            | Self::ParameterOfHost { .. }
            | Self::UnknownGroup { .. }
            | Self::HostName { .. }
            | Self::IdOutOfRange { .. }
            | Self::Unsupported { .. }
            | Self::CommandFailed { .. }
            | Self::MemoryLimit { .. }
            | Self::TookTooLong { .. }
            | Self::SecretNotFound { .. }
            | Self::NoSshKeys { .. }
            | Self::NotAllowed { .. }
            | Self::KeyRefused { .. }
            | Self::Canceled => Input,
            Self::System { source, .. } | Self::ContextNotFound { source, .. } => {
                FailureClass::of_io(source, Input)
            }
            Self::BadArchive { source, .. } => source.class(),
            Self::View { source, .. } | Self::Pause { source } => sys_class(source),
            Self::PortTaken { .. }
            | Self::NoNetwork { .. }
            | Self::NamedNetwork { .. }
            | Self::NoHostGateway { .. }
            | Self::AgentAway { .. }
            | Self::AgentProgram { .. }
            | Self::DiskFull { .. }
            | Self::MachineMemory { .. }
            | Self::NoEmulator { .. }
            | Self::DeviceInArchive { .. } => Environment,
            Self::ProgramNotStarted(source) => spawn_class(source),
            Self::CommandNotStarted { source, .. } | Self::Sandbox(source) => sandbox_class(source),
            Self::CommandUser { source, .. } => source.class(),
            Self::Store(error) => error.class(),
        }
    }
}

fn sandbox_class(error: &SandboxError) -> FailureClass {
    match error {
        SandboxError::Spawn(error) => spawn_class(error),
        SandboxError::Sys(error) => sys_class(error),
        SandboxError::MountPoint { source, .. }
        | SandboxError::Limit { source, .. }
        | SandboxError::CgroupParent { source, .. } => FailureClass::of_io(source, Input),
        SandboxError::LinkInstead { .. }
        | SandboxError::MountTarget { .. }
        | SandboxError::DeviceTarget { .. }
        | SandboxError::Filter(_) => Input,
    }
}

fn spawn_class(error: &SpawnError) -> FailureClass {
    match error {
        // a program that may not be executed is as the image has it
        SpawnError::Nul { .. }
        | SpawnError::NotInPath { .. }
        | SpawnError::NotFound { .. }
        | SpawnError::Exec { .. }
        | SpawnError::EmptyCommand => Input,
        SpawnError::ImagePath { source, .. } | SpawnError::Parameter { source, .. } => {
            FailureClass::of_io(source, Input)
        }
        SpawnError::Prepare { .. } | SpawnError::Setup { .. } => Environment,
        // it is the profile of who runs it
        SpawnError::Filtered { .. } => Input,
    }
}

fn sys_class(error: &SysError) -> FailureClass {
    match error {
        SysError::Call { .. } | SysError::KernelTooOld { .. } => Environment,
        SysError::TooManyLayers { .. } => Input,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn io_error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[test]
    fn the_machine_s_faults_are_told_from_those_of_the_dockerfile() {
        const ENOENT: i32 = 2;
        const EACCES: i32 = 13;
        const ENOSPC: i32 = 28;
        let command = || "x".to_owned();
        let call =
            |number| SysError::Call { call: "mount", subject: "x".to_owned(), source: io_error(number) };
        let exec = SpawnError::Exec { command: "x".into(), script: None, source: io_error(EACCES) };
        let setup = SpawnError::Setup { call: "mount x".to_owned(), source: io_error(ENOENT) };
        let opened =
            |number| SpawnError::ImagePath { path: "/x".to_owned(), source: io_error(number) }.into();
        let not_started = |source| ExecutorError::CommandNotStarted { command: command(), code: 126, source };
        let point = |number| SandboxError::MountPoint { path: "/x".into(), source: io_error(number) };
        let many = SysError::TooManyLayers { found: 2, limit: 1 };
        let archive = |number| ExecutorError::BadArchive {
            archive: "x".to_owned(),
            source: rbuild_archive::ArchiveError::Read(io_error(number)),
        };
        let user = ExecutorError::UnknownUser { name: "x".to_owned() };
        for (error, class) in [
            (ExecutorError::system("open", b"x", io_error(ENOENT)), Input),
            (ExecutorError::Sandbox(opened(ENOENT)), Input),
            (ExecutorError::Sandbox(opened(ENOSPC)), Environment),
            (ExecutorError::system("open", b"x", io_error(EACCES)), Environment),
            (ExecutorError::system("write", b"x", io_error(ENOSPC)), Environment),
            (archive(ENOENT), Input),
            (archive(ENOSPC), Environment),
            (ExecutorError::View { layers: 1, source: call(ENOENT) }, Environment),
            (ExecutorError::View { layers: 2, source: many }, Input),
            (not_started(exec.into()), Input),
            (not_started(setup.into()), Environment),
            (ExecutorError::Sandbox(point(EACCES)), Environment),
            (ExecutorError::Sandbox(point(ENOENT)), Input),
            (ExecutorError::CommandFailed { command: command(), code: 1 }, Input),
            (ExecutorError::DiskFull { command: command(), code: 1, store: "/s".into() }, Environment),
            (ExecutorError::CommandUser { command: command(), source: Box::new(user) }, Input),
        ] {
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
