//! What a request needs to be allowed to do (Docker token scope grammar: `repository:path:actions`).

use crate::Access;
use rbuild_oci::Reference;

/// One or more scopes, as they stand in a token request; empty for the registry's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    /// Nothing but being logged in.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn of(reference: &Reference, access: Access) -> Self {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        Self(vec![format!("repository:{}:{actions}", reference.path())])
    }

    /// Also reading from repository `path` of the same registry, which mounting a blob needs.
    pub(crate) fn and_pull(mut self, path: &str) -> Self {
        self.0.push(format!("repository:{path}:pull"));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The form OAuth wants, also the key under which a token is kept.
    pub(crate) fn joined(&self) -> String {
        self.0.join(" ")
    }
}
