//! Whether this machine runs the programs of a platform: by its own processor, or by an emulator that the kernel starts for them
//! (binfmt_misc). The answer comes from the kernel, which is given a program of a few bytes.
//!
//! The kernel opens an emulator once, when it is registered with the flag `F`, or for each program anew, by its path in the
//! root of that program. In the second case a sandbox has to have it there ([`Emulator`]).

mod elf;
mod place;
mod probe;
mod registration;

pub(crate) use place::Place;

use rbuild_oci::Platform;
use registration::{LIST, Registration};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Where packages keep the registrations of their emulators, one a file.
const CONFIGURED: &str = "/usr/lib/binfmt.d";

/// What this machine makes of the programs of a platform.
#[derive(Debug)]
pub enum Emulation {
    /// They run, or there is no telling beforehand.
    Runs,
    /// They run in a sandbox that has this emulator.
    With(Emulator),
    /// They do not run.
    Missing(EmulatorFault),
}

/// An emulator that the kernel opens in the root of each program that it starts it for: a program without libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulator {
    /// On this machine, and in the root.
    path: PathBuf,
}

/// The reason why programs of a platform do not run.
#[derive(Debug, Error)]
pub enum EmulatorFault {
    /// They are another operating system's.
    #[error("only programs for {} run here", Platform::host().os)]
    System,
    /// No emulator is installed where packages put it.
    #[error(
        "install an emulator, with `apt install qemu-user-static` or \
         `docker run --privileged --rm tonistiigi/binfmt --install all`"
    )]
    NotInstalled,
    /// An emulator is installed and not registered.
    #[error("{} is installed, and the kernel does not know it: {remedy}", .emulator.display())]
    NotRegistered {
        /// The emulator.
        emulator: PathBuf,
        /// What registers it.
        remedy: String,
    },
    /// A registration is switched off, or all are.
    #[error("the registration of an emulator is switched off: `echo 1 > {}` switches it on", .switch.display())]
    SwitchedOff {
        /// The kernel's file.
        switch: PathBuf,
    },
    /// The registered emulator cannot be read.
    #[error(
        "the emulator that is registered cannot be read: install it again, with `apt install --reinstall qemu-user-static`"
    )]
    Unreadable {
        /// The file and the reason.
        #[source]
        source: io::Error,
    },
    /// It needs libraries, which other roots do not have.
    #[error(
        "the emulator {} needs libraries, which containers do not have, and was registered without the flag F: \
         replace it, with `apt install qemu-user-static`",
        .emulator.display()
    )]
    Dynamic {
        /// The emulator, as it is registered.
        emulator: PathBuf,
    },
    /// The kernel starts it, and it fails.
    #[error("the emulator {} does not run them", .emulator.display())]
    Fails {
        /// The emulator, as it is registered.
        emulator: PathBuf,
    },
}

/// Finds out whether programs for `platform` run here.
#[must_use]
pub fn emulation(platform: &Platform) -> Emulation {
    let host = Platform::host();
    if platform.os != host.os {
        return Emulation::Missing(EmulatorFault::System);
    }
    if platform.architecture == host.architecture {
        return Emulation::Runs;
    }
    let Some(program) = probe::program(&platform.architecture) else { return Emulation::Runs };
    let runs = probe::runs(&program).unwrap_or(false);
    match Registration::of(&program).map(|(_, found)| found) {
        Some(found) if runs && found.is_enabled() && !found.is_fixed() => Emulator::of(found),
        _ if runs => Emulation::Runs,
        _ => Emulation::Missing(fault(&platform.architecture, &program)),
    }
}

/// The platforms whose programs run here: the machine's own first, then those with an emulator.
#[must_use]
pub fn runnable_platforms() -> Vec<Platform> {
    let host = Platform::host();
    let others =
        probe::EMULATORS.iter().map(|(architecture, _)| Platform::normalised(&host.os, architecture, None));
    let others = others.filter(|other| {
        other.architecture != host.architecture && !matches!(emulation(other), Emulation::Missing(_))
    });
    [host.clone()].into_iter().chain(others).collect()
}

/// True if an emulator runs the programs of `platform`, of which it is known that they run. A processor may run those of an older
/// one by itself; where the kernel's list cannot be seen, only these count as its own.
pub(crate) fn is_emulated(platform: &Platform) -> bool {
    let (host, other) = (Platform::host().architecture, platform.architecture.as_str());
    let is_registered =
        |program: &[u8]| Registration::of(program).is_some_and(|(_, found)| found.is_enabled());
    let is_own = other == host || matches!((host.as_str(), other), ("amd64", "386") | ("arm64", "arm"));
    !is_own || (other != host && probe::program(other).is_some_and(|program| is_registered(&program)))
}

/// Why `program`, which is for `architecture`, does not run.
fn fault(architecture: &str, program: &[u8]) -> EmulatorFault {
    let list = Path::new(LIST);
    let is_off = |status: String| status.trim_end() == "disabled";
    match Registration::of(program) {
        Some((name, found)) if !found.is_enabled() => EmulatorFault::SwitchedOff { switch: list.join(name) },
        Some(_) if fs::read_to_string(list.join("status")).is_ok_and(is_off) => {
            EmulatorFault::SwitchedOff { switch: list.join("status") }
        }
        Some((_, found)) => match elf::needs_libraries(&found.interpreter) {
            Err(source) => EmulatorFault::Unreadable { source },
            Ok(_) => EmulatorFault::Fails { emulator: found.interpreter },
        },
        None => installed(architecture).unwrap_or(EmulatorFault::NotInstalled),
    }
}

/// An emulator for `architecture` that is installed and waits to be registered.
fn installed(architecture: &str) -> Option<EmulatorFault> {
    let (_, name) = probe::EMULATORS.iter().find(|(known, _)| *known == architecture)?;
    let emulator = PathBuf::from(format!("/usr/bin/qemu-{name}-static"));
    if !emulator.exists() {
        return None;
    }
    let line = Path::new(CONFIGURED).join(format!("qemu-{name}.conf"));
    let remedy = if Path::new("/run/systemd/system").exists() {
        "`systemctl restart systemd-binfmt` registers it".to_owned()
    } else if line.exists() {
        let is_mounted = Path::new(LIST).join("register").exists();
        let mount =
            if is_mounted { String::new() } else { format!("mount -t binfmt_misc binfmt_misc {LIST} && ") };
        format!("`{mount}cat {} > {LIST}/register` registers it", line.display())
    } else {
        "`apt install --reinstall qemu-user-static` registers it".to_owned()
    };
    Some(EmulatorFault::NotRegistered { emulator, remedy })
}

impl Emulator {
    fn of(found: Registration) -> Emulation {
        match elf::needs_libraries(&found.interpreter) {
            Ok(false) => Emulation::With(Self { path: found.interpreter }),
            Ok(true) => Emulation::Missing(EmulatorFault::Dynamic { emulator: found.interpreter }),
            Err(source) => Emulation::Missing(EmulatorFault::Unreadable { source }),
        }
    }
}
