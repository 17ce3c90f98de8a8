//! The scheme by which a registry wants requests to be authorized, read from its challenges (RFC 9110 §11, RFC 6750,
//! distribution specification, auth/token).

use crate::{
    RegistryError,
    challenge::{Challenge, parse_challenges},
    host,
};
use reqwest::{
    Url,
    header::{HeaderMap, WWW_AUTHENTICATE},
};

/// The kind of authorization a registry has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthScheme {
    Anonymous,
    Basic,
    Bearer(Realm),
}

/// The token server that a `Bearer` challenge names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) url: Url,
    pub(crate) service: Option<String>,
}

impl AuthScheme {
    /// The scheme that the challenges in `headers` ask for. Bearer is preferred to Basic, as Docker does.
    pub(crate) fn of_challenges(headers: &HeaderMap, domain: &str) -> Result<Self, RegistryError> {
        let texts: Vec<&str> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok()).collect();
        let challenges: Vec<_> = texts.iter().flat_map(|text| parse_challenges(text)).collect();
        if let Some(realm) = challenges.iter().find_map(Realm::from_challenge) {
            Ok(Self::Bearer(realm))
        } else if challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic")) {
            Ok(Self::Basic)
        } else {
            Err(RegistryError::Challenge { host: domain.to_owned(), challenge: texts.join(", ") })
        }
    }
}

impl Realm {
    /// `None` when the challenge is not `Bearer` or its realm is not an http(s) URL.
    pub(crate) fn from_challenge(challenge: &Challenge) -> Option<Self> {
        let url = Url::parse(challenge.parameter("realm")?).ok()?;
        let usable =
            challenge.scheme.eq_ignore_ascii_case("bearer") && matches!(url.scheme(), "http" | "https");
        usable.then(|| Self { url, service: challenge.parameter("service").map(str::to_owned) })
    }

    /// True if a login for the registry at `registry` may be sent to this token server: TLS protects it, or it goes to
    /// the host that the registry itself serves over plain HTTP, or it does not leave this machine.
    pub(crate) fn may_see_login(&self, registry: &Url) -> bool {
        self.url.scheme() == "https"
            || (registry.scheme() == "http" && registry.host_str() == self.url.host_str())
            || (host::is_loopback(registry) && host::is_loopback(&self.url))
    }
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
