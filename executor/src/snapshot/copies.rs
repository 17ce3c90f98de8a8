//! Copies of layers that are kept for the next root, since making one costs as much as all its files.
//!
//! A chain of RUNs makes one copy: when a step's change was committed, the copy that it was made in is a root of the new
//! layer. A root of more layers than a copy has is that copy with the other layers on top.

use super::tree::Tree;
use crate::ExecutorError;
use rbuild_cache::{LayerId, Store};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Copies that no root uses are kept up to this number; each takes as much room as its image.
const KEPT: usize = 3;

/// The copies of one process.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first. One that a view shares is not written to.
    trees: Vec<Arc<Tree>>,
    /// Copies with a change on top, and where the change lies that is to become a layer.
    uncommitted: Vec<(PathBuf, Tree)>,
}

/// Files with several names in a copy, which one made of its layers would not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// It has, so it cannot stand for its layers.
    Some,
    /// It has none.
    None,
}

impl Copies {
    /// A copy of `layers` that is only read.
    pub(super) fn share(&self, store: &Store, layers: &[LayerId]) -> Result<Arc<Tree>, ExecutorError> {
        let known = self.kept().trees.iter().find(|tree| tree.is_of(layers)).cloned();
        if let Some(tree) = known {
            return Ok(tree);
        }
        let tree = Arc::new(self.take(store, layers, None)?);
        self.kept().keep(tree.clone());
        Ok(tree)
    }

    /// A copy of `layers`, with the directory `top` over them, for one root alone.
    pub(super) fn take(
        &self,
        store: &Store,
        layers: &[LayerId],
        top: Option<&Path>,
    ) -> Result<Tree, ExecutorError> {
        let best = self.kept().take_best(layers);
        let mut tree = best.map_or_else(|| Tree::new(store), Ok)?;
        tree.add(store, layers)?;
        if let Some(top) = top {
            tree.cover(store, top)?;
        }
        Ok(tree)
    }

    /// Takes a copy back whose change was collected in `upper`.
    pub(super) fn give_back(&self, tree: Tree, upper: PathBuf, links: Links) {
        if links == Links::None && !tree.is_covered() {
            let mut kept = self.kept();
            kept.uncommitted.push((upper, tree));
            if kept.uncommitted.len() > KEPT {
                kept.uncommitted.remove(0);
            }
        }
    }

    /// Says that the change in `upper` is `layer`.
    pub(super) fn committed(&self, upper: &Path, layer: LayerId) {
        let mut kept = self.kept();
        if let Some(at) = kept.uncommitted.iter().position(|(of, _)| of == upper) {
            let (_, mut tree) = kept.uncommitted.remove(at);
            tree.has(layer);
            kept.keep(Arc::new(tree));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, tree: Arc<Tree>) {
        self.trees.push(tree);
        if self.trees.len() > KEPT {
            self.trees.remove(0);
        }
    }

    /// The copy to which the fewest of `layers` have to be added.
    fn take_best(&mut self, layers: &[LayerId]) -> Option<Tree> {
        let usable = |tree: &Arc<Tree>| Arc::strong_count(tree) == 1 && tree.is_below(layers);
        let positions = (0..self.trees.len()).filter(|at| usable(&self.trees[*at]));
        let best = positions.max_by_key(|at| self.trees[*at].layers())?;
        Arc::into_inner(self.trees.remove(best))
    }
}
