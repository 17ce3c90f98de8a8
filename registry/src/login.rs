//! Looks up a login when a registry first asks for one, and runs each credential helper once, and again when its answer
//! was refused.

use crate::{
    Credentials, Login, RegistryError,
    credentials::{LoginOrigin, LoginSource},
    helper::CredentialHelper,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

pub(crate) struct Logins {
    credentials: Credentials,
    search_path: String,
    helped: Mutex<Answers>,
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
            Some(LoginSource::Helper { name, server }) => self.helped(&name, &server).await,
        }
    }

    pub(crate) fn origin(&self, domain: &str, path: &str) -> Option<LoginOrigin> {
        self.credentials.origin(domain, path)
    }

    /// Asks the credential helper, if the login is one of a helper, once more. True if its answer is another than before.
    pub(crate) async fn renew(&self, domain: &str, path: &str) -> Result<bool, RegistryError> {
        let Some(LoginSource::Helper { name, server }) = self.credentials.find(domain, path) else {
            return Ok(false);
        };
        let before = self.helped(&name, &server).await?;
        self.cells().remove(&key(&name, &server));
        Ok(self.helped(&name, &server).await? != before)
    }

    async fn helped(&self, name: &str, server: &str) -> Result<Option<Login>, RegistryError> {
        let cell = Arc::clone(self.cells().entry(key(name, server)).or_default());
        let helper = CredentialHelper { name: name.to_owned(), search_path: self.search_path.clone() };
        cell.get_or_try_init(|| helper.login(server)).await.cloned()
    }

    fn cells(&self) -> MutexGuard<'_, Answers> {
        self.helped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What each helper said of each server.
type Answers = HashMap<String, Arc<OnceCell<Option<Login>>>>;

fn key(helper: &str, server: &str) -> String {
    format!("{helper} {server}")
}
