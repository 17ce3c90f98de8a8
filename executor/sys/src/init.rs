//! The program that executes a container's command: a few dozen instructions in a sealed file in memory.
//!
//! A command that is executed by rbuild itself could name rbuild's own file as `/proc/self/exe`, open it, change its mode
//! or execute it (CVE-2019-5736). So the child of [`crate::spawn`] first executes this program, which belongs to no file
//! system of the host, and this program executes the command. It holds descriptors 0 to 3 and nothing else.
//!
//! The program is position-independent machine code without data, stack frames or a libc. It does one of three things, by
//! the first byte of its first argument:
//!
//! - `x`: the arguments that follow are paths to try, an empty one, and the command's own arguments. It closes
//!   descriptor 3 at exec and tries each path with the same environment. `ENOENT`, `ENOTDIR`, `ESTALE`, `ENODEV` and
//!   `ETIMEDOUT` lead to the next one, as does `EACCES`, which is remembered (execvp(3)). `ETXTBSY` is tried again for a
//!   second, because a file written a moment ago may still be open in a child that another thread is starting. If
//!   nothing could be executed, it writes the errno that explains it best to descriptor 3, four bytes, and ends.
//! - `i`: it starts a process that does what `x` says, and stays as the first process of the container. It hands on every signal
//!   that it gets, waits for all processes that have lost their parents, and ends as that process does (`run --init`). Its command
//!   line loses the paths. The process leads a group of its own, which is in the foreground of the terminal, so that keys reach it once.
//! - `g`: it waits until descriptor 3 has no writer left, writes a `0` to its standard output, and ends. For a
//!   [`crate::spawn::Guard`] that output is `/dev/null`; for a [`crate::cgroup::Frozen`] it thaws a control group.
//!
//! A container can execute it through `/proc/self/exe` with arguments of its own; it then is any other small program.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// The descriptor on which it reports, or waits.
pub(crate) const CHANNEL: i32 = 3;

/// The first argument of the program that executes a command.
pub(crate) const EXECUTE: &std::ffi::CStr = c"x";

/// The first argument of the program that executes a command in a process of its own; `ps` shows it and the command.
pub(crate) const INIT: &std::ffi::CStr = c"init of rbuild --";

/// The first argument of the program that waits; `ps` shows it.
pub(crate) const GUARD: &std::ffi::CStr = c"guard of rbuild's containers";

/// Where the program is loaded; a multiple of every page size in use.
const BASE: u64 = 0x40_0000;
const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PROGRAM_HEADERS: usize = 2;

/// `MFD_EXEC` (Linux 6.3): the file may be executed whatever `vm.memfd_noexec=1` makes the default.
const MFD_EXEC: u32 = 0x10;
/// `F_SEAL_EXEC` (Linux 6.3): the execute bits of its mode stay as they are.
const F_SEAL_EXEC: i32 = 0x20;

/// A descriptor of the program, to be executed by execveat(2). Its number is above [`CHANNEL`].
///
/// # Errors
/// The kernel's; `EACCES` where `vm.memfd_noexec` forbids programs in memory.
pub(crate) fn program() -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | MFdFlags::from_bits_retain(MFD_EXEC);
    let mut file = File::from(memfd_create(c"rbuild-init", flags)?);
    file.write_all(&elf())?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::from_bits_retain(F_SEAL_EXEC);
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    // a file that is open for writing cannot be executed
    let readable = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let number = fcntl(&readable, FcntlArg::F_DUPFD_CLOEXEC(CHANNEL + 1))?;
    // SAFETY: F_DUPFD_CLOEXEC has just made this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Reads what the program wrote to its channel: the errno of the exec that failed, or nothing when it succeeded.
///
/// # Errors
/// The kernel's.
pub(crate) fn read_report(channel: &OwnedFd) -> io::Result<Option<i32>> {
    let mut errno = [0; 4];
    loop {
        match nix::unistd::read(channel, &mut errno) {
            Ok(4) => return Ok(Some(i32::from_ne_bytes(errno))),
            Ok(_) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The executable file (elf(5)): a header, one segment with everything in it, and a stack that cannot be executed.
fn elf() -> Vec<u8> {
    let code = code();
    let start = FILE_HEADER + PROGRAM_HEADERS * PROGRAM_HEADER;
    let length = (start + code.len()) as u64;
    let mut file = Vec::with_capacity(start + code.len());
    // ELF, 64 bits, little-endian, version 1, System V
    file.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&2_u16.to_le_bytes()); // ET_EXEC
    file.extend_from_slice(&MACHINE.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    for address in [BASE + start as u64, FILE_HEADER as u64, 0] {
        file.extend_from_slice(&address.to_le_bytes());
    }
    file.extend_from_slice(&0_u32.to_le_bytes());
    for size in [FILE_HEADER as u16, PROGRAM_HEADER as u16, PROGRAM_HEADERS as u16, 0, 0, 0] {
        file.extend_from_slice(&size.to_le_bytes());
    }
    let segments: [(u32, u32, [u64; 6]); PROGRAM_HEADERS] = [
        (libc::PT_LOAD, libc::PF_R | libc::PF_X, [0, BASE, BASE, length, length, 0x1_0000]),
        (libc::PT_GNU_STACK, libc::PF_R | libc::PF_W, [0, 0, 0, 0, 0, 16]),
    ];
    for (kind, flags, places) in segments {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        places.iter().for_each(|place| file.extend_from_slice(&place.to_le_bytes()));
    }
    file.extend_from_slice(code);
    file
}

fn code() -> &'static [u8] {
    unsafe extern "C" {
        static rbuild_init_start: u8;
        static rbuild_init_end: u8;
    }
    let (start, end) = (&raw const rbuild_init_start, &raw const rbuild_init_end);
    // SAFETY: both symbols bound one run of bytes in this program's read-only data, written below.
    unsafe { std::slice::from_raw_parts(start, end as usize - start as usize) }
}

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
