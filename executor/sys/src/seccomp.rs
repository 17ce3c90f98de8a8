//! System call filters as classic BPF (seccomp(2)): Docker's default one, built here, and those that a [`Profile`] describes.
//!
//! What the default one refuses answers `EPERM`; clone3 and everything newer than the table answers `ENOSYS`, so that
//! libraries fall back to calls the filter can judge. Three calls are judged by their first argument. The
//! 32-bit calls of the same machine are judged by their own numbers; x32, which no distribution enables, does
//! not exist.
//!
//! The kernel runs a new filter once for every system call number to find those it always allows, so
//! installing costs what the filter is long to walk: the numbers are therefore searched as a balanced tree,
//! some eight steps instead of eighty.

mod assemble;
mod instruction;
#[cfg(test)]
mod interpreter;
mod numbers;
mod profile;
mod table;

pub use profile::{Answer, Comparison, Condition, Convention, FilterFlags, Profile, Rule, TooLong};

use crate::CapSet;
use instruction::Instruction;
use std::{borrow::Cow, sync::LazyLock};

/// A filter, ready for the kernel.
#[derive(Clone, Debug)]
pub struct Filter {
    instructions: Vec<Instruction>,
    flags: FilterFlags,
}

impl Filter {
    /// Docker's filter for containers with these capabilities; the usual one is built once a process.
    #[must_use]
    pub fn of_container(capabilities: CapSet) -> Cow<'static, Self> {
        static USUAL: LazyLock<Filter> = LazyLock::new(|| Filter::with(CapSet::CONTAINER_DEFAULT));
        if table::opens_nothing(capabilities) {
            Cow::Borrowed(&USUAL)
        } else {
            Cow::Owned(Self::with(capabilities))
        }
    }

    fn with(capabilities: CapSet) -> Self {
        let flags = FilterFlags::default();
        Self { instructions: assemble::program(NATIVE, capabilities), flags }
    }

    /// Number of instructions.
    pub(crate) fn len(&self) -> usize {
        self.instructions.len()
    }

    /// The flags it is put into force with.
    pub(crate) fn flags(&self) -> u32 {
        self.flags.bits()
    }

    /// The instructions as `struct sock_filter` lays them out, one a word.
    pub(crate) fn words(&self) -> Box<[u64]> {
        self.instructions.iter().map(|instruction| instruction.word()).collect()
    }
}

/// A calling convention with its own numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "a machine has two of the four; the tests check all"))]
enum Architecture {
    X86_64,
    I386,
    Aarch64,
    Arm,
}

impl Architecture {
    /// `AUDIT_ARCH_*`.
    const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    const fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::I386 => 1,
            Self::Aarch64 => 2,
            Self::Arm => 3,
        }
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: [Architecture; 2] = [Architecture::X86_64, Architecture::I386];
#[cfg(target_arch = "aarch64")]
const NATIVE: [Architecture; 2] = [Architecture::Aarch64, Architecture::Arm];
