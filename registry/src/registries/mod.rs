//! The places where registries' images are had, as people configure them: mirrors, moved and blocked repositories, hosts
//! without trusted TLS, certificates.
//!
//! The caller finds the files and passes their text; each format has a file here. A short name such as `debian` is
//! Docker Hub's in all of rbuild, so aliases and search lists of `registries.conf` are read over.

mod containerd;
mod containers;
mod docker;
mod file;
mod insecure;
mod rule;

use crate::{RegistryError, certificate_files::CertificateFiles};
use insecure::InsecureHost;
use rbuild_oci::Reference;
use reqwest::Url;
use rule::{Rule, Serves};

/// What configuration files say of registries.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    rules: Vec<Rule>,
    insecure: Vec<InsecureHost>,
    certificates: Vec<(String, CertificateFiles)>,
}

impl Registries {
    /// Registries of which nothing is configured.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These hosts (`host`, `host:port`, `*.domain`, or a network such as `10.0.0.0/8`) may have any certificate, or speak
    /// plain HTTP.
    #[must_use]
    pub fn with_insecure<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Self {
        Self { insecure: hosts.into_iter().map(InsecureHost::new).collect(), ..Self::default() }
    }

    /// These registries, and those of `fallback` of which these say nothing.
    #[must_use]
    pub fn or(mut self, fallback: Self) -> Self {
        let known: Vec<_> = self.rules.iter().map(|rule| rule.prefix.clone()).collect();
        self.rules.extend(fallback.rules.into_iter().filter(|rule| !known.contains(&rule.prefix)));
        self.insecure.extend(fallback.insecure);
        self.certificates.extend(fallback.certificates);
        self
    }

    /// The hosts of the mirrors and the registry that have `reference`, in the order in which a pull asks them, with the
    /// repository there.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`], [`RegistryError::Registries`].
    pub fn places(&self, reference: &Reference) -> Result<Vec<Reference>, RegistryError> {
        let Some(rule) = self.rule(reference) else { return Ok(vec![reference.clone()]) };
        rule.check(reference)?;
        let mut places = Vec::new();
        for mirror in &rule.mirrors {
            let serves = match mirror.serves {
                Serves::Everything => true,
                Serves::Digests => reference.digest().is_some(),
                Serves::Tags => reference.digest().is_none(),
            };
            if serves {
                places.push(rule.moved(reference, &mirror.location)?);
            }
        }
        places.push(match &rule.location {
            Some(location) => rule.moved(reference, location)?,
            None => reference.clone(),
        });
        Ok(places)
    }

    /// Sees that `reference` may be used. A push goes to the name as written, whatever its mirrors.
    pub(crate) fn check(&self, reference: &Reference) -> Result<(), RegistryError> {
        self.rule(reference).map_or(Ok(()), |rule| rule.check(reference))
    }

    /// True if `url`'s host may have any certificate, or speak plain HTTP.
    pub(crate) fn is_insecure(&self, url: &Url) -> bool {
        self.insecure.iter().any(|host| host.covers(url))
    }

    /// The certificate files that are configured for the host called `name`.
    pub(crate) fn certificates<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a CertificateFiles> {
        self.certificates.iter().filter(move |(host, _)| host == name).map(|(_, files)| files)
    }

    /// The rule with the longest prefix of `reference`, a wildcard being shorter than any name.
    fn rule(&self, reference: &Reference) -> Option<&Rule> {
        let text = reference.to_string();
        let matching = self.rules.iter().filter_map(|rule| {
            let length = rule.prefix.matched(&text, reference.domain())?;
            Some(((!rule.prefix.is_wildcard(), length), rule))
        });
        // the first of several, which is the one that counts
        matching.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, rule)| rule)
    }
}
