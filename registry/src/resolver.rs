//! Names of hosts, looked up on threads of their own.
//!
//! The system's look-up cannot be stopped, and takes ten seconds and more where no name server answers. A runtime that ends waits for
//! its threads; for these nobody waits, so that a person who stops a build need not either.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{net::ToSocketAddrs, thread};
use tokio::sync::oneshot;

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
            let addresses: Addrs = Box::new(waiting.await??);
            Ok(addresses)
        })
    }
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
}
