//! Content keys: a step whose parent was built again with an identical result need not run again.
//!
//! Only steps that the index knows on another parent come here, so a cold build pays nothing. See
//! `docs/decisions/0006-content-compared-on-demand.md`.

use crate::{
    Error, keying,
    session::{Keyed, Origin, Session, StepResult},
};
use rbuild_cache::{CacheRecord, KeyBuilder, LayerId};
use rbuild_oci::Digest;
use rbuild_planner::Step;

/// The result of the same step on a parent that contains the same files, when there is one.
pub(crate) fn same_parent_content(
    session: &Session,
    step: &Step,
    keyed: &Keyed,
    parent: &[LayerId],
) -> Result<Option<StepResult>, Error> {
    let sources = keying::source_layers(session, step);
    for earlier in session.earlier(&keyed.description.step) {
        let other_sources = sources.as_deref() != earlier.sources.as_deref();
        if other_sources || earlier.parent_layers.len() != parent.len() {
            continue;
        }
        let needed = [earlier.parent_layers.as_slice(), &[earlier.layer]].concat();
        let there = session.lease.hold(&needed, &[])?.is_empty();
        // a layer that cannot be compared is another one: the cache is advice
        if there && same_content(session, &earlier.parent_layers, parent).unwrap_or(false) {
            let record = CacheRecord {
                parent: Some(keyed.parent),
                parent_layers: parent.to_vec(),
                evicted: None,
                stamp: None,
                ..earlier
            };
            session.recorder()?.record(keyed.key, record.clone());
            return Ok(Some(StepResult::new(record, parent, Origin::Cache)));
        }
    }
    Ok(None)
}

/// Whether two stacks hold the same files, layer by layer.
fn same_content(session: &Session, one: &[LayerId], other: &[LayerId]) -> Result<bool, Error> {
    for (one, other) in one.iter().zip(other) {
        if one != other && content(session, *one)? != content(session, *other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The digest of what `layer` contains, times apart; remembered by the layer, which never changes.
fn content(session: &Session, layer: LayerId) -> Result<Digest, Error> {
    let store = &session.engine.store;
    let fact = KeyBuilder::new("layer content 2").field("layer", layer.to_string()).finish_fact();
    let known = store.index(|index| Ok(index.fact(&fact)))?;
    if let Some(raw) = known.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        return Ok(Digest::from_bytes(raw));
    }
    let digest = rbuild_image::layer_content(store, &layer)?;
    session.recorder()?.fact(fact, digest.as_bytes().to_vec());
    Ok(digest)
}
