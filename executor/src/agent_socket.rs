//! The socket that `RUN --mount=type=ssh` shows: it is in memory and belongs to one step, and what comes through it is passed
//! on to the agent of the person who builds (draft-ietf-sshm-ssh-agent).
//!
//! A step may use keys and do nothing else: a request that adds or removes keys, locks the agent or makes it load a library
//! (CVE-2023-38408) is answered as a failure and does not reach the agent.

use crate::ExecutorError;
use rbuild_sys::mount::{MountAttributes, detached_tmpfs};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            fs::{PermissionsExt, chown},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// The name of the socket in its memory.
pub(crate) const NAME: &str = "agent";
/// Connections at the same time; more wait.
const MOST_CONNECTIONS: usize = 32;
/// The longest message, in bytes, as in OpenSSH.
const LONGEST_MESSAGE: u32 = 256 << 10;

/// Types of messages: the requests that use keys, and the answer to the others.
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const EXTENSION: u8 = 27;
const FAILURE: u8 = 5;
/// The extension that tells the agent for which host a signature is; keys that are bound to hosts need it.
const SESSION_BIND: &[u8] = b"\0\0\0\x18session-bind@openssh.com";

/// The socket of one mount. Dropping it ends all its connections.
pub(crate) struct AgentSocket {
    memory: Arc<OwnedFd>,
    listener: UnixListener,
    connections: Arc<Connections>,
    acceptor: Option<JoinHandle<()>>,
}

impl AgentSocket {
    /// A socket with `mode` and `owner` in front of the agent at `agent`.
    ///
    /// # Errors
    /// [`ExecutorError::AgentAway`] when the agent does not answer, [`ExecutorError::System`] when no socket can be made.
    pub(crate) fn new(agent: &Path, mode: u32, (uid, gid): (u32, u32)) -> Result<Self, ExecutorError> {
        let away = |source| ExecutorError::AgentAway { socket: agent.to_owned(), source };
        UnixStream::connect(agent).map_err(away)?;
        let fail =
            |call| move |error: io::Error| ExecutorError::system(call, b"a socket for an agent", error);
        let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
        let memory = detached_tmpfs(&[(c"source", c"tmpfs"), (c"size", c"64k")], attributes)
            .map_err(rbuild_sys::SandboxError::from)?;
        let path = Path::new("/proc/self/fd").join(memory.as_raw_fd().to_string()).join(NAME);
        let listener = UnixListener::bind(&path).map_err(fail("bind"))?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).map_err(fail("chmod"))?;
        chown(&path, Some(uid), Some(gid)).map_err(fail("chown"))?;
        let connections = Arc::new(Connections { agent: agent.to_owned(), open: Mutex::default() });
        let (accepting, held) = (listener.try_clone().map_err(fail("dup"))?, connections.clone());
        let acceptor = thread::Builder::new().name("ssh agent".to_owned());
        let acceptor = acceptor.spawn(move || held.accept(&accepting)).map_err(fail("clone"))?;
        Ok(Self { memory: Arc::new(memory), listener, connections, acceptor: Some(acceptor) })
    }

    /// The memory whose file [`NAME`] is the socket.
    pub(crate) fn memory(&self) -> Arc<OwnedFd> {
        self.memory.clone()
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        // a listening socket that is shut down wakes who waits in accept
        if let Ok(listener) = self.listener.as_fd().try_clone_to_owned() {
            let _ = UnixStream::from(listener).shutdown(Shutdown::Both);
        }
        self.connections.end();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

struct Connections {
    agent: PathBuf,
    /// Both ends of those that are open, by number; `None` once the socket is gone.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    ended: bool,
    streams: BTreeMap<u64, [UnixStream; 2]>,
}

impl Connections {
    fn accept(&self, listener: &UnixListener) {
        thread::scope(|scope| {
            for number in 0.. {
                let Ok((guest, _)) = listener.accept() else { return };
                let Ok(Some((guest, agent))) = self.open(number, guest) else { continue };
                let served = thread::Builder::new().spawn_scoped(scope, move || {
                    // what ends a connection is for the guest's program to report
                    let _ = serve(guest, agent);
                    self.close(number);
                });
                if served.is_err() {
                    self.close(number);
                }
            }
        });
    }

    /// Joins `guest` with a connection to the agent; `None` when there are too many already, or the socket is gone.
    fn open(&self, number: u64, guest: UnixStream) -> io::Result<Option<(UnixStream, UnixStream)>> {
        let agent = UnixStream::connect(&self.agent)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.ended || open.streams.len() >= MOST_CONNECTIONS {
            return Ok(None);
        }
        open.streams.insert(number, [guest.try_clone()?, agent.try_clone()?]);
        Ok(Some((guest, agent)))
    }

    fn close(&self, number: u64) {
        if let Some(streams) =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).streams.remove(&number)
        {
            shut_down(&streams);
        }
    }

    fn end(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.ended = true;
        open.streams.values().for_each(|streams| shut_down(streams));
    }
}

fn shut_down(streams: &[UnixStream]) {
    for stream in streams {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Answers the requests of `guest`, until either end closes.
fn serve(mut guest: UnixStream, mut agent: UnixStream) -> io::Result<()> {
    loop {
        let request = read_message(&mut guest)?;
        if may_pass(&request) {
            write_message(&mut agent, &request)?;
            write_message(&mut guest, &read_message(&mut agent)?)?;
        } else {
            write_message(&mut guest, &[FAILURE])?;
        }
    }
}

/// True for a request that uses keys, or asks for them.
fn may_pass(request: &[u8]) -> bool {
    match request.split_first() {
        Some((&(REQUEST_IDENTITIES | SIGN_REQUEST), _)) => true,
        Some((&EXTENSION, rest)) => rest.starts_with(SESSION_BIND),
        _ => false,
    }
}

fn read_message(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_message(stream: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend_from_slice(message);
    stream.write_all(&whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_that_use_keys_pass() {
        assert!(may_pass(&[REQUEST_IDENTITIES]));
        assert!(may_pass(&[SIGN_REQUEST, 0, 0, 0, 1, 2]));
        assert!(may_pass(b"\x1b\0\0\0\x18session-bind@openssh.com\0\0\0\0"));
        // add, remove, remove all, add and remove a provider, lock, unlock, add constrained; other extensions; nothing
        for kind in [17, 18, 19, 20, 21, 22, 23, 25, 26, 1, 0] {
            assert!(!may_pass(&[kind, 0, 0, 0, 0]), "{kind}");
        }
        assert!(!may_pass(b"\x1b\0\0\0\x05other") && !may_pass(b""));
    }

    /// An agent that remembers what it was asked, and an enemy who asks for more than he may.
    #[test]
    fn an_agent_never_sees_what_may_not_pass() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        let agent = UnixListener::bind(&path).unwrap();
        let seen = thread::spawn(move || {
            let mut seen = Vec::new();
            // the first connection asks nothing: it is the look whether the agent is there
            for stream in agent.incoming().take(3) {
                let mut stream = stream.unwrap();
                while let Ok(message) = read_message(&mut stream) {
                    seen.push(message.clone());
                    write_message(&mut stream, &[12, 0, 0, 0, 0]).unwrap();
                }
            }
            seen
        });
        let Ok(socket) = AgentSocket::new(&path, 0o600, (0, 0)) else {
            rbuild_testkit::skip("no memory can be mounted");
            return;
        };
        let inside = format!("/proc/self/fd/{}/{NAME}", socket.memory.as_raw_fd());
        let mut guest = UnixStream::connect(&inside).unwrap();
        for (request, answer) in
            [(vec![11], 12), (vec![20, 0, 0, 0, 1, b'/'], FAILURE), (vec![], FAILURE), (vec![11], 12)]
        {
            write_message(&mut guest, &request).unwrap();
            assert_eq!(read_message(&mut guest).unwrap()[0], answer, "{request:?}");
        }
        let mut lying = UnixStream::connect(&inside).unwrap();
        lying.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert_eq!(lying.read(&mut [0; 8]).unwrap(), 0, "the connection ends");
        drop(socket);
        assert_eq!(guest.read(&mut [0; 8]).unwrap(), 0, "nothing outlives the mount");
        assert_eq!(seen.join().unwrap(), [[11], [11]]);
    }
}
