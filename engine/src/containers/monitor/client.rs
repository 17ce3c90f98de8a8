//! The monitor's side of its clients: the socket they come to, what they ask, and what they have not taken yet.

use super::packet::{Message, Request, next_packet, send_packet};
use nix::{
    poll::{PollFd, PollFlags},
    sys::socket::{
        AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, listen as listen_on, socket,
    },
};
use rbuild_cache::ContainerDirectory;
use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
};

/// Clients that may wait to be let in.
const WAITING: i32 = 64;

/// What a client does with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It waits for its end.
    None,
    /// It gets what the program writes.
    Watches,
    /// It types too.
    Types,
}

/// One of a monitor's clients.
pub(super) struct Client {
    socket: OwnedFd,
    pending: VecDeque<Vec<u8>>,
    pub(super) part: Part,
    /// True once it has closed its end.
    pub(super) is_gone: bool,
}

/// A socket in the container's directory, instead of one that a killed monitor has left. Only the store's owner can reach it,
/// because the directory is theirs alone.
pub(super) fn listen(directory: &ContainerDirectory) -> io::Result<UnixListener> {
    match fs::remove_file(directory.monitor()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    let (_held, address) = address(directory)?;
    bind(listener.as_raw_fd(), &address)?;
    listen_on(&listener, Backlog::new(WAITING)?)?;
    Ok(listener.into())
}

/// The socket's address. It goes through a descriptor, because an address holds 107 bytes and a store may lie deeper.
pub(super) fn address(directory: &ContainerDirectory) -> io::Result<(File, UnixAddr)> {
    let held = File::open(directory.path())?;
    let address = UnixAddr::new(format!("/proc/self/fd/{}/monitor", held.as_raw_fd()).as_str())?;
    Ok((held, address))
}

impl Client {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, pending: VecDeque::new(), part: Part::None, is_gone: false }
    }

    pub(super) fn accept(listener: &UnixListener) -> Option<Self> {
        // the library's type is for streams, but accepting is the same for packets
        listener.accept().ok().map(|(socket, _)| Self::new(socket.into()))
    }

    /// What to wait for: its requests, unless there is no room for input, and room for what it has not taken.
    pub(super) fn watched(&self, takes_input: bool) -> PollFd<'_> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, takes_input);
        events.set(PollFlags::POLLOUT, self.is_behind());
        PollFd::new(self.socket.as_fd(), events)
    }

    /// Room for what it has not taken.
    pub(super) fn watched_for_room(&self) -> PollFd<'_> {
        PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)
    }

    /// True if it has not taken everything yet.
    pub(super) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn send(&mut self, message: &Message) {
        self.pending.push_back(message.encode());
        self.flush();
    }

    /// Sends what it takes now.
    pub(super) fn flush(&mut self) {
        while let Some(packet) = self.pending.front() {
            match send_packet(&self.socket, packet, MsgFlags::MSG_DONTWAIT) {
                Ok(true) => drop(self.pending.pop_front()),
                Ok(false) => return,
                Err(_) => {
                    self.pending.clear();
                    self.is_gone = true;
                }
            }
        }
    }

    /// Its next request, if there is one now.
    pub(super) fn next(&mut self) -> Option<Request> {
        while !self.is_gone {
            match next_packet(&self.socket, MsgFlags::MSG_DONTWAIT) {
                Ok(Some(packet)) if packet.is_empty() => self.is_gone = true,
                Ok(Some(packet)) => {
                    if let Some(request) = Request::decode(&packet) {
                        return Some(request);
                    }
                }
                Ok(None) => return None,
                Err(_) => self.is_gone = true,
            }
        }
        None
    }
}
