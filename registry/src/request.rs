//! A request to a registry before it is sent: its target, its content, the scope it needs, and the time it may take.

use crate::{Access, scope::Scopes};
use bytes::Bytes;
use rbuild_oci::Reference;
use reqwest::{Method, Url, header::HeaderMap};

/// A request that can be sent again, because its body is in memory.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    /// The body; empty for a request without one.
    pub(crate) body: Bytes,
    pub(crate) scope: RequestScope,
    pub(crate) timeout: Timeout,
}

/// The longest wait for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// The stall limit of the client.
    Usual,
    /// The time that a registry may need to store a large blob after it has received it.
    Commit,
}

/// The address of a request.
#[derive(Clone)]
pub(crate) enum Target {
    /// A path and query below the registry's root; it begins with `v2/`.
    Path(String),
    /// A location that the registry answered with.
    Location(Url),
}

/// The permission that a request needs.
#[derive(Clone)]
pub(crate) struct RequestScope {
    /// The repository, which may have its own login; empty for requests about the registry as a whole.
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
    /// The scope for reading or writing the repository of `reference`.
    pub(crate) fn of(reference: &Reference, access: Access) -> Self {
        Self { path: reference.path().to_owned(), access, scopes: Scopes::of(reference, access) }
    }

    /// The scope for asking the registry for its version, which needs nothing but a login.
    pub(crate) fn registry() -> Self {
        Self { path: String::new(), access: Access::Pull, scopes: Scopes::none() }
    }
}
