//! Which devices the processes of a control group may open: those of every container, those that one is given, and no other. Nodes of
//! any kind may be made, because images hold them.

use crate::{
    device::{Device, DeviceKind},
    mount::{done, owned},
};
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

/// Writes the rules of the version 1 controller, with `given` beside the usual devices.
///
/// # Errors
/// The kernel's.
pub(super) fn write_rules(group: BorrowedFd<'_>, given: &[Device]) -> io::Result<()> {
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
    for Device { kind, numbers: (major, minor), access, .. } in given {
        let kind = match kind {
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        write("devices.allow", &format!("{kind} {major}:{minor} {access}"))?;
    }
    Ok(())
}

/// A program with the same rules for version 2 groups (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`).
///
/// # Errors
/// The kernel's, which may have no such programs or give them to the machine's root only.
pub(super) fn rules(given: &[Device]) -> io::Result<OwnedFd> {
    load(&program(given))
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
fn program(given: &[Device]) -> Vec<u64> {
    const MKNOD: i32 = 1;
    const READ: i32 = 2;
    const WRITE: i32 = 4;
    const BLOCK: i32 = 1;
    const CHARACTER: i32 = 2;
    let (load_word, mov, and, shift_right) = (0x61, 0xbf, 0x57, 0x77);
    let (jump_if_equal, jump_unless_equal, set, exit) = (0x15, 0x55, 0xb7, 0x95);
    let mut program: Vec<(u8, u8, To, i32)> = vec![
        (load_word, 0x12, To::Next, 0), // r2 = access and type
        (mov, 0x23, To::Next, 0),
        (shift_right, 3, To::Next, 16),     // r3 = access
        (and, 2, To::Next, 0xffff),         // r2 = type
        (load_word, 0x14, To::Field(4), 0), // r4 = major
        (load_word, 0x15, To::Field(8), 0), // r5 = minor
        (jump_if_equal, 3, To::Allow, MKNOD),
    ];
    for Device { kind, numbers: (major, minor), access, .. } in given {
        let kind = if *kind == DeviceKind::Block { BLOCK } else { CHARACTER };
        let refused = if access.reads() { 0 } else { READ } | if access.writes() { 0 } else { WRITE };
        program.extend([
            (jump_unless_equal, 2, To::Skip(5), kind),
            (jump_unless_equal, 4, To::Skip(4), *major as i32),
            (jump_unless_equal, 5, To::Skip(3), *minor as i32),
            // r0 = what is asked for and not given
            (mov, 0x30, To::Next, 0),
            (and, 0, To::Next, refused),
            (jump_if_equal, 0, To::Allow, 0),
        ]);
    }
    program.push((jump_unless_equal, 2, To::Refuse, CHARACTER));
    for (major, minors) in ALLOWED {
        if minors.is_empty() {
            program.push((jump_if_equal, 4, To::Allow, major));
            continue;
        }
        program.push((jump_unless_equal, 4, To::Skip(minors.len() as i16), major));
        program.extend(minors.iter().map(|minor| (jump_if_equal, 5, To::Allow, *minor)));
    }
    // behind them stand "return 0" and "return 1"
    let refuse = program.len();
    for answer in [0, 1] {
        program.extend([(set, 0, To::Next, answer), (exit, 0, To::Next, 0)]);
    }
    let words = program.iter().enumerate().map(|(index, (operation, registers, to, operand))| {
        let offset = match to {
            To::Next => 0,
            To::Field(count) | To::Skip(count) => *count,
            To::Refuse => (refuse - 1 - index) as i16,
            To::Allow => (refuse + 1 - index) as i16,
        };
        u64::from(*operation)
            | u64::from(*registers) << 8
            | u64::from(offset as u16) << 16
            | u64::from(*operand as u32) << 32
    });
    words.collect()
}

/// The offset of an instruction: where a jump leads, or the place of the word that is loaded.
enum To {
    Next,
    Field(i16),
    Skip(i16),
    Refuse,
    Allow,
}
