//! Looks up a login when a registry first asks for one, and runs each credential helper once.

use crate::{Credentials, Login, RegistryError, credentials::LoginSource, helper};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

pub(crate) struct Logins {
    credentials: Credentials,
    search_path: String,
    helped: Mutex<HashMap<String, Arc<OnceCell<Option<Login>>>>>,
}

impl Logins {
    pub(crate) fn new(credentials: Credentials, search_path: String) -> Self {
        Self { credentials, search_path, helped: Mutex::default() }
    }

    /// The login for repository `path` of `domain`, if there is one.
    pub(crate) async fn find(&self, domain: &str, path: &str) -> Result<Option<Login>, RegistryError> {
        match self.credentials.find(domain, path) {
            None => Ok(None),
            Some(LoginSource::Login(login)) => Ok(Some(login)),
            Some(LoginSource::Helper { name, server }) => {
                let key = format!("{name} {server}");
                let cell = {
                    let mut helped = self.helped.lock().unwrap_or_else(PoisonError::into_inner);
                    Arc::clone(helped.entry(key).or_default())
                };
                let asked = cell.get_or_try_init(|| helper::ask(&name, &server, &self.search_path));
                asked.await.cloned()
            }
        }
    }
}
