//! A registry that has answered: its address with the scheme that works, its connections, and its authorization scheme.

use crate::auth_scheme::AuthScheme;
use reqwest::Url;
use std::sync::{Mutex, PoisonError};

pub(crate) struct Endpoint {
    domain: String,
    base: Url,
    http: reqwest::Client,
    auth_scheme: Mutex<AuthScheme>,
}

impl Endpoint {
    pub(crate) fn new(domain: &str, base: Url, http: reqwest::Client) -> Self {
        Self { domain: domain.to_owned(), base, http, auth_scheme: Mutex::new(AuthScheme::Anonymous) }
    }

    /// The domain as written in references.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Scheme, host and port, with the path `/`.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn auth_scheme(&self) -> AuthScheme {
        self.auth_scheme.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn learn(&self, auth_scheme: AuthScheme) {
        *self.auth_scheme.lock().unwrap_or_else(PoisonError::into_inner) = auth_scheme;
    }
}
