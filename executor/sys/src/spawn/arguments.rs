//! The command line of this process, which the kernel shows everybody as that of each process that shares its memory.
//!
//! A process that is started in a container is seen there before it has executed anything. `/proc/PID/cmdline` is open to all, other
//! than most that is told of a process, and the command line of rbuild has values of variables and paths of the machine. So it is
//! blank while such a process begins (proc_pid_cmdline(5): what is shown is the memory itself).

use crate::read_proc;
use std::{
    io, ptr,
    sync::{Mutex, PoisonError},
};

/// Which fields of `/proc/PID/stat` say where the command line begins and ends, counted from the third (proc_pid_stat(5)).
const BEGIN: usize = 48 - 3;
const END: usize = 49 - 3;

/// The command line is blank as long as there is one of these.
pub(super) struct BlankArguments(());

/// What was there, for all threads that blank it at the same time.
struct Blanked {
    users: usize,
    place: usize,
    bytes: Vec<u8>,
}

static BLANKED: Mutex<Blanked> = Mutex::new(Blanked { users: 0, place: 0, bytes: Vec::new() });

impl BlankArguments {
    /// Makes it blank.
    ///
    /// # Errors
    /// If `/proc` does not say where it is.
    pub(super) fn new() -> io::Result<Self> {
        let mut blanked = BLANKED.lock().unwrap_or_else(PoisonError::into_inner);
        if blanked.users == 0 {
            let (begin, end) = place()?;
            blanked.place = begin;
            blanked.bytes = exchange(begin, &vec![0; end - begin]);
        }
        blanked.users += 1;
        Ok(Self(()))
    }
}

impl Drop for BlankArguments {
    fn drop(&mut self) {
        let mut blanked = BLANKED.lock().unwrap_or_else(PoisonError::into_inner);
        blanked.users -= 1;
        if blanked.users == 0 {
            exchange(blanked.place, &std::mem::take(&mut blanked.bytes));
        }
    }
}

/// Where the command line is in memory, with the zero at its end.
fn place() -> io::Result<(usize, usize)> {
    let stat = read_proc("/proc/self/stat")?;
    // the name before may hold blanks and brackets
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, after)| after).split_ascii_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|field| field.parse::<usize>().ok());
    match (field(BEGIN), field(END)) {
        (Some(begin), Some(end)) if begin > 0 && begin <= end => Ok((begin, end)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Puts `bytes` in the place of as many at `place`, which are returned.
fn exchange(place: usize, bytes: &[u8]) -> Vec<u8> {
    let place = ptr::with_exposed_provenance_mut::<u8>(place);
    let swap = |(offset, byte): (usize, &u8)| {
        // SAFETY: the kernel made this part of the first thread's stack, which can be written to and lasts as long as the process.
        // The kernel and, at the start of a program, its runtime read it, a byte at a time; nothing else in it refers to it.
        unsafe {
            let at = place.add(offset);
            let before = at.read_volatile();
            at.write_volatile(*byte);
            before
        }
    };
    bytes.iter().enumerate().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read;

    #[test]
    fn the_command_line_is_blank_until_the_last_one_is_dropped() {
        let before = read("/proc/self/cmdline").unwrap();
        assert!(before.iter().any(|byte| *byte != 0));
        let first = BlankArguments::new().unwrap();
        let second = BlankArguments::new().unwrap();
        drop(first);
        assert_eq!(read("/proc/self/cmdline").unwrap(), vec![0; before.len()]);
        drop(second);
        assert_eq!(read("/proc/self/cmdline").unwrap(), before);
    }
}
