//! What a monitor and its clients say to each other: one packet each, over a socket that keeps packets whole. The first byte is
//! its kind. Both are of one build of rbuild or of two, so an unknown kind is skipped.

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send},
};
use rbuild_cache::ContainerLimits;
use std::os::fd::{AsRawFd, OwnedFd};

/// The bytes of a stream that are carried at a time.
pub(super) const PIECE: usize = 32 << 10;
/// The largest packet.
const LARGEST: usize = PIECE + 16;

/// One of a container's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output, or everything on a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// To a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Send what the container writes from now on; I type into it.
    Attach,
    /// Send what the container writes from now on.
    Watch,
    /// Bytes for its standard input.
    Input(Vec<u8>),
    /// There are no more of them.
    EndOfInput,
    /// The size of the terminal.
    Size { rows: u16, columns: u16 },
    /// A signal for its first process, by number.
    Signal(i32),
    /// Other limits.
    Limits(Box<ContainerLimits>),
}

/// From a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The program runs.
    Started,
    /// It could not be started: the exit code that says so, and why.
    Failed { code: u8, reason: String },
    /// A limit that is not in force: the flags that ask for it, and why.
    Unmet { flags: String, reason: String },
    /// It has the machine's network, and why it has none of its own.
    NoNetwork(String),
    /// Its health cannot be written down, and why.
    HealthUnnoted(String),
    /// What it wrote.
    Output(OutputStream, Vec<u8>),
    /// It has ended with this exit code.
    Ended(i32),
    /// The request was carried out.
    Done,
    /// It could not be carried out.
    Refused(String),
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Attach => vec![b'a'],
            Self::Watch => vec![b'w'],
            Self::Input(bytes) => [b"i".as_slice(), bytes].concat(),
            Self::EndOfInput => vec![b'e'],
            Self::Size { rows, columns } => {
                [b"s".as_slice(), &rows.to_le_bytes(), &columns.to_le_bytes()].concat()
            }
            Self::Signal(number) => [b"k".as_slice(), &number.to_le_bytes()].concat(),
            Self::Limits(limits) => {
                let json = serde_json::to_vec(limits).expect("limits are texts and numbers");
                [b"l".as_slice(), &json].concat()
            }
        }
    }

    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let (kind, rest) = packet.split_first()?;
        Some(match kind {
            b'a' => Self::Attach,
            b'w' => Self::Watch,
            b'i' => Self::Input(rest.to_vec()),
            b'e' => Self::EndOfInput,
            b's' => {
                let [a, b, c, d] = rest.try_into().ok()?;
                Self::Size { rows: u16::from_le_bytes([a, b]), columns: u16::from_le_bytes([c, d]) }
            }
            b'l' => Self::Limits(serde_json::from_slice(rest).ok()?),
            b'k' => Self::Signal(i32::from_le_bytes(rest.try_into().ok()?)),
            _ => return None,
        })
    }
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started => vec![b'S'],
            Self::Failed { code, reason } => [&[b'F', *code], reason.as_bytes()].concat(),
            Self::Unmet { flags, reason } => format!("U{flags}\0{reason}").into_bytes(),
            Self::NoNetwork(reason) => [b"N".as_slice(), reason.as_bytes()].concat(),
            Self::HealthUnnoted(reason) => [b"H".as_slice(), reason.as_bytes()].concat(),
            Self::Output(OutputStream::Stdout, bytes) => [b"O".as_slice(), bytes].concat(),
            Self::Output(OutputStream::Stderr, bytes) => [b"E".as_slice(), bytes].concat(),
            Self::Ended(code) => [b"X".as_slice(), &code.to_le_bytes()].concat(),
            Self::Done => vec![b'D'],
            Self::Refused(reason) => [b"R".as_slice(), reason.as_bytes()].concat(),
        }
    }

    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let (kind, rest) = packet.split_first()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(match kind {
            b'S' => Self::Started,
            b'F' => Self::Failed { code: *rest.first()?, reason: text(&rest[1..]) },
            b'U' => {
                let whole = text(rest);
                let (flags, reason) = whole.split_once('\0')?;
                Self::Unmet { flags: flags.to_owned(), reason: reason.to_owned() }
            }
            b'N' => Self::NoNetwork(text(rest)),
            b'H' => Self::HealthUnnoted(text(rest)),
            b'O' => Self::Output(OutputStream::Stdout, rest.to_vec()),
            b'E' => Self::Output(OutputStream::Stderr, rest.to_vec()),
            b'X' => Self::Ended(i32::from_le_bytes(rest.try_into().ok()?)),
            b'D' => Self::Done,
            b'R' => Self::Refused(text(rest)),
            _ => return None,
        })
    }
}

/// Sends one packet: false when the socket has no room for it now.
pub(super) fn send_packet(socket: &OwnedFd, packet: &[u8], flags: MsgFlags) -> Result<bool, Errno> {
    let packet = &packet[..packet.len().min(LARGEST)];
    loop {
        match send(socket.as_raw_fd(), packet, flags | MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}

/// The next packet, empty when the other side has gone; `None` when there is none now.
pub(super) fn next_packet(socket: &OwnedFd, flags: MsgFlags) -> Result<Option<Vec<u8>>, Errno> {
    let mut packet = vec![0; LARGEST];
    loop {
        match recv(socket.as_raw_fd(), &mut packet, flags) {
            Ok(length) => {
                packet.truncate(length);
                return Ok(Some(packet));
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::ECONNRESET) => return Ok(Some(Vec::new())),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_they_were_written() {
        for request in [
            Request::Attach,
            Request::Watch,
            Request::Input(b"a\0b".to_vec()),
            Request::EndOfInput,
            Request::Size { rows: 24, columns: 300 },
            Request::Signal(15),
            Request::Limits(Box::new(ContainerLimits { pids: Some(7), ..ContainerLimits::default() })),
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for message in [
            Message::Started,
            Message::Failed { code: 127, reason: "no".to_owned() },
            Message::Output(OutputStream::Stderr, b"x".to_vec()),
            Message::Unmet { flags: "--cpus".to_owned(), reason: "why".to_owned() },
            Message::NoNetwork("why".to_owned()),
            Message::HealthUnnoted("why".to_owned()),
            Message::Ended(-1),
            Message::Done,
            Message::Refused("because".to_owned()),
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!((Request::decode(b""), Request::decode(b"sx"), Request::decode(b"?")), (None, None, None));
    }
}
