//! What can be wrong with a `--filter`.

/// A filter that cannot be meant, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It has no `=`.
    #[error("invalid argument {0:?} for \"-f, --filter\" flag: invalid filter '{0}'")]
    Argument(String),
    /// There is no filter of that name or value.
    #[error("invalid filter '{0}'")]
    Invalid(String),
    /// Its value is none of those that it can have.
    #[error("invalid filter '{text}': it is {}", .known.join(", "))]
    Value {
        /// The filter.
        text: String,
        /// The values.
        known: &'static [&'static str],
    },
    /// Docker has it and rbuild does not.
    #[error("--filter {0} is not supported yet")]
    Unsupported(String),
    /// It names no moment.
    #[error("failed to parse value as time or duration: {0:?}")]
    Moment(String),
}
