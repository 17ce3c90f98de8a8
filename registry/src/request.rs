//! Requests to a registry as they are asked for: what is sent where, what it has to be allowed, how long it may take.

use crate::{Access, scope::Scopes};
use bytes::Bytes;
use rbuild_oci::Reference;
use reqwest::{Method, Url, header::HeaderMap};

/// A request that can be repeated.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    /// Empty for none.
    pub(crate) body: Bytes,
    pub(crate) scope: RequestScope,
    pub(crate) timeout: Timeout,
}

/// How long the answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// As long as a transfer may stall.
    Usual,
    /// As long as a registry may need to put a large blob in its place.
    Commit,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// Path and query below the registry's root, starting with `v2/`.
    Path(String),
    /// A location the registry gave.
    Location(Url),
}

/// What a request has to be allowed to do.
#[derive(Clone)]
pub(crate) struct RequestScope {
    /// The repository, which may have a login of its own; empty for none.
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) scopes: Scopes,
}

impl Call {
    pub(crate) fn new(method: Method, target: Target, scope: RequestScope) -> Self {
        Self { method, target, headers: HeaderMap::new(), body: Bytes::new(), scope, timeout: Timeout::Usual }
    }
}

impl RequestScope {
    /// Reading or writing the repository of `reference`.
    pub(crate) fn of(reference: &Reference, access: Access) -> Self {
        Self { path: reference.path().to_owned(), access, scopes: Scopes::of(reference, access) }
    }

    /// Nothing but asking the registry for its version, which takes a login where there is one.
    pub(crate) fn registry() -> Self {
        Self { path: String::new(), access: Access::Pull, scopes: Scopes::none() }
    }
}
