//! Image references: `[domain[:port]/]path[:tag][@digest]`, in the Docker reference grammar.

use crate::{Digest, ParseError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

const DEFAULT_DOMAIN: &str = "docker.io";

/// A name to look up, normalised: it always has a domain, and official images have `library/` in their path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host, with its port; `docker.io` when none was written.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository below the domain, such as `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `latest` when neither tag nor digest was written, `None` when only a digest was.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref().or(if self.digest.is_none() { Some("latest") } else { None })
    }

    /// True if it names a repository alone: neither a tag nor a digest was written.
    #[must_use]
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// True if `other` is of the same repository.
    #[must_use]
    pub fn has_repository_of(&self, other: &Self) -> bool {
        (&self.domain, &self.path) == (&other.domain, &other.path)
    }

    /// The digest. It decides when the reference has a tag too.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository as `docker images` shows it: without the default domain and `library/`, unless the short form would
    /// be read as another name.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        let official = self.path.strip_prefix("library/").filter(|name| !name.contains('/'));
        let short = official.unwrap_or(&self.path);
        let has_domain = short.split_once('/').is_some_and(|(first, _)| reads_as_domain(first));
        if has_domain || is_hexadecimal(short) {
            format!("{DEFAULT_DOMAIN}/{short}")
        } else {
            short.to_owned()
        }
    }

    /// The short form that people write, also without `:latest`. It is the key of named contexts.
    #[must_use]
    pub fn familiar(&self) -> String {
        let tag = self.tag.as_deref().filter(|tag| *tag != "latest" || self.digest.is_some());
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{}{tag}{digest}", self.familiar_repository())
    }

    /// A reference to this repository by digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    /// The full form: `docker.io/library/debian:12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if is_hexadecimal(text) {
            return Err(ParseError::HexadecimalName(text.to_owned()));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|_| invalid(text, ""))?)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let (domain, path) = match name.split_once('/') {
            Some((first, rest)) if reads_as_domain(first) => {
                (if first == "index.docker.io" { DEFAULT_DOMAIN } else { first }, rest.to_owned())
            }
            _ => (DEFAULT_DOMAIN, name.to_owned()),
        };
        let path =
            if domain == DEFAULT_DOMAIN && !path.contains('/') { format!("library/{path}") } else { path };
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(invalid(text, &format!("repository name ({path}) must be lowercase")));
        }
        let valid = is_domain(domain) && path.split('/').all(is_component) && tag.is_none_or(is_tag);
        if !valid {
            return Err(invalid(text, ""));
        }
        if path.len() > 255 {
            return Err(invalid(text, "repository name must not be more than 255 characters"));
        }
        Ok(Self { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

fn invalid(text: &str, rule: &str) -> ParseError {
    ParseError::Reference { text: text.to_owned(), rule: rule.to_owned() }
}

/// True if the part before the first slash of a name is a registry, not the beginning of a path.
fn reads_as_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(|c| c.is_ascii_uppercase())
}

/// True for a text that could be an image's id.
fn is_hexadecimal(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain.rsplit_once(':').map_or((domain, None), |(host, port)| (host, Some(port)));
    let (host, port) = if domain.ends_with(']') { (domain, None) } else { (host, port) };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let host_ok = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || c == ':'),
        None => host.split('.').all(label),
    };
    host_ok && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// True for runs of `[a-z0-9]+` that are joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !component.starts_with(alphanumeric) || !component.ends_with(alphanumeric) {
        return false;
    }
    let separators = component.split(alphanumeric).filter(|run| !run.is_empty());
    separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_normalise() {
        let digest = Digest::of(b"x");
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian".to_owned()),
            ("debian:12", "docker.io/library/debian:12", "debian:12".to_owned()),
            ("me/app", "docker.io/me/app:latest", "me/app".to_owned()),
            ("localhost/app:v1", "localhost/app:v1", "localhost/app:v1".to_owned()),
            ("127.0.0.1:5000/a/b__c", "127.0.0.1:5000/a/b__c:latest", "127.0.0.1:5000/a/b__c".to_owned()),
            (&format!("a@{digest}"), &format!("docker.io/library/a@{digest}"), format!("a@{digest}")),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(full.parse::<Reference>().unwrap().to_string(), full);
        }
    }

    #[test]
    fn the_familiar_form_is_read_as_the_same_name() {
        let hex = Digest::of(b"x").hex();
        for (path, familiar) in [
            ("a.b/c", "docker.io/a.b/c"),
            ("localhost/c", "docker.io/localhost/c"),
            ("library/a.b/c", "library/a.b/c"),
            ("library/a/b", "library/a/b"),
            ("library/localhost", "localhost"),
            (&hex, &format!("docker.io/{hex}")),
        ] {
            let reference: Reference = format!("docker.io/{path}").parse().unwrap();
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(familiar.parse::<Reference>().unwrap().to_string(), reference.to_string());
        }
    }

    #[test]
    fn bad_references_say_why() {
        let error = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
        assert_eq!(
            error("Bad_Image:x"),
            "invalid reference format: repository name (library/Bad_Image) must be lowercase"
        );
        for bad in ["", ":x", "a b", "a..b", "-a", "a:", "a@sha256:12", "/a", "a/", "a___b"] {
            assert!(error(bad).starts_with("invalid reference format"), "{bad}");
        }
    }
}
