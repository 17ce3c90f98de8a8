//! Layers as the engine asks for them: their files, wherever they are; their DiffIds; whether two stacks hold the same.

pub(crate) mod diffs;
pub(crate) mod layer_content;
pub(crate) mod layer_files;
pub(crate) mod lost_layers;
