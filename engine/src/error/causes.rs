//! A failure in words: what failed and what caused it, each message by itself.

use std::{error::Error, fmt};

/// The messages of an error and of its causes, outermost first. Each says its own part and nothing of the next, so that a front
/// end can join, indent or list them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes(Vec<String>);

impl Causes {
    /// Those of `error`.
    #[must_use]
    pub fn of(error: &dyn Error) -> Self {
        let mut messages = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(source) = cause {
            messages.push(source.to_string());
            cause = source.source();
        }
        Self(messages)
    }

    /// The messages, outermost first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Causes {
    /// All of them in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(": "))
    }
}

impl From<&str> for Causes {
    /// A failure of which there is one message.
    fn from(message: &str) -> Self {
        Self(vec![message.to_owned()])
    }
}
