//! What a caller hears of a build: events, and findings of the checks.

pub(crate) mod event;
pub(crate) mod finding;
pub(crate) mod reporter;
