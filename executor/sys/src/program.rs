//! A list of system calls, prepared by the parent, that a new process makes between clone and exec.
//!
//! A [`Program`] owns every string, buffer and descriptor its calls name, so that a process interprets it without
//! memory of its own. It has no loops and no conditions but two: a call may be allowed to fail, and a call
//! that succeeds may skip the ones that stand in for it. A result can be kept in a slot for later calls; a
//! slot never filled is -1, a descriptor that is always bad, so what depends on a failed call fails too and
//! may be allowed to.

use crate::{
    CapSet,
    capability::VERSION_3,
    mount::MountAttributes,
    raw::{self, Number},
    seccomp::Filter,
};
use std::{
    collections::BTreeSet,
    ffi::{CStr, CString},
    fmt, io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

mod calls;

pub use calls::{At, Mount, Resolution};

/// Results that can be kept for later calls.
const SLOTS: usize = 24;

/// The longest path getcwd(2) returns, with its NUL.
const PATH_MAX: usize = 4096;

/// System calls in order, with everything they point at. `Debug` shows them as strace does.
#[derive(Default)]
pub struct Program {
    calls: Vec<Call>,
    texts: Vec<CString>,
    buffers: Vec<Box<[u64]>>,
    held: Vec<OwnedFd>,
    used: BTreeSet<RawFd>,
    slots: usize,
    /// The first call that a filter of others may refuse.
    filtered_from: Option<usize>,
}

/// The consequence of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The process is not started.
    Fail,
    /// The next call is made.
    Ignore,
    /// The next call is made if the error is one of these; otherwise the process is not started.
    IgnoreOnly(&'static [i32]),
}

/// A descriptor a call of the program will have returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

struct Call {
    name: Number,
    args: [Argument; 6],
    keep: Option<Slot>,
    on_error: OnError,
    skip_on_success: usize,
    expect: Expect,
}

/// The answer that a successful call must have given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Anything,
    /// A path that begins with a slash, in the scratch buffer. getcwd(2) writes `(unreachable)` before the path of a
    /// directory outside the root.
    PathInsideRoot,
    /// A byte. read(2) gives none at the end.
    Byte,
}

#[derive(Clone, Copy)]
enum Argument {
    Value(usize),
    Text(usize),
    Buffer(usize),
    Slot(Slot),
    /// A buffer of [`PATH_MAX`] bytes on the child's stack.
    Scratch,
}

/// The call of a program that failed, by its place, and the errno.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) index: usize,
    pub(crate) errno: i32,
}

impl Program {
    /// No calls.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the call added last fail as `on_error` says.
    pub fn on_error(&mut self, on_error: OnError) -> &mut Self {
        if let Some(call) = self.calls.last_mut() {
            call.on_error = on_error;
        }
        self
    }

    /// If the call added last succeeds, the `count` calls added after it are skipped.
    pub fn else_next(&mut self, count: usize) -> &mut Self {
        if let Some(call) = self.calls.last_mut() {
            call.skip_on_success = count;
        }
        self
    }

    /// Keeps a descriptor open until the program is dropped; returns its number for the calls.
    pub fn hold(&mut self, fd: OwnedFd) -> i32 {
        let number = fd.as_raw_fd();
        self.held.push(fd);
        number
    }

    /// The parent's descriptors that the calls name, in order.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.used.iter().copied()
    }

    /// A slot for a result.
    ///
    /// # Panics
    /// If a program asks for more than it can have, a mistake of the code that builds it.
    pub(crate) fn slot(&mut self) -> Slot {
        assert!(self.slots < SLOTS, "a program keeps at most {SLOTS} results");
        self.slots += 1;
        Slot(self.slots - 1)
    }

    /// The call at `index` as text.
    pub(crate) fn describe(&self, index: usize) -> String {
        self.calls.get(index).map_or_else(String::new, |call| format!("{:?}", Shown(self, call)))
    }

    /// Notes that the filter added last is not rbuild's own, so that it may refuse what a process needs to start.
    pub(crate) fn note_given_filter(&mut self) {
        self.filtered_from = Some(self.calls.len());
    }

    /// True if a filter of others may refuse the call at `index`; one that is not among the calls comes after them.
    pub(crate) fn is_filtered(&self, index: usize) -> bool {
        self.filtered_from.is_some_and(|first| first <= index)
    }

    /// The path of the image that the call at `index` opens; `None` for another call.
    pub(crate) fn opened_path(&self, index: usize) -> Option<&CStr> {
        let call = self.calls.get(index)?;
        match call.args[1] {
            Argument::Text(path) if call.name.name == "openat2" => {
                self.texts.get(path).map(CString::as_c_str)
            }
            _ => None,
        }
    }

    /// The path of the file that the call at `index` opens for writing or writes to; `None` for another call.
    pub(crate) fn written_path(&self, index: usize) -> Option<&CStr> {
        let call = self.calls.get(index)?;
        let opened = match call.args[0] {
            Argument::Slot(slot) => self.calls[..index].iter().rfind(|earlier| earlier.keep == Some(slot))?,
            _ => call,
        };
        match (opened.args[1], opened.args[2]) {
            (Argument::Text(path), Argument::Value(flags)) if opened.name.name == "openat" => {
                let path = self.texts.get(path).map(CString::as_c_str);
                path.filter(|_| flags & libc::O_WRONLY as usize != 0)
            }
            _ => None,
        }
    }

    /// Makes the calls. Runs in the child: no allocation, no lock, no panic, nothing but system calls.
    ///
    /// # Safety
    /// The process that calls this must be one whose credentials, mounts and descriptors may be changed as the program
    /// says, and its memory must not be one another thread of it relies on being unchanged by the kernel.
    pub(crate) unsafe fn run(&self) -> Result<(), Failure> {
        let mut slots = [usize::MAX; SLOTS];
        let mut scratch = [0_u8; PATH_MAX];
        let mut skip = 0_usize;
        for (index, call) in self.calls.iter().enumerate() {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let place = scratch.as_mut_ptr() as usize;
            let args = call.args.map(|argument| self.resolve(argument, &slots, place));
            // SAFETY: the builder methods give every call the arguments it wants; texts and buffers live in
            // `self`, the scratch buffer in this frame.
            let result = unsafe { raw::syscall(call.name.number, &args) };
            if (-4095..0).contains(&result) {
                let errno = result.unsigned_abs() as i32;
                let ignored = match call.on_error {
                    OnError::Fail => false,
                    OnError::Ignore => true,
                    OnError::IgnoreOnly(list) => list.contains(&errno),
                };
                if !ignored {
                    return Err(Failure { index, errno });
                }
                continue;
            }
            if call.expect == Expect::PathInsideRoot && scratch[0] != b'/' {
                return Err(Failure { index, errno: libc::EXDEV });
            }
            if call.expect == Expect::Byte && result == 0 {
                return Err(Failure { index, errno: libc::EPIPE });
            }
            skip = call.skip_on_success;
            if let Some(slot) = call.keep
                && let Some(place) = slots.get_mut(slot.0)
            {
                *place = result as usize;
            }
        }
        Ok(())
    }

    fn resolve(&self, argument: Argument, slots: &[usize; SLOTS], scratch: usize) -> usize {
        match argument {
            Argument::Value(value) => value,
            Argument::Text(index) => self.texts.get(index).map_or(0, |text| text.as_ptr() as usize),
            Argument::Buffer(index) => self.buffers.get(index).map_or(0, |buffer| buffer.as_ptr() as usize),
            Argument::Slot(slot) => slots.get(slot.0).copied().unwrap_or(usize::MAX),
            Argument::Scratch => scratch,
        }
    }

    /// A descriptor as an argument. A parent's stays open in the child until the program has run.
    fn descriptor(&mut self, at: At) -> Argument {
        match at {
            At::Here => libc::AT_FDCWD.into(),
            At::Fd(fd) => {
                self.used.insert(fd);
                fd.into()
            }
            At::Slot(slot) => slot.into(),
        }
    }

    fn text(&mut self, text: &CStr) -> Argument {
        self.texts.push(text.to_owned());
        Argument::Text(self.texts.len() - 1)
    }

    fn buffer(&mut self, words: Box<[u64]>) -> Argument {
        self.buffers.push(words);
        Argument::Buffer(self.buffers.len() - 1)
    }

    fn push(&mut self, name: Number, args: &[Argument]) -> &mut Self {
        let mut padded = [Argument::Value(0); 6];
        padded.iter_mut().zip(args).for_each(|(place, argument)| *place = *argument);
        self.calls.push(Call {
            name,
            args: padded,
            keep: None,
            on_error: OnError::Fail,
            skip_on_success: 0,
            expect: Expect::Anything,
        });
        self
    }

    /// Adds a call whose result goes to `slot`.
    fn push_kept(&mut self, slot: Slot, name: Number, args: &[Argument]) -> &mut Self {
        self.push(name, args);
        if let Some(call) = self.calls.last_mut() {
            call.keep = Some(slot);
        }
        self
    }
}

impl From<usize> for Argument {
    fn from(value: usize) -> Self {
        Self::Value(value)
    }
}

impl From<i32> for Argument {
    fn from(value: i32) -> Self {
        Self::Value(value as isize as usize)
    }
}

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Self::Value(value as usize)
    }
}

impl From<u64> for Argument {
    fn from(value: u64) -> Self {
        Self::Value(value as usize)
    }
}

impl From<Slot> for Argument {
    fn from(slot: Slot) -> Self {
        Self::Slot(slot)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.calls.iter().map(|call| Shown(self, call))).finish()
    }
}

struct Shown<'a>(&'a Program, &'a Call);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(program, call) = self;
        let used =
            call.args.iter().rposition(|a| !matches!(a, Argument::Value(0))).map_or(0, |last| last + 1);
        write!(f, "{}(", call.name.name)?;
        for (place, argument) in call.args.iter().take(used).enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            match *argument {
                Argument::Value(value) if (value as isize) < 0 => write!(f, "{}", value as isize)?,
                Argument::Value(value) if value < 1024 => write!(f, "{value}")?,
                Argument::Value(value) => write!(f, "{value:#x}")?,
                Argument::Text(index) => write!(f, "{:?}", program.texts[index])?,
                Argument::Buffer(index) => write!(f, "[{} words]", program.buffers[index].len())?,
                Argument::Slot(slot) => write!(f, "fd#{}", slot.0)?,
                Argument::Scratch => f.write_str("buffer")?,
            }
        }
        f.write_str(")")
    }
}

/// Errno as the error it stands for.
pub(crate) fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
