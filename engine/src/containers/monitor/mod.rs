//! The process that stays with a container: it has started the program, carries its streams, keeps its log, takes requests over a
//! socket in the container's directory, and writes down how it ended.
//!
//! It is one thread that waits for whatever comes first. Nothing of a container hangs on the process that asked for it: that
//! one is a client like those that come later. A client that does not read holds up what the program writes, as a pipe would.
//! A container that goes when its program ends may be started by the process in whose foreground it runs: that one is its monitor.

mod client;
mod connection;
mod foreground;
mod health;
mod log_writer;
mod own_streams;
mod packet;
mod session;

pub use connection::{Attached, MonitorMessage};
pub use foreground::ForegroundContainer;
pub use packet::OutputStream;

use super::{process::RunningContainer, start::stream_failure};
use crate::{Engine, Error};
use client::{Client, Part, listen};
use health::Health;
use log_writer::LogWriter;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use own_streams::OwnStreams;
use packet::{Message, Request};
use rbuild_cache::{
    Container, ContainerDirectory, ContainerInput, ContainerLimits, ContainerLock, ContainerState,
};
use rbuild_executor::{ContainerNetwork, Stdio, UnmetLimit};
use rbuild_oci::Timestamp;
use session::Session;
use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::PathBuf,
    thread,
    time::Duration,
};

/// How long what a program has written is waited for when the program has ended, in milliseconds.
const LAST_WORDS: u16 = 1000;

/// How often, and how far apart, the lock of a container is tried: others hold it for a moment to see if it is held, or while they
/// make the network of one that they start.
const LOCK_TRIES: u32 = 2500;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

impl Engine {
    /// Starts the container `id` and stays with it until it ends. `caller` is the socket of the process that asked for it
    /// ([`Attached::pair`]), which hears how that went; `explain` gives the exit code and the words for a failure.
    pub fn monitor(&self, id: &str, caller: OwnedFd, explain: impl FnOnce(&Error) -> (u8, String)) {
        let mut caller = Client::new(caller);
        let failed = match self.prepare(id) {
            Err(error) => error,
            Ok((mut monitor, prepared)) => {
                // what it has asked for already, so that it misses nothing
                monitor.clients.push(caller);
                monitor.serve_client(0);
                let Prepared { container, locked, network, stdio } = prepared;
                match self.launch(container, locked, (network, stdio)) {
                    // nobody hears of a record that cannot be written, which says of itself that the container was killed
                    Ok(running) => return drop(monitor.begin(self, running)),
                    Err(error) => {
                        monitor.close();
                        let Some(first) = monitor.clients.pop() else { return };
                        caller = first;
                        error
                    }
                }
            }
        };
        let (code, reason) = explain(&failed);
        // a socket that is closed before all requests were read takes what was sent with it
        while caller.next().is_some() {}
        caller.send(&Message::Failed { code, reason });
    }

    fn prepare(&self, id: &str) -> Result<(Monitor, Prepared), Error> {
        let container = self.container(id)?;
        let directory = self.store.container(&container.id);
        let lock = self.lock_container(&container.id)?;
        let lock = lock.ok_or_else(|| Error::ContainerRunning(container.name.clone()))?;
        let network = self.network_of(&container)?;
        let (monitor, stdio) = Monitor::new(&container, &directory)?;
        Ok((monitor, Prepared { container, locked: (directory, lock), network, stdio }))
    }

    /// The lock of a container that does not run.
    fn lock_container(&self, id: &str) -> Result<Option<ContainerLock>, Error> {
        for _ in 0..LOCK_TRIES {
            if let Some(lock) = self.store.container(id).try_lock()? {
                return Ok(Some(lock));
            }
            if self.container(id)?.state == ContainerState::Running {
                return Ok(None);
            }
            thread::sleep(LOCK_PAUSE);
        }
        Ok(None)
    }
}

/// A container that can be started.
struct Prepared {
    container: Container,
    locked: (ContainerDirectory, ContainerLock),
    network: ContainerNetwork,
    stdio: Stdio,
}

struct Monitor {
    /// There while it runs.
    running: Option<RunningContainer>,
    session: Session,
    input: ContainerInput,
    log: LogWriter,
    /// There if it is checked.
    health: Option<Health>,
    listener: UnixListener,
    socket: PathBuf,
    clients: Vec<Client>,
    /// There if the container runs in the foreground of this process.
    own: Option<OwnStreams>,
    /// Lines of what becomes of its network.
    network_news: Option<OwnedFd>,
}

/// What happened.
struct Ready {
    connection: bool,
    ended: bool,
    outputs: Vec<usize>,
    input: bool,
    own_outputs: Vec<OutputStream>,
    own_input: bool,
    news: bool,
    clients: Vec<usize>,
}

impl Monitor {
    /// The monitor of a container that is about to be started, and the streams of that.
    fn new(container: &Container, directory: &ContainerDirectory) -> Result<(Self, Stdio), Error> {
        let settings = container.settings.as_ref();
        let (streams, input) =
            settings.map(|settings| (settings.streams, settings.input)).unwrap_or_default();
        let log = settings.map(|settings| settings.log).unwrap_or_default();
        let listener = listen(directory).map_err(|source| Error::Io {
            action: "listen on",
            path: directory.monitor(),
            source,
        })?;
        let (session, stdio) = Session::new(streams, input != ContainerInput::None)?;
        let monitor = Self {
            running: None,
            session,
            input,
            log: LogWriter::new(directory.log(), log),
            health: Health::new(container, directory),
            listener,
            socket: directory.monitor(),
            clients: Vec::new(),
            own: None,
            network_news: None,
        };
        Ok((monitor, stdio))
    }

    fn begin(mut self, engine: &Engine, running: RunningContainer) -> Result<i32, Error> {
        for UnmetLimit { flags, reason } in running.unmet_limits() {
            let message = Message::Unmet { flags: flags.clone(), reason: reason.clone() };
            self.clients.iter_mut().for_each(|client| client.send(&message));
        }
        if let Some(reason) = running.missing_network() {
            let message = Message::NoNetwork(reason.to_owned());
            self.clients.iter_mut().for_each(|client| client.send(&message));
        }
        if let Some(reason) = self.health.as_ref().and_then(Health::unnoted) {
            let message = Message::HealthUnnoted(reason.to_owned());
            self.clients.iter_mut().for_each(|client| client.send(&message));
        }
        self.running = Some(running);
        self.clients.iter_mut().for_each(|client| client.send(&Message::Started));
        rbuild_sys::resident::give_code_back();
        self.run(engine)
    }

    /// Serves until the program has ended; its exit code.
    fn run(mut self, engine: &Engine) -> Result<i32, Error> {
        self.network_news = self.running.as_mut().and_then(RunningContainer::take_network_news);
        loop {
            match self.wait() {
                Ok(ready) => {
                    self.serve(&ready);
                    if let (Some(health), Some(running)) = (&mut self.health, &self.running) {
                        health.turn(engine, &running.container);
                    }
                    if ready.ended {
                        break;
                    }
                }
                Err(Errno::EINTR) => {}
                // a kernel that cannot wait: the container ends with this process
                Err(errno) => return Err(socket_failure(errno)),
            }
        }
        self.take_last_words();
        self.finish()
    }

    fn wait(&self) -> Result<Ready, Errno> {
        let mut watched = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        let process = self.running.as_ref().and_then(RunningContainer::pidfd);
        watched.extend(process.map(|process| PollFd::new(process, PollFlags::POLLIN)));
        let input = self.session.waiting_input();
        watched.extend(input.map(|input| PollFd::new(input.as_fd(), PollFlags::POLLOUT)));
        let news = self.network_news.as_ref();
        watched.extend(news.map(|news| PollFd::new(news.as_fd(), PollFlags::POLLIN)));
        let outputs = self.awaited_outputs();
        let end_of = |index: &usize| PollFd::new(self.session.outputs[*index].1.as_fd(), PollFlags::POLLIN);
        watched.extend(outputs.iter().map(end_of));
        let takes_input = self.session.takes_input();
        let own_outputs: Vec<_> = self.own.iter().flat_map(OwnStreams::behind).collect();
        watched.extend(own_outputs.iter().map(|(_, to)| PollFd::new(*to, PollFlags::POLLOUT)));
        let own_input = self.own.as_ref().and_then(|own| own.input.as_ref()).filter(|_| takes_input);
        watched.extend(own_input.map(|input| PollFd::new(input.as_fd(), PollFlags::POLLIN)));
        watched.extend(self.clients.iter().map(|client| client.watched(takes_input)));
        watched.extend(self.health.iter().flat_map(Health::watched));
        poll(&mut watched, self.health.as_ref().map_or(PollTimeout::NONE, Health::patience))?;
        let mut happened = watched.iter().map(|one| one.any() == Some(true));
        let mut next = |is_watched: bool| is_watched && happened.next() == Some(true);
        Ok(Ready {
            connection: next(true),
            ended: next(process.is_some()),
            input: next(input.is_some()),
            news: next(news.is_some()),
            outputs: outputs.into_iter().filter(|_| next(true)).collect(),
            own_outputs: own_outputs.iter().filter(|_| next(true)).map(|(stream, _)| *stream).collect(),
            own_input: next(own_input.is_some()),
            clients: (0..self.clients.len()).filter(|_| next(true)).collect(),
        })
    }

    /// The indexes of the outputs that are read when there is something: those that nobody holds up.
    fn awaited_outputs(&self) -> Vec<usize> {
        if self.clients.iter().any(Client::is_behind) {
            return Vec::new();
        }
        let is_behind = |stream: OutputStream| {
            self.own.as_ref().is_some_and(|own| own.behind().any(|(behind, _)| behind == stream))
        };
        let outputs = self.session.outputs.iter().enumerate();
        outputs.filter(|(_, (stream, _))| !is_behind(*stream)).map(|(index, _)| index).collect()
    }

    fn serve(&mut self, ready: &Ready) {
        if ready.input {
            self.session.feed();
        }
        if ready.news {
            self.carry_news();
        }
        if let Some(own) = &mut self.own {
            ready.own_outputs.iter().for_each(|stream| own.flush(*stream));
            if ready.own_input {
                let typed = own.read_input();
                if typed.is_empty() { self.session.end_input() } else { self.session.type_in(&typed) }
            }
        }
        self.carry_outputs(&ready.outputs);
        // the last first, because the place of one that has gone is taken by the last
        for index in ready.clients.iter().rev() {
            self.serve_client(*index);
        }
        if ready.connection
            && let Some(client) = Client::accept(&self.listener)
        {
            self.clients.push(client);
        }
    }

    /// Carries what can be read from the outputs at `indexes`, in this order.
    fn carry_outputs(&mut self, indexes: &[usize]) {
        for index in indexes {
            let Some((stream, bytes)) = self.session.read_output(*index) else { continue };
            if let Some(running) = &self.running {
                self.log.append(stream, &bytes, Timestamp::from(running.store.now()));
            }
            if let Some(own) = &mut self.own
                && !own.write(stream, &bytes)
            {
                self.session.close_output(stream);
                // as a shell would, but for the first program of a container, which no SIGPIPE ends
                if stream == OutputStream::Stdout
                    && let Some(running) = &self.running
                {
                    let _ = running.signal(Signal::SIGKILL);
                }
            }
            self.show(stream, bytes);
        }
        self.session.forget_ended();
    }

    /// Writes what has become of the network into the log, and tells it to those who watch.
    fn carry_news(&mut self) {
        let mut bytes = [0; 4096];
        let length = self.network_news.as_ref().map_or(Ok(0), |news| nix::unistd::read(news, &mut bytes));
        let length = length.unwrap_or(0);
        if length == 0 {
            self.network_news = None;
            return;
        }
        if let Some(running) = &self.running {
            self.log.remark(&bytes[..length], Timestamp::from(running.store.now()));
        }
        if let Some(own) = &mut self.own {
            // a person who has closed it does not want to know
            own.write(OutputStream::Stderr, &bytes[..length]);
        }
        self.show(OutputStream::Stderr, bytes[..length].to_vec());
    }

    /// Sends `bytes` to the clients that see what the program writes.
    fn show(&mut self, stream: OutputStream, bytes: Vec<u8>) {
        let message = Message::Output(stream, bytes);
        let watching = self.clients.iter_mut().filter(|client| client.part != Part::None);
        watching.for_each(|client| client.send(&message));
    }

    fn serve_client(&mut self, index: usize) {
        self.clients[index].flush();
        while let Some(request) = self.clients[index].next() {
            match request {
                Request::Attach => self.clients[index].part = Part::Types,
                Request::Watch => self.clients[index].part = Part::Watches,
                Request::Input(bytes) => self.session.type_in(&bytes),
                Request::EndOfInput if self.input == ContainerInput::Once => self.session.end_input(),
                Request::EndOfInput => {}
                Request::Size { rows, columns } => self.session.resize(rows, columns),
                Request::Signal(number) => self.send_signal(index, number),
                Request::Limits(limits) => self.limit(index, *limits),
            }
            if !self.session.takes_input() {
                break;
            }
        }
        if self.clients[index].is_gone {
            let client = self.clients.swap_remove(index);
            if client.part == Part::Types && self.input == ContainerInput::Once {
                self.session.end_input();
            }
        }
    }

    fn send_signal(&mut self, index: usize, number: i32) {
        let sent = match (Signal::try_from(number), &self.running) {
            (Ok(signal), Some(running)) => running.signal(signal).map_err(|error| error.to_string()),
            _ => Err(format!("signal {number} cannot be sent")),
        };
        let answer = sent.map_or_else(Message::Refused, |()| Message::Done);
        self.clients[index].send(&answer);
    }

    fn limit(&mut self, index: usize, limits: ContainerLimits) {
        let limited = self.running.as_mut().map_or(Ok(Vec::new()), |running| running.limit(limits));
        let answers = match limited {
            Err(error) => vec![Message::Refused(in_full(&error))],
            Ok(unmet) => {
                let unmet =
                    unmet.into_iter().map(|UnmetLimit { flags, reason }| Message::Unmet { flags, reason });
                unmet.chain([Message::Done]).collect()
            }
        };
        answers.iter().for_each(|answer| self.clients[index].send(answer));
    }

    /// What the program wrote before it ended. A process outside that was given its pipe could keep it open for ever.
    fn take_last_words(&mut self) {
        while !self.session.outputs.is_empty() {
            let mut watched: Vec<_> = self
                .session
                .outputs
                .iter()
                .map(|(_, end)| PollFd::new(end.as_fd(), PollFlags::POLLIN))
                .collect();
            match poll(&mut watched, PollTimeout::from(LAST_WORDS)) {
                Err(Errno::EINTR) => continue,
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let ready: Vec<usize> =
                (0..watched.len()).filter(|index| watched[*index].any() == Some(true)).collect();
            self.carry_outputs(&ready);
        }
    }

    /// Lets nobody in any more.
    fn close(&self) {
        // it goes with the container at the latest
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Writes down how the program ended, and tells it to those who wait: the container can be started or removed when they
    /// hear of it.
    fn finish(mut self) -> Result<i32, Error> {
        let ended = self.running.take().map_or(Ok(0), RunningContainer::wait);
        self.close();
        for client in &mut self.clients {
            client.send(&Message::Ended(*ended.as_ref().unwrap_or(&255)));
        }
        // who waits for this process waits for no other client that does not read
        let patience = if self.own.is_some() { PollTimeout::from(LAST_WORDS) } else { PollTimeout::NONE };
        self.clients.retain(Client::is_behind);
        while !self.clients.is_empty() {
            let mut watched: Vec<_> = self.clients.iter().map(Client::watched_for_room).collect();
            match poll(&mut watched, patience) {
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            drop(watched);
            self.clients.iter_mut().for_each(Client::flush);
            self.clients.retain(|client| client.is_behind() && !client.is_gone);
        }
        if let Some(own) = self.own {
            own.finish();
        }
        ended
    }
}

/// An error with its causes.
fn in_full(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

/// The failure of a socket between a monitor and its clients.
fn socket_failure(errno: Errno) -> Error {
    stream_failure(errno.into())
}
