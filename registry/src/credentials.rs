//! Logins as people store them: docker's `config.json`, containers' `auth.json`.
//!
//! The caller finds the files and passes their text. Logins are decoded when the text is read; [`crate::helper`] runs the
//! credential helpers that it names.

use crate::{
    RegistryError, Secret,
    host::{DOCKER_HUB, DOCKER_HUB_LOGIN},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// A proof of identity for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A user name and password (or access token used as one).
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, which only a token server takes.
    IdentityToken(Secret),
}

/// Logins for any number of registries, from any number of files. The first file that knows a registry counts.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    sources: Vec<Source>,
}

#[derive(Clone, Debug, Default)]
struct Source {
    /// The file.
    file: PathBuf,
    logins: HashMap<String, Login>,
    helpers: HashMap<String, String>,
    default_helper: Option<String>,
}

/// The source of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginSource {
    /// The login itself, from the file.
    Login(Login),
    /// The program `docker-credential-<name>`, which is asked for `server`.
    Helper { name: String, server: String },
}

/// Where a login comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginOrigin {
    /// The file that has it or names the helper.
    pub file: PathBuf,
    /// The credential helper, without `docker-credential-`.
    pub helper: Option<String>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: HashMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Secret,
    username: String,
    password: Secret,
    identitytoken: Secret,
}

impl Credentials {
    /// Credentials without any login.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// One login, for the registry `domain` (`docker.io` for Docker Hub).
    #[must_use]
    pub fn of(domain: &str, login: Login) -> Self {
        let logins = HashMap::from([(domain.to_owned(), login)]);
        Self { sources: vec![Source { logins, ..Source::default() }] }
    }

    /// The logins of docker's `config.json` or containers' `auth.json`, found at `file`, whose text is `json`.
    ///
    /// # Errors
    /// [`RegistryError::CredentialsFile`] when it is not such a file, [`RegistryError::CredentialsEntry`] when an entry's
    /// `auth` cannot be decoded.
    pub fn from_file(file: &Path, json: &str) -> Result<Self, RegistryError> {
        let mut credentials = Self::from_docker_config(json)?;
        credentials.sources.iter_mut().for_each(|source| source.file = file.to_owned());
        Ok(credentials)
    }

    /// The same of a file whose place does not matter.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn from_docker_config(json: &str) -> Result<Self, RegistryError> {
        let file: ConfigFile = serde_json::from_str(json)
            .map_err(|error| RegistryError::CredentialsFile { source: Box::new(error) })?;
        let mut logins = HashMap::new();
        for (server, entry) in file.auths {
            if let Some(login) = decoded(entry, &server)? {
                logins.insert(normalised(&server).to_owned(), login);
            }
        }
        let helpers = file.helpers.into_iter().map(|(server, name)| (normalised(&server).to_owned(), name));
        let default_helper = Some(file.store).filter(|name| !name.is_empty());
        let helpers = helpers.collect();
        Ok(Self { sources: vec![Source { file: PathBuf::new(), logins, helpers, default_helper }] })
    }

    /// These logins, and those of `fallback` for registries that these do not know.
    #[must_use]
    pub fn or(mut self, fallback: Self) -> Self {
        self.sources.extend(fallback.sources);
        self
    }

    /// The file, and the helper it names, that the login for repository `path` of `domain` comes from. A helper may turn out
    /// to have none.
    #[must_use]
    pub fn origin(&self, domain: &str, path: &str) -> Option<LoginOrigin> {
        self.sources.iter().find_map(|source| {
            let helper = match source.find(domain, path)? {
                LoginSource::Login(_) => None,
                LoginSource::Helper { name, .. } => Some(name),
            };
            Some(LoginOrigin { file: source.file.clone(), helper })
        })
    }

    /// The login for repository `path` of `domain`. Entries for a part of the path win over those for the whole registry.
    pub(crate) fn find(&self, domain: &str, path: &str) -> Option<LoginSource> {
        self.sources.iter().find_map(|source| source.find(domain, path))
    }
}

impl Source {
    fn find(&self, domain: &str, path: &str) -> Option<LoginSource> {
        let server = if domain == DOCKER_HUB { DOCKER_HUB_LOGIN } else { domain };
        let helper = |name: &String| LoginSource::Helper { name: name.clone(), server: server.to_owned() };
        if let Some(name) = self.helpers.get(domain).filter(|name| !name.is_empty()) {
            return Some(helper(name));
        }
        let mut key = format!("{domain}/{path}");
        loop {
            if let Some(login) = self.logins.get(key.trim_end_matches('/')) {
                return Some(LoginSource::Login(login.clone()));
            }
            match key.rfind('/') {
                Some(slash) => key.truncate(slash),
                None => return self.default_helper.as_ref().map(helper),
            }
        }
    }
}

/// The key of a server without scheme and API version. All names of Docker Hub become one.
fn normalised(server: &str) -> &str {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    match bare {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

fn decoded(entry: Entry, server: &str) -> Result<Option<Login>, RegistryError> {
    if !entry.identitytoken.is_empty() {
        return Ok(Some(Login::IdentityToken(entry.identitytoken)));
    }
    if !entry.auth.is_empty() {
        let damaged = || RegistryError::CredentialsEntry { server: server.to_owned() };
        let bytes = BASE64_STANDARD.decode(entry.auth.expose().trim()).map_err(|_| damaged())?;
        let text = String::from_utf8(bytes).map_err(|_| damaged())?;
        let (username, password) = text.split_once(':').ok_or_else(damaged)?;
        let password = Secret::new(password.trim_end_matches('\0'));
        return Ok(Some(Login::Password { username: username.to_owned(), password }));
    }
    // with a credential store docker leaves empty entries behind
    let Entry { username, password, .. } = entry;
    Ok((!username.is_empty()).then_some(Login::Password { username, password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str, password: &str) -> LoginSource {
        LoginSource::Login(Login::Password { username: username.to_owned(), password: Secret::new(password) })
    }

    #[test]
    fn docker_config_is_understood() {
        let credentials = Credentials::from_docker_config(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnA6dw=="},"r.example:5000":{"username":"u","password":"p"},
                "https://t.example/v2/":{"identitytoken":"id"},"r.example:5000/team":{"auth":"dGVhbTpw"},"empty.example":{}},
                "credHelpers":{"gcr.io":"gcloud"},"credsStore":"pass","detachKeys":"ctrl-x"}"#,
        )
        .unwrap();
        assert_eq!(credentials.find("docker.io", "library/a"), Some(password("hub", "p:w")));
        assert_eq!(credentials.find("r.example:5000", "a/b"), Some(password("u", "p")));
        assert_eq!(credentials.find("r.example:5000", "team/x/y"), Some(password("team", "p")));
        assert_eq!(credentials.find("r.example:5000", "teammate"), Some(password("u", "p")));
        let token = LoginSource::Login(Login::IdentityToken(Secret::new("id")));
        assert_eq!(credentials.find("t.example", "a"), Some(token));
        let helper = |name: &str, server: &str| {
            Some(LoginSource::Helper { name: name.to_owned(), server: server.to_owned() })
        };
        assert_eq!(credentials.find("gcr.io", "a"), helper("gcloud", "gcr.io"));
        assert_eq!(credentials.find("empty.example", "a"), helper("pass", "empty.example"));
        assert!(!format!("{credentials:?}").contains("p:w"));
    }

    #[test]
    fn first_file_that_knows_counts() {
        let login = Login::Password { username: "a".to_owned(), password: Secret::new("b") };
        let other =
            Credentials::from_docker_config(r#"{"auths":{"h":{"username":"x"},"i":{"username":"y"}}}"#);
        let both = Credentials::of("h", login).or(other.unwrap());
        assert_eq!(both.find("h", "r"), Some(password("a", "b")));
        assert_eq!(both.find("i", "r"), Some(password("y", "")));
        assert_eq!(both.find("j", "r"), None);
    }

    #[test]
    fn damaged_files_are_named() {
        let error = |json| Credentials::from_docker_config(json).unwrap_err().to_string();
        assert_eq!(error("["), "cannot understand the registry credentials file");
        assert_eq!(
            error(r#"{"auths":{"h":{"auth":"%"}}}"#),
            "the credentials stored for h are damaged: log in again"
        );
    }
}
