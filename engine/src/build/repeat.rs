//! `--verify-cache`: a sample of the steps that came from the cache is carried out again, and what they write this time is held
//! against their layers. What the cache has stays in use: a step that is not reproducible is told, and nothing else happens.

use crate::{
    Causes, Error, Outcome, Warning,
    build::{
        execute_step::Executor,
        results::{Origin, Results},
    },
    guest::emulators::Emulators,
};
use rbuild_image::{Change, Difference, FileChange, FileTree, directory_tar};
use rbuild_planner::{Plan, StepId};
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

/// Carries out `percent` of the steps of `plan` that came from the cache, at least one of them, one after another.
pub(crate) async fn sample(executor: &Arc<Executor>, plan: &Plan, results: &Results, percent: u8) {
    let steps = chosen(plan, results, percent);
    let emulators = Emulators::of(plan, &steps, &executor.text);
    for id in steps {
        let step = &plan.steps[id.0];
        let (Some(inputs), Some(result)) = (results.inputs(step), results.step(id)) else { continue };
        let activity = executor.reporter.begin_repeat(step);
        let emulator = match &emulators {
            Ok(emulators) => emulators.get(&plan.stages[step.stage.0].platform).cloned(),
            // the step fails, and says why
            Err(_) => None,
        };
        let (worker, layer) = (executor.clone(), result.layer());
        let repeated = tokio::task::spawn_blocking(move || {
            let draft = worker.repeat(id, (&inputs, emulator.as_ref()))?;
            let store = &worker.machine.store;
            worker.machine.files.need(&[layer])?;
            let (mut before, mut now) = (FileTree::default(), FileTree::default());
            before.add(directory_tar(store, &store.layer_fs(&layer))?, 0)?;
            now.add(directory_tar(store, draft.fs())?, 0)?;
            Ok(before.changes_to(&now))
        });
        let repeated = repeated.await.unwrap_or_else(|panicked| Err(Error::Worker(panicked.to_string())));
        let (name, number) = (step.name.clone(), id.0 as u32 + 1);
        match repeated {
            Ok(changes) => {
                activity.end(Outcome::Done);
                let files: Vec<FileChange> = changes.into_iter().filter_map(without_time).collect();
                if !files.is_empty() {
                    executor.reporter.warn(Warning::NotReproducible { step: name, number, files });
                }
            }
            Err(error) => {
                let causes = Causes::of(&error);
                activity.end(Outcome::Failed(causes.clone()));
                executor.reporter.warn(Warning::NotRepeated { step: name, number, causes });
            }
        }
    }
}

/// The steps of the sample, which is another one in each build.
fn chosen(plan: &Plan, results: &Results, percent: u8) -> BTreeSet<StepId> {
    let is_cached = |id: &StepId| results.step(*id).is_some_and(|result| result.origin == Origin::Cache);
    let mut cached: Vec<StepId> = plan.steps.iter().map(|step| step.id).filter(is_cached).collect();
    let count = (cached.len() * usize::from(percent.min(100))).div_ceil(100);
    let dice = RandomState::new();
    cached.sort_by_cached_key(|id| {
        let mut hasher = dice.build_hasher();
        hasher.write_usize(id.0);
        hasher.finish()
    });
    cached.into_iter().take(count).collect()
}

/// What is different beside times, if anything is.
fn without_time(change: FileChange) -> Option<FileChange> {
    let FileChange { path, change, layer } = change;
    let change = match change {
        Change::Changed(mut differences) => {
            differences.retain(|difference| *difference != Difference::Time);
            if differences.is_empty() {
                return None;
            }
            Change::Changed(differences)
        }
        other @ (Change::Added(_) | Change::Removed) => other,
    };
    Some(FileChange { path, change, layer })
}
