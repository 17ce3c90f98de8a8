//! What may have been meant by a source that is not there.

/// What may have been meant by an operand that names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// A path that is there: nearly the same, or the same name in another directory.
    Path(String),
    /// A path above the context, which no operand leads to.
    AboveContext,
}
