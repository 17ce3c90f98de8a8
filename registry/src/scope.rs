//! Scopes of tokens (Docker token scope grammar: `repository:path:actions`).

use crate::Access;
use rbuild_oci::Reference;

/// The scopes of a token request; empty for requests about the registry as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    /// No scope, for requests that need nothing but a login.
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

    /// Adds reading from repository `path` of the same registry, which mounting a blob needs.
    pub(crate) fn and_pull(mut self, path: &str) -> Self {
        self.0.push(format!("repository:{path}:pull"));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// All scopes in one text: the form that OAuth wants, and the key of the kept token.
    pub(crate) fn joined(&self) -> String {
        self.0.join(" ")
    }
}
