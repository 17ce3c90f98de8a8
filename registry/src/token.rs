//! Bearer tokens (distribution specification, auth/token and auth/oauth), fetched from the realm that a registry names.

use crate::{
    Access, Login, RegistryError, Secret,
    auth_scheme::Realm,
    failure::{self, Subject, read_limited},
    host,
    request::RequestScope,
    scope::Scopes,
};
use rbuild_oci::Reference;
use reqwest::RequestBuilder;
use serde::Deserialize;
use std::time::{Duration, Instant};
use tokio::time;

/// The lifetime of a token when the server does not state one (auth/token).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Tokens count as expired this long before their end, because a request takes time.
const MARGIN: Duration = Duration::from_secs(5);
/// The longest wait for an answer of a token server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    good_until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Secret,
    #[serde(default)]
    access_token: Secret,
    expires_in: Option<u64>,
}

impl Token {
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.good_until
    }
}

/// Asks `realm` for a token of the registry `domain` that allows `scope`.
pub(crate) async fn fetch(
    http: &reqwest::Client,
    realm: &Realm,
    scope: &RequestScope,
    login: Option<&Login>,
    domain: &str,
) -> Result<Token, RegistryError> {
    let scopes = &scope.scopes;
    let request = match login {
        Some(Login::IdentityToken(token)) => oauth(http, realm, scopes, token),
        Some(Login::Password { username, password }) => {
            plain(http, realm, scopes, Some(username)).basic_auth(username, Some(password.expose()))
        }
        None => plain(http, realm, scopes, None),
    };
    let sent = Instant::now();
    let stalled =
        |_| RegistryError::Stalled { host: host::name_of(&realm.url), seconds: ANSWER_TIMEOUT.as_secs() };
    let response = time::timeout(ANSWER_TIMEOUT, request.send()).await.map_err(stalled)?;
    let response = response.map_err(|error| failure::of_request(&realm.url, error))?;
    if !response.status().is_success() {
        // without a login the failure is about the repository, which is closed; with one, about the login
        let repository = format!("{domain}/{}", scope.path).parse::<Reference>().ok();
        let subject = match (&repository, login, scope.access) {
            (Some(reference), None, Access::Pull) => Subject::Manifest { reference },
            (Some(reference), None, Access::Push) => Subject::Push { reference },
            (None, _, _) | (_, Some(_), _) => Subject::Login { domain },
        };
        return Err(failure::of_answer(response, &subject).await);
    }
    let bytes = read_limited(response, ANSWER_LIMIT, domain).await?;
    let wrong =
        |problem: &str| RegistryError::Protocol { host: domain.to_owned(), problem: problem.to_owned() };
    let answer: Answer =
        serde_json::from_slice(&bytes).map_err(|_| wrong("the token answer is not understood"))?;
    let value = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if value.is_empty() {
        return Err(wrong("the token answer has no token"));
    }
    let life = answer
        .expires_in
        .map_or(DEFAULT_LIFE, Duration::from_secs)
        .clamp(DEFAULT_LIFE, Duration::from_secs(86400));
    Ok(Token { value, good_until: sent + life - MARGIN })
}

fn plain(http: &reqwest::Client, realm: &Realm, scopes: &Scopes, account: Option<&str>) -> RequestBuilder {
    let scopes = scopes.iter().map(|scope| ("scope", scope));
    let service = realm.service.as_deref().map(|service| ("service", service));
    let account = account.map(|account| ("account", account));
    let query: Vec<(&str, &str)> = account.into_iter().chain(service).chain(scopes).collect();
    http.get(realm.url.clone()).query(&query)
}

fn oauth(http: &reqwest::Client, realm: &Realm, scopes: &Scopes, token: &Secret) -> RequestBuilder {
    let scopes = scopes.joined();
    let mut form =
        vec![("grant_type", "refresh_token"), ("client_id", "rbuild"), ("refresh_token", token.expose())];
    form.extend(realm.service.as_deref().map(|service| ("service", service)));
    if !scopes.is_empty() {
        form.push(("scope", &scopes));
    }
    http.post(realm.url.clone()).form(&form)
}
