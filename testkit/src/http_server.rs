//! A small HTTP/1.1 server that gives the answers its test chooses, good or bad, and records the requests.
//!
//! One thread a connection, one request a connection. It speaks no TLS and hangs up on those who try.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// `GET`, ….
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, unpacked if it came in chunks.
    pub body: Vec<u8>,
}

/// A reply of the server.
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// Headers; the length and the end of the connection are added by [`HttpBody`].
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: HttpBody,
}

/// A body, honest or not.
#[derive(Clone, Debug)]
pub enum HttpBody {
    /// These bytes, with their length.
    Whole(Vec<u8>),
    /// These bytes, ended by closing the connection, their length not announced.
    Unannounced(Vec<u8>),
    /// These bytes of an announced length, then the connection breaks.
    BrokenOff {
        /// The bytes sent.
        sent: Vec<u8>,
        /// The announced length in bytes.
        announced: usize,
    },
    /// These bytes of an announced length, then nothing more for half a minute.
    Stalled {
        /// The bytes sent.
        sent: Vec<u8>,
        /// The announced length in bytes.
        announced: usize,
    },
    /// A zero each tenth of a second, for ever.
    Trickle,
    /// Zeros for ever.
    Endless,
}

/// A running server; it stops with the process.
pub struct HttpServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<HttpRequest>>>,
}

impl HttpRequest {
    /// The value of header `name`, given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl HttpReply {
    /// A status with a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: HttpBody::Whole(body.into()) }
    }

    /// 200 with a body of whatever kind.
    #[must_use]
    pub fn with_body(body: HttpBody) -> Self {
        Self { status: 200, headers: Vec::new(), body }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl HttpServer {
    /// A server on a free loopback port that answers each request with what `answer` makes of it.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(answer: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let requests: Arc<Mutex<Vec<HttpRequest>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || {
                    // a client that hangs up is the client's affair
                    let _ = serve(&stream, &seen, &*answer);
                });
            }
        });
        Self { address, requests }
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    stream: &TcpStream,
    seen: &Mutex<Vec<HttpRequest>>,
    answer: &dyn Fn(&HttpRequest) -> HttpReply,
) -> io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first)?;
    if first[0] == 0x16 {
        // a TLS handshake; it is read to its end, since closing before would reset the connection and lose the answer
        let mut tls = stream;
        tls.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here\n")?;
        stream.shutdown(Shutdown::Write)?;
        return io::copy(&mut tls, &mut io::sink()).map(drop);
    }
    let Some(request) = read_request(&mut BufReader::new(stream))? else { return Ok(()) };
    let reply = answer(&request);
    let is_head = request.method == "HEAD";
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    write_reply(stream, &reply, is_head)
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<HttpRequest>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = HttpRequest { method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|value| value.parse().ok());
    if let Some(length) = length {
        // a connection that breaks leaves what has arrived
        let _ = reader.take(length).read_to_end(&mut request.body);
    } else if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            let arrived = reader.by_ref().take(size).read_to_end(&mut request.body);
            if size == 0 || arrived.is_err() {
                break;
            }
            reader.read_line(&mut String::new())?;
        }
    }
    Ok(Some(request))
}

fn write_reply(mut stream: &TcpStream, reply: &HttpReply, is_head: bool) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let announced = match &reply.body {
        HttpBody::Whole(bytes) => Some(bytes.len()),
        HttpBody::BrokenOff { announced, .. } | HttpBody::Stalled { announced, .. } => Some(*announced),
        HttpBody::Unannounced(_) | HttpBody::Trickle | HttpBody::Endless => None,
    };
    if let Some(length) = announced {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if is_head {
        return Ok(());
    }
    match &reply.body {
        HttpBody::Whole(bytes) | HttpBody::Unannounced(bytes) | HttpBody::BrokenOff { sent: bytes, .. } => {
            stream.write_all(bytes)
        }
        HttpBody::Stalled { sent, .. } => {
            stream.write_all(sent)?;
            thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        HttpBody::Trickle => loop {
            stream.write_all(&[0])?;
            thread::sleep(Duration::from_millis(100));
        },
        HttpBody::Endless => loop {
            stream.write_all(&[0; 65536])?;
        },
    }
}
