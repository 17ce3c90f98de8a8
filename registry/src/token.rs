//! Bearer tokens (distribution specification, auth/token and auth/oauth): asked of the realm a registry names.

use crate::{
    Access, Login, RegistryError, Secret,
    challenge::Challenge,
    failure::{self, Subject},
    host,
    scope::Scopes,
    transport::{Permit, read_limited},
};
use rbuild_oci::Reference;
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;
use std::time::{Duration, Instant};
use tokio::time;

/// How long a token is good for when the server does not say (auth/token).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Tokens are given up a little early, since a request takes time.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a token server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: usize = 1 << 20;

/// What a `Bearer` challenge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) url: Url,
    pub(crate) service: Option<String>,
}

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

impl Realm {
    /// `None` when the challenge is not `Bearer` or its realm is no http(s) URL.
    pub(crate) fn from_challenge(challenge: &Challenge) -> Option<Self> {
        let url = Url::parse(challenge.parameter("realm")?).ok()?;
        let usable =
            challenge.scheme.eq_ignore_ascii_case("bearer") && matches!(url.scheme(), "http" | "https");
        usable.then(|| Self { url, service: challenge.parameter("service").map(str::to_owned) })
    }

    /// Whether a login for the registry at `registry` may be sent here. TLS protects it; without TLS only when it would
    /// go to the same host as the registry's own plain HTTP, or never leaves this machine.
    pub(crate) fn may_see_login(&self, registry: &Url) -> bool {
        self.url.scheme() == "https"
            || (registry.scheme() == "http" && registry.host_str() == self.url.host_str())
            || (host::is_loopback(registry) && host::is_loopback(&self.url))
    }
}

impl Token {
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.good_until
    }
}

/// Asks `realm` for a token for what `permit` says, of the registry `domain`.
pub(crate) async fn fetch(
    http: &reqwest::Client,
    realm: &Realm,
    permit: &Permit,
    login: Option<&Login>,
    domain: &str,
) -> Result<Token, RegistryError> {
    let scopes = &permit.scopes;
    let request = match login {
        Some(Login::IdentityToken(token)) => oauth(http, realm, scopes, token),
        Some(Login::Password { username, password }) => {
            plain(http, realm, scopes, Some(username)).basic_auth(username, Some(password.expose()))
        }
        None => plain(http, realm, scopes, None),
    };
    let sent = Instant::now();
    let stalled = |_| RegistryError::Stalled { host: host::name_of(&realm.url), seconds: PATIENCE.as_secs() };
    let response = time::timeout(PATIENCE, request.send()).await.map_err(stalled)?;
    let response = response.map_err(|error| failure::of_request(&realm.url, error))?;
    if !response.status().is_success() {
        // without a login it is the repository that is closed, not the login that is wrong
        let repository = format!("{domain}/{}", permit.path).parse::<Reference>().ok();
        let subject = match (&repository, login, permit.access) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_challenges;

    #[test]
    fn logins_go_to_protected_realms_only() {
        let may = |registry: &str, realm: &str| {
            let challenges = parse_challenges(&format!("Bearer realm=\"{realm}\",service=s"));
            Realm::from_challenge(&challenges[0]).unwrap().may_see_login(&Url::parse(registry).unwrap())
        };
        assert!(may("https://registry-1.docker.io/", "https://auth.docker.io/token"));
        assert!(may("http://127.0.0.1:5000/", "http://localhost:5001/token"));
        assert!(may("http://r.example:5000/", "http://r.example:5001/token"));
        assert!(!may("https://r.example/", "http://r.example/token"));
        assert!(!may("https://r.example/", "http://127.0.0.1/token"));
        assert!(!may("http://127.0.0.1:5000/", "http://evil.example/token"));
    }
}
