//! Where a daemon listens, as `DOCKER_HOST`, a docker context or `-H` say it.

use crate::DaemonError;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The place where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonAddress {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A port, as `HOST:PORT`.
    Tcp {
        /// Host and port.
        authority: String,
        /// The files for TLS; without them the connection is plain.
        tls: Option<TlsFiles>,
    },
}

/// The files with which both sides of a TLS connection know each other: `ca.pem`, `cert.pem` and `key.pem` of a directory,
/// each of which may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The directory.
    pub directory: PathBuf,
    /// True if the daemon's certificate has to be signed by an authority (`DOCKER_TLS_VERIFY`).
    pub verify: bool,
}

impl DaemonAddress {
    /// Reads `unix://PATH`, `tcp://HOST[:PORT]`, or `http://` and `https://` of the same. `tls` holds for all but sockets.
    ///
    /// # Errors
    /// [`DaemonError::Address`] for anything else, `ssh://` included.
    pub fn parse(text: &str, tls: Option<TlsFiles>) -> Result<Self, DaemonError> {
        let wrong = |problem| DaemonError::Address { text: text.to_owned(), problem };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong("a scheme is missing, as in unix:///var/run/docker.sock or tcp://HOST:PORT"));
        };
        match scheme {
            "unix" if Path::new(rest).is_absolute() => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err(wrong("the socket's path is not absolute")),
            "tcp" | "http" | "https" => {
                let authority = rest.trim_end_matches('/');
                if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
                    return Err(wrong("it is not of the form tcp://HOST:PORT"));
                }
                let bracketed = authority.rsplit_once(']').map_or(authority, |(_, port)| port);
                // the ports that docker takes when none is given
                let port = match (bracketed.contains(':'), tls.is_some() || scheme == "https") {
                    (true, _) => "",
                    (false, true) => ":2376",
                    (false, false) => ":2375",
                };
                let tls = tls.or_else(|| {
                    (scheme == "https").then(|| TlsFiles { directory: PathBuf::new(), verify: true })
                });
                Ok(Self::Tcp { authority: format!("{authority}{port}"), tls })
            }
            "ssh" => {
                Err(wrong("daemons are reached through sockets and ports; forward the socket with ssh -L"))
            }
            _ => Err(wrong("daemons are reached through unix:// and tcp://")),
        }
    }
}

impl fmt::Display for DaemonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { authority, .. } => write!(f, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_s_client_reads_them() {
        let files = || TlsFiles { directory: PathBuf::from("/certs"), verify: true };
        for (text, tls, expected) in [
            ("unix:///run/docker.sock", None, Ok("unix:///run/docker.sock")),
            ("unix:///run/docker.sock", Some(files()), Ok("unix:///run/docker.sock")),
            ("tcp://h:1", None, Ok("tcp://h:1")),
            ("tcp://h", None, Ok("tcp://h:2375")),
            ("tcp://h/", Some(files()), Ok("tcp://h:2376")),
            ("https://h", None, Ok("tcp://h:2376")),
            ("tcp://[::1]", None, Ok("tcp://[::1]:2375")),
            ("tcp://[::1]:7", None, Ok("tcp://[::1]:7")),
            ("unix://run/docker.sock", None, Err("the socket's path is not absolute")),
            ("tcp://", None, Err("it is not of the form tcp://HOST:PORT")),
            ("tcp://user@h", None, Err("it is not of the form tcp://HOST:PORT")),
            ("h:1", None, Err("a scheme is missing, as in unix:///var/run/docker.sock or tcp://HOST:PORT")),
            ("npipe:////./pipe/docker", None, Err("daemons are reached through unix:// and tcp://")),
        ] {
            let read = DaemonAddress::parse(text, tls).map(|address| address.to_string());
            let read = read.as_deref().map_err(|error| match error {
                DaemonError::Address { problem, .. } => *problem,
                other => panic!("{other}"),
            });
            assert_eq!(read, expected, "{text}");
        }
    }
}
