//! Names of hosts, looked up on threads of their own.
//!
//! The system's look-up cannot be stopped, and takes ten seconds and more where no name server answers. A runtime that ends waits for
//! its threads; for these nobody waits, so that a person who stops a build need not either.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{io, net::ToSocketAddrs, thread};
use tokio::sync::oneshot;

/// No name server knows a host, which asking again does not change.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnknownHost(io::Error);

/// Asks the system.
pub(crate) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, waiting) = oneshot::channel();
        let looking = move || {
            // who asked may have gone; the client puts in the port
            let _ = found.send((name.as_str(), 0).to_socket_addrs());
        };
        let started = thread::Builder::new().name("rbuild-resolver".to_owned()).spawn(looking);
        Box::pin(async move {
            started?;
            let addresses: Addrs = Box::new(waiting.await?.map_err(failed)?);
            Ok(addresses)
        })
    }
}

/// What the system says, of which only the words tell what may pass: "temporary failure" of glibc, "try again" of musl; what a
/// system call says has a number.
fn failed(error: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let text = error.to_string().to_ascii_lowercase();
    let may_pass = ["temporary", "try again", "memory"].iter().any(|word| text.contains(word));
    if may_pass || error.raw_os_error().is_some() { error.into() } else { UnknownHost(error).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_or_the_system_says_why_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let addresses = |name: &str| runtime.block_on(Resolver.resolve(name.parse().unwrap()));
        assert!(addresses("localhost").unwrap().all(|address| address.ip().is_loopback()));
        let error = addresses("a..b.invalid").err().unwrap();
        assert!(error.to_string().contains("lookup"), "{error}");
    }

    #[test]
    fn only_what_may_pass_is_worth_another_try() {
        let is_final = |error: io::Error| failed(error).is::<UnknownHost>();
        let looked_up =
            |text: &str| io::Error::other(format!("failed to lookup address information: {text}"));
        assert!(is_final(looked_up("Name or service not known")));
        assert!(is_final(looked_up("Name does not resolve")));
        assert!(!is_final(looked_up("Temporary failure in name resolution")));
        assert!(!is_final(looked_up("Try again")));
        assert!(!is_final(io::Error::from_raw_os_error(24)));
    }
}
