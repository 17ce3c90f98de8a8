//! The authorization of each request: none until the registry asks, then Basic or a Bearer token for the request's
//! scopes.
//!
//! Invariants: an authorization is made only for the registry whose challenge it answers; a token is fetched once for
//! each (registry, scopes) however many requests wait for it, and again only when it is old or was refused.

use crate::{
    Credentials, Login, RegistryError, Secret,
    auth_scheme::{AuthScheme, Realm},
    challenge::parse_challenges,
    connector::Connector,
    credentials::LoginOrigin,
    endpoint::Endpoint,
    login::Logins,
    request::RequestScope,
    token::{self, Token},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// The value of an `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorization {
    Anonymous,
    Header(Secret),
}

/// Registry domain and scopes, which together decide which token a request needs.
type TokenKey = (String, String);

pub(crate) struct Authenticator {
    logins: Logins,
    tokens: Mutex<HashMap<TokenKey, Arc<OnceCell<Token>>>>,
}

impl Authenticator {
    pub(crate) fn new(credentials: Credentials, search_path: String) -> Self {
        Self { logins: Logins::new(credentials, search_path), tokens: Mutex::default() }
    }

    /// The authorization that `endpoint` is known to want for a request of this scope.
    pub(crate) async fn authorization(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        scope: &RequestScope,
    ) -> Result<Authorization, RegistryError> {
        let realm = match endpoint.auth_scheme() {
            AuthScheme::Anonymous => return Ok(Authorization::Anonymous),
            AuthScheme::Basic => {
                return match self.logins.find(endpoint.domain(), &scope.path).await? {
                    Some(Login::Password { username, password }) => Ok(basic(&username, &password)),
                    // a registry that wants Basic cannot take an identity token
                    Some(Login::IdentityToken(_)) | None => Ok(Authorization::Anonymous),
                };
            }
            AuthScheme::Bearer(realm) => realm,
        };
        let key = (endpoint.domain().to_owned(), scope.scopes.joined());
        let cell = self.cell(&key);
        let token = cell.get_or_try_init(|| self.fetch(connector, endpoint, &realm, scope));
        Ok(Authorization::Header(bearer(&token.await?.value)))
    }

    /// Learns from a 401 that answered a request sent with `authorization`: the endpoint keeps the scheme that the
    /// registry wants, and the refused token is dropped.
    pub(crate) fn refused(
        &self,
        endpoint: &Endpoint,
        scope: &RequestScope,
        authorization: &Authorization,
        headers: &HeaderMap,
    ) -> Result<(), RegistryError> {
        let key = (endpoint.domain().to_owned(), scope.scopes.joined());
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        // another request may have replaced it already
        let same = |cell: &Arc<OnceCell<Token>>| {
            cell.get().is_some_and(|token| *authorization == Authorization::Header(bearer(&token.value)))
        };
        if tokens.get(&key).is_some_and(same) {
            tokens.remove(&key);
        }
        drop(tokens);
        endpoint.learn(AuthScheme::of_challenges(headers, endpoint.domain())?);
        Ok(())
    }

    /// Where the login for repository `path` of `domain` comes from.
    pub(crate) fn origin(&self, domain: &str, path: &str) -> Option<LoginOrigin> {
        self.logins.origin(domain, path)
    }

    /// Asks the credential helper for the login once more, because the registry has refused what came of it. True if
    /// the helper has another one by now, for which a new token is fetched.
    pub(crate) async fn renew_login(
        &self,
        endpoint: &Endpoint,
        scope: &RequestScope,
    ) -> Result<bool, RegistryError> {
        let renewed = self.logins.renew(endpoint.domain(), &scope.path).await?;
        if renewed {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.retain(|(domain, _), _| domain != endpoint.domain());
        }
        Ok(renewed)
    }

    async fn fetch(
        &self,
        connector: &Connector,
        endpoint: &Endpoint,
        realm: &Realm,
        scope: &RequestScope,
    ) -> Result<Token, RegistryError> {
        let login = self.logins.find(endpoint.domain(), &scope.path).await?;
        if login.is_some() && !realm.may_see_login(endpoint.base()) {
            return Err(RegistryError::InsecureRealm {
                host: endpoint.domain().to_owned(),
                realm: realm.url.origin().ascii_serialization(),
            });
        }
        let http = connector.for_realm(endpoint, &realm.url)?;
        let domain = endpoint.domain();
        match token::fetch(&http, realm, scope, login.as_ref(), domain).await {
            Err(RegistryError::Unauthorized { .. }) if self.logins.renew(domain, &scope.path).await? => {
                let login = self.logins.find(domain, &scope.path).await?;
                token::fetch(&http, realm, scope, login.as_ref(), domain).await
            }
            fetched => fetched,
        }
    }

    /// The cell for the token of `key`. It holds a token that is still good, or is empty.
    fn cell(&self, key: &TokenKey) -> Arc<OnceCell<Token>> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = tokens.entry(key.clone()).or_default();
        if cell.get().is_some_and(|token| !token.is_fresh()) {
            *cell = Arc::default();
        }
        Arc::clone(cell)
    }
}

/// True if the registry accepts the token but does not let it do this (RFC 6750 §3.1). A new token would not change that.
pub(crate) fn is_final(headers: &HeaderMap) -> bool {
    let mut texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    texts.any(|text| {
        parse_challenges(text)
            .iter()
            .any(|challenge| challenge.parameter("error") == Some("insufficient_scope"))
    })
}

fn basic(username: &str, password: &Secret) -> Authorization {
    let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
    Authorization::Header(Secret::new(format!("Basic {pair}")))
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}
