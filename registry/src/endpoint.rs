//! A registry as it was found: its address with the scheme that works, its connections, what proof it demands.

use crate::token::Realm;
use reqwest::Url;
use std::sync::{Mutex, PoisonError};

/// The kind of proof a registry has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Nothing,
    Basic,
    Bearer(Realm),
}

pub(crate) struct Endpoint {
    domain: String,
    base: Url,
    http: reqwest::Client,
    demand: Mutex<Demand>,
}

impl Endpoint {
    pub(crate) fn new(domain: &str, base: Url, http: reqwest::Client) -> Self {
        Self { domain: domain.to_owned(), base, http, demand: Mutex::new(Demand::Nothing) }
    }

    /// The domain as references have it.
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

    pub(crate) fn demand(&self) -> Demand {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn learn(&self, demand: Demand) {
        *self.demand.lock().unwrap_or_else(PoisonError::into_inner) = demand;
    }
}
