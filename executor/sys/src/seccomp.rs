//! Docker's default system call filter, built as classic BPF (seccomp(2)).
//!
//! What is refused answers `EPERM`; clone3 and everything newer than the table answers `ENOSYS`, so that
//! libraries fall back to calls the filter can judge. Three calls are judged by their first argument. The
//! 32-bit calls of the same machine are judged by their own numbers; x32, which no distribution enables, does
//! not exist.
//!
//! The kernel runs a new filter once for every system call number to find those it always allows, so
//! installing costs what the filter is long to walk: the numbers are therefore searched as a balanced tree,
//! some eight steps instead of eighty.

mod assemble;
mod table;

use std::sync::LazyLock;

/// A filter, ready for the kernel.
#[derive(Clone, Debug)]
pub struct Filter {
    instructions: Vec<Instruction>,
}

impl Filter {
    /// The filter for containers with the default capabilities, built once a process.
    #[must_use]
    pub fn container_default() -> &'static Self {
        static FILTER: LazyLock<Filter> =
            LazyLock::new(|| Filter { instructions: assemble::program(NATIVE) });
        &FILTER
    }

    /// Number of instructions.
    pub(crate) fn len(&self) -> usize {
        self.instructions.len()
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

/// One instruction of classic BPF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

impl Instruction {
    fn word(self) -> u64 {
        let [code_low, code_high] = self.code.to_ne_bytes();
        let [a, b, c, d] = self.operand.to_ne_bytes();
        u64::from_ne_bytes([code_low, code_high, self.if_true, self.if_false, a, b, c, d])
    }
}
