//! Which devices the processes of a control group may open: those of every container, and no other. Nodes of any kind
//! may be made, because images hold them.

use crate::mount::{done, owned};
use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// Character devices: major number, and minor numbers, none for all of them. Memory devices (null, zero, full, random,
/// urandom), terminals (tty, console, ptmx), and the pseudo-terminals of containers.
const ALLOWED: [(i32, &[i32]); 3] = [(1, &[3, 5, 7, 8, 9]), (5, &[0, 1, 2]), (136, &[])];

/// Writes the rules of the version 1 controller.
///
/// # Errors
/// The kernel's.
pub(super) fn write_rules(group: BorrowedFd<'_>) -> io::Result<()> {
    let write = |file: &str, rule: &str| -> io::Result<()> {
        let file = openat(group, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        nix::unistd::write(&file, rule.as_bytes())?;
        Ok(())
    };
    write("devices.deny", "a")?;
    write("devices.allow", "c *:* m")?;
    write("devices.allow", "b *:* m")?;
    for (major, minors) in ALLOWED {
        if minors.is_empty() {
            write("devices.allow", &format!("c {major}:* rwm"))?;
        }
        for minor in minors {
            write("devices.allow", &format!("c {major}:{minor} rwm"))?;
        }
    }
    Ok(())
}

/// A program with the same rules for version 2 groups (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`).
///
/// # Errors
/// The kernel's, which may have no such programs or give them to the machine's root only.
pub(super) fn rules() -> io::Result<OwnedFd> {
    load(&program())
}

/// Attaches the program to a group and all below it.
///
/// # Errors
/// The kernel's, which may have no such programs or give them to the machine's root only.
pub(super) fn attach(program: BorrowedFd<'_>, group: BorrowedFd<'_>) -> io::Result<()> {
    // union bpf_attr: target_fd, attach_bpf_fd, attach_type, attach_flags.
    let attributes =
        [group.as_raw_fd() as u32, program.as_raw_fd() as u32, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI];
    // SAFETY: the kernel reads four words, which are there.
    done(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, attributes.as_ptr(), size_of_val(&attributes))
    })
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    // union bpf_attr: prog_type and insn_cnt, insns, license, then no log.
    let attributes = [
        u64::from(BPF_PROG_TYPE_CGROUP_DEVICE) | (instructions.len() as u64) << 32,
        instructions.as_ptr() as u64,
        license.as_ptr() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel reads the structure of the size given, and the instructions and the string it points at.
    owned(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, attributes.as_ptr(), size_of_val(&attributes))
    })
}

/// The rules as instructions of eBPF: operation, registers, jump offset and operand, each in its bits of a word
/// (`struct bpf_insn`). The argument is `struct bpf_cgroup_dev_ctx`: access << 16 | type, major, minor.
fn program() -> Vec<u64> {
    const MKNOD: i32 = 1;
    const CHARACTER: i32 = 2;
    let instruction = |operation: u8, registers: u8, offset: i16, operand: i32| {
        u64::from(operation)
            | u64::from(registers) << 8
            | u64::from(offset as u16) << 16
            | u64::from(operand as u32) << 32
    };
    let (load_word, mov, and, shift_right) = (0x61, 0xbf, 0x57, 0x77);
    let (jump_if_equal, jump_unless_equal, set, exit) = (0x15, 0x55, 0xb7, 0x95);
    // Behind the tests stand "return 0" and "return 1", two instructions each. Tests are laid out with the distance to
    // "return 1" left open, by how many follow.
    let mut tests = Vec::new();
    for (major, minors) in ALLOWED {
        if minors.is_empty() {
            tests.push((jump_if_equal, 4, major, Target::Allow));
            continue;
        }
        tests.push((jump_unless_equal, 4, major, Target::Skip(minors.len() as i16)));
        tests.extend(minors.iter().map(|minor| (jump_if_equal, 5, *minor, Target::Allow)));
    }
    let after = |index: usize| (tests.len() - 1 - index) as i16;
    let mut program = vec![
        instruction(load_word, 0x12, 0, 0), // r2 = access and type
        instruction(mov, 0x23, 0, 0),
        instruction(shift_right, 3, 0, 16), // r3 = access
        instruction(and, 2, 0, 0xffff),     // r2 = type
        instruction(load_word, 0x14, 4, 0), // r4 = major
        instruction(load_word, 0x15, 8, 0), // r5 = minor
        instruction(jump_if_equal, 3, tests.len() as i16 + 3, MKNOD),
        instruction(jump_unless_equal, 2, tests.len() as i16, CHARACTER),
    ];
    program.extend(tests.iter().enumerate().map(|(index, (operation, register, operand, target))| {
        let offset = match target {
            Target::Allow => after(index) + 2,
            Target::Skip(count) => *count,
        };
        instruction(*operation, *register, offset, *operand)
    }));
    for answer in [0, 1] {
        program.extend([instruction(set, 0, 0, answer), instruction(exit, 0, 0, 0)]);
    }
    program
}

/// Where a test leads when it holds.
enum Target {
    Allow,
    Skip(i16),
}
