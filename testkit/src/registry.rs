//! The real registry, Debian's `docker-registry`, on a free port, with an empty store that goes away with it.

use crate::{HttpRequest, certificates::Certificates, token_server, token_server::TokenServer};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The user every registry with a login knows.
pub const REGISTRY_USER: &str = "tester";
/// Its password.
pub const REGISTRY_PASSWORD: &str = "correct horse";

const START_LIMIT: Duration = Duration::from_secs(60);

/// How the registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RegistryTransport {
    /// Plain HTTP on 127.0.0.1.
    #[default]
    PlainHttp,
    /// TLS with a certificate of the registry's own authority, for 127.0.0.1 and localhost.
    Tls,
    /// The same for clients that show a certificate of that authority.
    TlsForClients,
    /// The same on all addresses, the certificate also for this one.
    TlsOn(String),
}

/// The clients that the registry lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistryLogin {
    /// Everybody.
    #[default]
    Anyone,
    /// [`REGISTRY_USER`], by HTTP Basic.
    Basic,
    /// [`REGISTRY_USER`], by tokens of a token server.
    Bearer,
}

/// The options of a registry to start.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// How it is reached.
    pub transport: RegistryTransport,
    /// The clients it lets in.
    pub login: RegistryLogin,
}

/// A running registry; killed when dropped.
pub struct Registry {
    directory: TempDir,
    process: Child,
    host: String,
    certificates: Option<Certificates>,
    tokens: Option<TokenServer>,
}

impl Registry {
    /// Starts one and waits until it listens. `None`, and a word on stderr, when this machine lacks a program for it.
    ///
    /// # Panics
    /// When the programs are there but the registry does not come up.
    #[must_use]
    pub fn start(options: &RegistryOptions) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path();
        let certificates = match &options.transport {
            RegistryTransport::PlainHttp => None,
            RegistryTransport::Tls | RegistryTransport::TlsForClients => {
                Some(needed("openssl", Certificates::create(path, &["127.0.0.1"]))?)
            }
            RegistryTransport::TlsOn(address) => {
                Some(needed("openssl", Certificates::create(path, &["127.0.0.1", address]))?)
            }
        };
        let login = format!("{REGISTRY_USER}:{REGISTRY_PASSWORD}");
        let tokens = match options.login {
            RegistryLogin::Bearer => Some(needed("openssl", TokenServer::start(path, &login))?),
            RegistryLogin::Anyone | RegistryLogin::Basic => None,
        };
        if options.login == RegistryLogin::Basic {
            needed("htpasswd", write_htpasswd(&path.join("htpasswd")))?;
        }
        let address = match &options.transport {
            RegistryTransport::PlainHttp | RegistryTransport::Tls | RegistryTransport::TlsForClients => {
                "127.0.0.1"
            }
            RegistryTransport::TlsOn(_) => "0.0.0.0",
        };
        // another process may take the port between our looking and the registry's binding
        for _ in 0..5 {
            let port = free_port();
            let config =
                config(path, &format!("{address}:{port}"), options, tokens.as_ref(), certificates.as_ref());
            fs::write(path.join("config.yml"), config).expect("the temporary directory can be written");
            let process = needed("docker-registry", spawn(path))?;
            let host = match &options.transport {
                RegistryTransport::TlsOn(address) => format!("{address}:{port}"),
                RegistryTransport::PlainHttp | RegistryTransport::Tls | RegistryTransport::TlsForClients => {
                    format!("127.0.0.1:{port}")
                }
            };
            let mut process = Killed(Some(process));
            if listens(&mut process, port) {
                let process = process.0.take().expect("nobody took it before");
                return Some(Self { directory, process, host, certificates, tokens });
            }
        }
        panic!("docker-registry does not start: {}", log_of(path));
    }

    /// `address:port`, the domain of references to it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The PEM file of the authority that signed its certificate.
    ///
    /// # Panics
    /// Without TLS.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.certificates.as_ref().expect("the registry was started with TLS").authority
    }

    /// A directory in the form of `certs.d` that makes this registry trusted.
    ///
    /// # Panics
    /// Without TLS.
    #[must_use]
    pub fn certificate_directory(&self) -> PathBuf {
        let directory = self.directory.path().join("certs.d");
        let own = directory.join(&self.host);
        fs::create_dir_all(&own).expect("the temporary directory can be written");
        fs::copy(self.authority(), own.join("ca.crt")).expect("the authority is a file");
        directory
    }

    /// A certificate of its authority and the key of it.
    ///
    /// # Panics
    /// Without TLS.
    #[must_use]
    pub fn certificate_and_key(&self) -> (&Path, &Path) {
        let certificates = self.certificates.as_ref().expect("the registry was started with TLS");
        (&certificates.server, &certificates.key)
    }

    /// A docker `config.json` with the login for this registry.
    #[must_use]
    pub fn docker_config(&self) -> String {
        let auth = BASE64_STANDARD.encode(format!("{REGISTRY_USER}:{REGISTRY_PASSWORD}"));
        format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, self.host)
    }

    /// Kills it as `kill -9` does; what it has stored stays.
    pub fn kill(&mut self) {
        // it may have died by itself
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again at the same address, with what it has stored and an empty log.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        let process = spawn(self.directory.path()).expect("it could be started before");
        let port = self.host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let mut process = Killed(Some(process));
        assert!(listens(&mut process, port.expect("a port")), "{}", log_of(self.directory.path()));
        self.process = process.0.take().expect("nobody took it before");
    }

    /// The requests the registry has answered so far: method and target, such as `HEAD /v2/a/blobs/sha256:…`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        // the access log has them between quotes: "GET /v2/ HTTP/1.1"
        let log = log_of(self.directory.path());
        let quoted = log.lines().filter_map(|line| line.split_once("] \"")?.1.split_once(" HTTP/"));
        quoted.map(|(request, _)| request.to_owned()).collect()
    }

    /// How many connections have brought it a request so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        // the log of answers names the client's port, which each connection has of its own
        let log = log_of(self.directory.path());
        let answered = log.lines().filter(|line| line.contains("response completed"));
        let client = answered.filter_map(|line| line.split_once("remoteaddr=")?.1.split_whitespace().next());
        client.collect::<BTreeSet<&str>>().len()
    }

    /// The address of its token server.
    ///
    /// # Panics
    /// Without one.
    #[must_use]
    pub fn token_realm(&self) -> String {
        let tokens = self.tokens.as_ref().expect("the registry was started with a token server");
        format!("http://{}/token", tokens.server.host())
    }

    /// The requests its token server has answered so far; none without one.
    #[must_use]
    pub fn token_requests(&self) -> Vec<HttpRequest> {
        self.tokens.as_ref().map(|tokens| tokens.server.requests()).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process that does not outlive an early return.
pub(crate) struct Killed(pub(crate) Option<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn needed<T>(program: &str, made: Option<T>) -> Option<T> {
    if made.is_none() {
        crate::skip(format_args!("it needs a registry, and {program} is missing or does not work"));
    }
    made
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn write_htpasswd(path: &Path) -> Option<()> {
    let output = Command::new("htpasswd").args(["-nbB", REGISTRY_USER, REGISTRY_PASSWORD]).output().ok()?;
    output.status.success().then(|| fs::write(path, output.stdout).ok())?
}

/// `None` when the program is not installed.
fn spawn(directory: &Path) -> Option<Child> {
    let log = File::create(directory.join("log")).expect("the temporary directory can be written");
    let mut command = Command::new("docker-registry");
    command.args(["serve", "config.yml"]).current_dir(directory).env("OTEL_TRACES_EXPORTER", "none");
    command.stdin(Stdio::null()).stderr(log.try_clone().expect("a file can be opened twice")).stdout(log);
    match command.spawn() {
        Ok(process) => Some(process),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("docker-registry cannot be run: {error}"),
    }
}

/// Waits until the process accepts connections; `false` when it ends or takes too long.
pub(crate) fn listens(process: &mut Killed, port: u16) -> bool {
    let start = Instant::now();
    while start.elapsed() < START_LIMIT {
        let ended =
            process.0.as_mut().is_none_or(|process| process.try_wait().is_ok_and(|status| status.is_some()));
        if ended {
            return false;
        }
        // without a listener the kernel may connect a port to itself; such a connection does not count
        let others = |stream: TcpStream| stream.local_addr().ok() != stream.peer_addr().ok();
        if TcpStream::connect(("127.0.0.1", port)).is_ok_and(others) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

fn log_of(directory: &Path) -> String {
    fs::read(directory.join("log"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn config(
    directory: &Path,
    address: &str,
    options: &RegistryOptions,
    tokens: Option<&TokenServer>,
    certificates: Option<&Certificates>,
) -> String {
    let directory = directory.display();
    let tls = certificates.map_or(String::new(), |certificates| {
        let (server, key) = (certificates.server.display(), certificates.key.display());
        let clients = match options.transport {
            RegistryTransport::TlsForClients => {
                format!("    clientcas:\n      - {}\n", certificates.authority.display())
            }
            RegistryTransport::PlainHttp | RegistryTransport::Tls | RegistryTransport::TlsOn(_) => {
                String::new()
            }
        };
        format!("  tls:\n    certificate: {server}\n    key: {key}\n{clients}")
    });
    let auth = match (options.login, tokens) {
        (RegistryLogin::Basic, _) => {
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {directory}/htpasswd\n")
        }
        (RegistryLogin::Bearer, Some(tokens)) => format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: {}\n    issuer: {}\n    rootcertbundle: {}\n",
            tokens.server.host(),
            token_server::SERVICE,
            token_server::ISSUER,
            tokens.certificate.display()
        ),
        (RegistryLogin::Anyone | RegistryLogin::Bearer, _) => String::new(),
    };
    format!(
        "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: false\n\
         storage:\n  filesystem:\n    rootdirectory: {directory}/store\n  delete:\n    enabled: true\n\
         http:\n  addr: {address}\n  secret: test\n{tls}{auth}"
    )
}
