//! Servers between a client and another server that do harm: connections cut in the middle, slow ones, and requests that
//! get another answer than the server's.

use crate::{HttpReply, HttpRequest, HttpServer};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// The harm done to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// None.
    None,
    /// It breaks after the client has sent this number of bytes.
    CutUpwards(usize),
    /// It breaks after the server has sent this number of bytes.
    CutDownwards(usize),
    /// It passes at most this number of bytes in a hundredth of a second, each way.
    Slow(usize),
}

/// A relay of connections; it stops with the process.
pub struct Relay {
    address: SocketAddr,
}

impl Relay {
    /// A relay on a free loopback port to `server` (`host:port`), which does to connection number n (from 0) what
    /// `harm(n)` says.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(server: &str, harm: impl Fn(usize) -> Harm + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let server = server.to_owned();
        thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                let Ok(upstream) = TcpStream::connect(&server) else { continue };
                join(client, upstream, harm(number));
            }
        });
        Self { address }
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

fn join(client: TcpStream, server: TcpStream, harm: Harm) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    for (from, to, cut) in [
        (&client, &server, if let Harm::CutUpwards(bytes) = harm { Some(bytes) } else { None }),
        (&server, &client, if let Harm::CutDownwards(bytes) = harm { Some(bytes) } else { None }),
    ] {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        thread::spawn(move || {
            // a side that hangs up ends the connection, which is all that has to be known
            if pass(&from, &to, harm, cut).is_ok() {
                let _ = to.shutdown(Shutdown::Write);
            } else {
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            }
        });
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, harm: Harm, cut: Option<usize>) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    let mut left = cut;
    loop {
        let room = match harm {
            Harm::Slow(bytes) => bytes,
            Harm::None | Harm::CutUpwards(_) | Harm::CutDownwards(_) => buffer.len(),
        };
        let room = room.min(left.unwrap_or(room)).min(buffer.len());
        if room == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let length = from.read(&mut buffer[..room])?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
        left = left.map(|left| left - length);
        if let Harm::Slow(_) = harm {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl HttpServer {
    /// A server that passes each request on to `server`, unless `instead` has an answer to request number n (from 0).
    #[must_use]
    pub fn in_front_of(
        server: &str,
        instead: impl Fn(usize, &HttpRequest) -> Option<HttpReply> + Send + Sync + 'static,
    ) -> Self {
        let server = server.to_owned();
        let number = std::sync::atomic::AtomicUsize::new(0);
        Self::start(move |request| {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let reply = instead(number, request);
            reply.unwrap_or_else(|| {
                forwarded(&server, request).unwrap_or_else(|error| HttpReply::new(502, error.to_string()))
            })
        })
    }
}

/// The answer of `server` to `request`.
fn forwarded(server: &str, request: &HttpRequest) -> io::Result<HttpReply> {
    let mut stream = TcpStream::connect(server)?;
    let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        if !["connection", "transfer-encoding", "content-length"].contains(&name.as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", request.body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let mut reply = HttpReply::new(status.ok_or(io::ErrorKind::InvalidData)?, "");
    let mut length = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "connection" | "transfer-encoding" => {}
            _ => reply.headers.push((name.to_owned(), value.trim().to_owned())),
        }
    }
    let mut body = Vec::new();
    if request.method == "HEAD" {
        // as long as the answer says, because only the length is sent
        body.resize(length.unwrap_or(0), 0);
    } else {
        reader.read_to_end(&mut body)?;
    }
    reply.body = crate::HttpBody::Whole(body);
    Ok(reply)
}
