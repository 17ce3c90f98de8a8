//! The stack a child runs on before exec.

use std::{io, ptr};

/// The child's frames are few and small; an unoptimised build needs a few kilobytes.
const SIZE: usize = 64 * 1024;

/// Mapped memory with a page below it that faults when touched.
pub(super) struct Stack {
    start: *mut libc::c_void,
    guard: usize,
}

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: sysconf takes an integer.
        let guard = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(SIZE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new private mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { libc::mmap(ptr::null_mut(), SIZE + guard, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { start, guard };
        let usable = stack.base() as *mut libc::c_void;
        // SAFETY: the range is the upper part of the mapping just made.
        match unsafe { libc::mprotect(usable, SIZE, libc::PROT_READ | libc::PROT_WRITE) } {
            0 => Ok(stack),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Lowest usable address.
    pub(super) fn base(&self) -> u64 {
        self.start as u64 + self.guard as u64
    }

    /// Usable bytes.
    pub(super) fn size(&self) -> u64 {
        SIZE as u64
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and the child that used it has left.
        unsafe { libc::munmap(self.start, SIZE + self.guard) };
    }
}
