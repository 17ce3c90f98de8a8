//! Where a step's files come from: a build context, or the files of a stack of layers.

use crate::{
    ContextRoot, RootView,
    ignore::{IgnoreRules, Verdict},
    rooted::Rooted,
    select::Owner,
};

/// The root directory source operands are resolved in.
#[derive(Debug)]
pub enum SourceRoot {
    /// A directory of the host, without what its ignore file leaves out.
    Context(ContextRoot),
    /// An image, a stage or nothing at all (a view of no layers).
    Layers(RootView),
}

impl SourceRoot {
    pub(crate) fn rooted(&self) -> &Rooted {
        match self {
            Self::Context(context) => context.rooted(),
            Self::Layers(view) => view.rooted(),
        }
    }

    pub(crate) fn context(&self) -> Option<&ContextRoot> {
        match self {
            Self::Context(context) => Some(context),
            Self::Layers(_) => None,
        }
    }

    /// Whose the files are once copied.
    pub(crate) fn owner(&self) -> Owner {
        match self {
            Self::Context(context) => context.owner(),
            Self::Layers(_) => Owner::Kept,
        }
    }

    /// Its name in error messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Context(_) => "context",
            Self::Layers(_) => "layers",
        }
    }

    /// The ignore file's verdict on `path`, which may still be there as the parent of something kept.
    pub(crate) fn verdict(&self, path: &[u8]) -> Verdict {
        self.context().map_or(Verdict::Kept, |context| context.ignore().descend(path).0)
    }

    /// The ignore rules; `none` for layers.
    pub(crate) fn ignore<'a>(&'a self, none: &'a IgnoreRules) -> &'a IgnoreRules {
        self.context().map_or(none, ContextRoot::ignore)
    }
}
