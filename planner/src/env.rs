//! Environments: variables in an order that images keep.

use crate::ordered::Ordered;
use std::sync::Arc;

/// Variables in the order in which they were first defined, unless one was set last. Copies share the variables that they
/// have in common.
#[derive(Clone, Debug, Default)]
pub struct Env(Ordered<Arc<str>>);

impl PartialEq for Env {
    /// True if both have the same variables in the same order.
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl Env {
    /// The environment that [`Env::pairs`] gave.
    #[must_use]
    pub fn of_pairs(pairs: &[String]) -> Self {
        let mut env = Self::default();
        for (name, value) in pairs.iter().filter_map(|pair| pair.split_once('=')) {
            env.set(name, value.to_owned());
        }
        env
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// Defines `name`. A variable that exists keeps its place.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.0.set(name, value.into());
    }

    /// Defines `name` and makes it the last.
    pub(crate) fn set_last(&mut self, name: &str, value: String) {
        self.0.set_last(name, value.into());
    }

    /// A copy without `name`.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut rest = Self::default();
        for (kept, value) in self.entries().into_iter().filter(|(n, _)| *n != name) {
            rest.0.set(kept, Arc::clone(value));
        }
        rest
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.entries().into_iter().map(|(name, _)| name)
    }

    /// Names and values.
    pub(crate) fn entries(&self) -> Vec<(&str, &Arc<str>)> {
        self.0.entries()
    }

    /// `NAME=value` pairs.
    #[must_use]
    pub fn pairs(&self) -> Vec<String> {
        self.0.entries().into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}
