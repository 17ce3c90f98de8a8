//! The results of a build as records for other machines.

use crate::{Error, build::results::Results, lookup::keys::Keys};
use rbuild_cache::{LayerId, MachineId};
use rbuild_planner::Step;
use rbuild_remote_cache::{SharedCache, SharedLayer, SharedRecord};
use std::collections::HashMap;

/// Tells what is known of a layer; `None` when nothing is.
pub(crate) type Described<'a> = &'a dyn Fn(&LayerId) -> Result<Option<SharedLayer>, Error>;

/// The records of those of `steps` that have results, whose layers are `described`. A result that `machine`, this one, made is
/// its own. A step on a layer of which nothing is known has no record.
///
/// # Errors
/// That of `described`.
pub(crate) fn describe<'a>(
    steps: impl Iterator<Item = &'a Step>,
    (keys, results): (&Keys, &Results),
    machine: Option<MachineId>,
    described: Described<'_>,
) -> Result<SharedCache, Error> {
    let mut shared = SharedCache::default();
    let mut places = HashMap::new();
    for step in steps {
        let Some(result) = results.step(step.id) else { continue };
        let (record, keyed) = (&result.record, keys.step(step.id));
        let sources = results.inputs(step).map(|inputs| inputs.source_layers()).unwrap_or_default();
        let mut place = |layer: &LayerId| -> Result<Option<usize>, Error> {
            if let Some(place) = places.get(layer) {
                return Ok(Some(*place));
            }
            let Some(layer_of_cache) = described(layer)? else { return Ok(None) };
            let place = shared.layer(layer_of_cache);
            places.insert(*layer, place);
            Ok(Some(place))
        };
        let mut all = |layers: &[LayerId]| -> Result<Option<Vec<usize>>, Error> {
            layers.iter().map(&mut place).collect::<Result<Option<Vec<_>>, _>>()
        };
        let Some((own, parents)) = all(&result.stack)?
            .as_deref()
            .and_then(<[usize]>::split_last)
            .map(|(own, parents)| (*own, parents.to_vec()))
        else {
            continue;
        };
        // of sources that were not hashed the record says nothing, and then it is found by content alone
        let source_layers = all(&sources)?.unwrap_or_default();
        shared.records.push(SharedRecord {
            key: keyed.key,
            by_content: record.by_content,
            parent: keyed.parent,
            step: keyed.description.step,
            content_step: record.content_step,
            layer: own,
            parent_layers: parents,
            source_layers,
            created: record.created,
            duration_ms: record.duration_ms,
            machine: record.machine.or(machine),
        });
    }
    Ok(shared)
}
