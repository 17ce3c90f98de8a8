//! The failures of a build that goes on after the first.

use std::fmt;

/// Several failures of one build.
#[derive(Debug)]
pub struct Failures<E> {
    all: Vec<E>,
    not_run: usize,
}

impl<E> Failures<E> {
    /// All failures, in the order of their steps, and how many steps were not carried out because of them.
    pub(crate) fn new(all: Vec<E>, not_run: usize) -> Self {
        Self { all, not_run }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.all.iter()
    }
}

impl<E> fmt::Display for Failures<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = |count: usize| if count == 1 { "step" } else { "steps" };
        write!(f, "{} {} failed", self.all.len(), steps(self.all.len()))?;
        match self.not_run {
            0 => Ok(()),
            1 => f.write_str(", and 1 step that needs them was not carried out"),
            count => write!(f, ", and {count} steps that need them were not carried out"),
        }
    }
}
