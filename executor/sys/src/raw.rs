//! System calls without libc, and the one clone that returns on a new stack.
//!
//! Between clone and exec the child shares the parent's memory, thread pointer included. libc's wrappers may
//! take locks, touch cancellation state or the thread's `errno`; an instruction that enters the kernel
//! touches nothing. The child of [`clone_shared`] runs `entry` on its own stack and must leave by exec or
//! exit.

use std::io;

/// The function that the child runs. It must never return, panic, allocate or take a lock.
pub(crate) type Entry = unsafe extern "C" fn(*mut u8) -> !;

/// A system call's name, for error messages, and its number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) name: &'static str,
    pub(crate) number: i64,
}

/// Enters the kernel; a result in `-4095..0` is a negated errno.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects: pointers valid for what it reads and writes.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn syscall(number: i64, args: &[usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the registers are those of the kernel's x86_64 convention, rcx and r11 are declared lost; the
    // caller answers for the arguments.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Enters the kernel; a result in `-4095..0` is a negated errno.
///
/// # Safety
/// The arguments must be what the call numbered `number` expects: pointers valid for what it reads and writes.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn syscall(number: i64, args: &[usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the registers are those of the kernel's aarch64 convention; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("svc #0", in("x8") number, inlateout("x0") args[0] as isize => result, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5], options(nostack));
    }
    result
}

/// Ends the calling process with this exit code, or by an invalid instruction where its filter refuses exit_group(2), because a
/// process that can neither end nor become another one would turn for ever.
///
/// # Safety
/// Nothing of the process that others share may be in use.
pub(crate) unsafe fn leave(code: usize) -> ! {
    loop {
        // SAFETY: exit_group ends this process only: threads of the parent are not in its group.
        unsafe { syscall(libc::SYS_exit_group, &[code, 0, 0, 0, 0, 0]) };
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the kernel kills the process.
        unsafe {
            core::arch::asm!("ud2", options(nostack, nomem));
        };
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the kernel kills the process.
        unsafe {
            core::arch::asm!("udf #0", options(nostack, nomem));
        };
    }
}

/// Makes the clone call `number` (clone or clone3, with `args` as it wants them) that starts a child on the
/// stack named in them; the child runs `entry(argument)`. Returns in the parent only: the child's id, or a
/// negated errno.
///
/// # Safety
/// The arguments must ask for a new stack that is mapped, aligned to 16 bytes and used by nothing else; `entry` must
/// be sound to run with whatever memory the flags share; `argument` must stay valid until the child has left.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn clone_shared(number: i64, args: &[usize; 5], entry: Entry, argument: *mut u8) -> isize {
    let result: isize;
    // SAFETY: the parent takes the jump and sees an ordinary call; the child has the caller's registers and a
    // fresh stack, on which the call instruction leaves the alignment the ABI wants, and entry never returns.
    unsafe {
        core::arch::asm!("syscall", "test rax, rax", "jnz 2f",
            "xor ebp, ebp", "mov rdi, r13", "call r12", "ud2", "2:",
            inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r12") entry, in("r13") argument,
            lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// Makes the clone call `number` (clone or clone3, with `args` as it wants them) that starts a child on the
/// stack named in them; the child runs `entry(argument)`. Returns in the parent only: the child's id, or a
/// negated errno.
///
/// # Safety
/// The arguments must ask for a new stack that is mapped, aligned to 16 bytes and used by nothing else; `entry` must
/// be sound to run with whatever memory the flags share; `argument` must stay valid until the child has left.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn clone_shared(number: i64, args: &[usize; 5], entry: Entry, argument: *mut u8) -> isize {
    let result: isize;
    // SAFETY: the parent takes the branch and sees an ordinary call; the child has the caller's registers and
    // a fresh stack, and entry never returns.
    unsafe {
        core::arch::asm!("svc #0", "cbnz x0, 2f",
            "mov x29, xzr", "mov x30, xzr", "mov x0, x21", "blr x20", "brk #1", "2:",
            in("x8") number, inlateout("x0") args[0] as isize => result, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x20") entry, in("x21") argument);
    }
    result
}

/// The kernel's answer as a `Result`.
pub(crate) fn check(result: isize) -> io::Result<usize> {
    if (-4095..0).contains(&result) {
        Err(io::Error::from_raw_os_error(-result as i32))
    } else {
        Ok(result as usize)
    }
}
