//! The client's side of a monitor.

use super::{
    client::address,
    packet::{Message, OutputStream, PIECE, Request, next_packet, send_packet},
    socket_failure,
};
use crate::{ContainerError, Engine, Error};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, connect, getsockopt, socket, socketpair,
        sockopt::PeerCredentials,
    },
};
use rbuild_cache::{Container, ContainerLimits, ContainerState};
use rbuild_executor::UnmetLimit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// After how many milliseconds without an answer it is seen whether the monitor is stopped.
const LOOKED_AFTER: u16 = 200;

/// A connection to the monitor of a container. When it is dropped the container goes on.
#[derive(Debug)]
pub struct Attached {
    socket: OwnedFd,
}

/// What a monitor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorMessage {
    /// The program runs.
    Started,
    /// The program could not be started.
    Failed {
        /// The exit code that says so.
        code: u8,
        /// The reason, in words.
        reason: String,
    },
    /// A limit of the program is not in force.
    Unmet(UnmetLimit),
    /// The program has the machine's network, and none of its own because of this.
    NoNetwork(String),
    /// The health of the container cannot be written down, because of this.
    HealthUnnoted(String),
    /// The program wrote this.
    Output(OutputStream, Vec<u8>),
    /// The program has ended with this exit code.
    Ended(i32),
    /// A request was carried out.
    Done,
    /// A request was not carried out, because of this.
    Refused(String),
    /// The monitor has gone without a word.
    Gone,
}

impl Attached {
    /// A connection to a monitor that is yet to start, and the socket that it gets for [`Engine::monitor`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pair() -> Result<(Self, OwnedFd), Error> {
        let (socket, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(socket_failure)?;
        Ok((Self { socket }, other))
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn next(&self) -> Result<MonitorMessage, Error> {
        loop {
            let packet = next_packet(&self.socket, MsgFlags::empty()).map_err(socket_failure)?;
            let packet = packet.unwrap_or_default();
            if packet.is_empty() {
                return Ok(MonitorMessage::Gone);
            }
            return Ok(match Message::decode(&packet) {
                Some(Message::Started) => MonitorMessage::Started,
                Some(Message::Failed { code, reason }) => MonitorMessage::Failed { code, reason },
                Some(Message::Unmet { flags, reason }) => MonitorMessage::Unmet(UnmetLimit { flags, reason }),
                Some(Message::NoNetwork(reason)) => MonitorMessage::NoNetwork(reason),
                Some(Message::HealthUnnoted(reason)) => MonitorMessage::HealthUnnoted(reason),
                Some(Message::Output(stream, bytes)) => MonitorMessage::Output(stream, bytes),
                Some(Message::Ended(code)) => MonitorMessage::Ended(code),
                Some(Message::Done) => MonitorMessage::Done,
                Some(Message::Refused(reason)) => MonitorMessage::Refused(reason),
                None => continue,
            });
        }
    }

    /// Waits for the next message of the monitor of the container called `name`, unless that is stopped.
    ///
    /// # Errors
    /// [`ContainerError::MonitorStopped`]; [`Error::Io`].
    pub(crate) fn answer(&self, name: &str) -> Result<MonitorMessage, Error> {
        loop {
            let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut watched, PollTimeout::from(LOOKED_AFTER)) {
                Ok(0) => {
                    let monitor = getsockopt(&self.socket, PeerCredentials).map_err(socket_failure)?.pid();
                    if rbuild_executor::is_stopped(monitor) {
                        return Err(ContainerError::MonitorStopped { name: name.to_owned(), monitor }.into());
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(socket_failure(errno)),
                Ok(_) => return self.next(),
            }
        }
    }

    /// Asks for what the program writes from now on; says that this process types into it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn attach(&self) -> Result<(), Error> {
        self.ask(&Request::Attach)
    }

    /// Asks for what the program writes from now on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn watch(&self) -> Result<(), Error> {
        self.ask(&Request::Watch)
    }

    /// Types into the program.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn type_in(&self, bytes: &[u8]) -> Result<(), Error> {
        bytes.chunks(PIECE).try_for_each(|piece| self.ask(&Request::Input(piece.to_vec())))
    }

    /// Says that there is nothing more to type.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end_input(&self) -> Result<(), Error> {
        self.ask(&Request::EndOfInput)
    }

    /// Tells the program's terminal its size.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), Error> {
        self.ask(&Request::Size { rows, columns })
    }

    /// Sends the program a signal, by its number; the answer is [`MonitorMessage::Done`] or [`MonitorMessage::Refused`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn signal(&self, number: i32) -> Result<(), Error> {
        self.ask(&Request::Signal(number))
    }

    /// Gives the program other limits; the answer is [`MonitorMessage::Unmet`] for each that is not in force, and then
    /// [`MonitorMessage::Done`], or [`MonitorMessage::Refused`].
    pub(crate) fn limit(&self, limits: &ContainerLimits) -> Result<(), Error> {
        self.ask(&Request::Limits(Box::new(limits.clone())))
    }

    fn ask(&self, request: &Request) -> Result<(), Error> {
        match send_packet(&self.socket, &request.encode(), MsgFlags::empty()) {
            // it has ended, which its last message says
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(socket_failure(errno)),
        }
    }
}

impl AsFd for Attached {
    /// Readable when there is a message.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Engine {
    /// Connects to the monitor of a container that runs.
    ///
    /// # Errors
    /// [`Error::ContainerNotRunning`]; [`Error::Io`].
    pub fn connect(&self, container: &Container) -> Result<Attached, Error> {
        if container.state != ContainerState::Running {
            return Err(Error::ContainerNotRunning(container.name.clone()));
        }
        let directory = self.store.container(&container.id);
        let connected = || -> std::io::Result<OwnedFd> {
            let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
            let (_held, address) = address(&directory)?;
            connect(socket.as_raw_fd(), &address)?;
            Ok(socket)
        };
        match connected() {
            Ok(socket) => Ok(Attached { socket }),
            Err(_) if self.container(&container.id)?.state != ContainerState::Running => {
                Err(Error::ContainerNotRunning(container.name.clone()))
            }
            Err(source) => Err(Error::Io { action: "connect to", path: directory.monitor(), source }),
        }
    }
}
