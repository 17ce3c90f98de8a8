//! `prune` in all its forms.

use super::cache;
use crate::{
    app::App,
    args::{BudgetFlags, BuilderPruneArgs, ContainerPruneArgs, ImagePruneArgs, SystemPruneArgs},
    error::{CliError, UsageError},
    exit,
    options::size,
    streams::print,
};
use rbuild::{
    CacheEntry, Engine, ImageId, PruneCache, PruneContainers, PruneEffect, PruneImages, PruneNetworks,
    PruneRequest, PruneVolumes, Timestamp, VolumeName,
};
use rbuild_docker_api::{CacheFilter, FilterError, PruneFilter, human_size, with_tag};
use std::io::{self, BufRead};

/// Removes dangling images, or with `--all` every image without a container.
pub(super) fn images(app: &App, args: &ImagePruneArgs) -> Result<(), CliError> {
    // as docker's client does, whose switch is a filter too
    let (dangling, filters): (Vec<_>, Vec<_>) =
        args.filter.iter().cloned().partition(|filter| filter.starts_with("dangling="));
    if let Some(text) = dangling.iter().find(|text| **text != format!("dangling={}", !args.all)) {
        let value = text.trim_start_matches("dangling=");
        return Err(FilterError::Invalid(format!("dangling=[{value} {}]", !args.all)).into());
    }
    let filter = PruneFilter::parse(&filters, app.environment.now)?;
    let warning = if args.all {
        "WARNING! This will remove all images without at least one container associated to them."
    } else {
        "WARNING! This will remove all dangling images."
    };
    confirm(args.force || args.dry_run, &with_filters(warning, &args.filter))?;
    let engine = app.engine()?;
    let only_images = chosen_images(&engine, &filter)?;
    let effect = effect(args.dry_run);
    let request =
        PruneRequest { images: which_images(args.all), only_images, effect, ..PruneRequest::default() };
    prune(&engine, &request, app.environment.now)
}

/// Removes containers that have ended.
pub(super) fn containers(app: &App, args: &ContainerPruneArgs) -> Result<(), CliError> {
    let filter = PruneFilter::parse(&args.prune.filter, app.environment.now)?;
    let warning = "WARNING! This will remove all stopped containers.";
    confirm(args.prune.force || args.prune.dry_run, &with_filters(warning, &args.prune.filter))?;
    let engine = app.engine()?;
    let only_containers = chosen_containers(&engine, &filter)?;
    let effect = effect(args.prune.dry_run);
    let containers = PruneContainers::Stopped;
    let request = PruneRequest { containers, only_containers, effect, ..PruneRequest::default() };
    prune(&engine, &request, app.environment.now)
}

/// The words for what was removed of the build cache.
pub(super) type PrintRemoved = fn(&[CacheEntry], Timestamp) -> String;

/// Removes the build cache. `told` says how what went is shown.
pub(super) fn cache(app: &App, args: &BuilderPruneArgs, told: PrintRemoved) -> Result<(), CliError> {
    let now = app.environment.now;
    let filter = CacheFilter::parse(&args.filter, now)?;
    let cache_limits = size::limits(&BudgetFlags {
        max_used_space: args.max_used_space.clone(),
        min_free_space: args.min_free_space.clone(),
        reserved_space: args.reserved_space.clone(),
    })?;
    let which = if args.all { "all build cache" } else { "all build cache that no image uses" };
    let warning = with_filters(&format!("WARNING! This will remove {which}."), &args.filter);
    confirm(args.force || args.dry_run, &warning)?;
    let engine = app.engine()?;
    let request = PruneRequest {
        build_cache: which_cache(args.all),
        cache_before: filter.unused_since,
        only_cache: if filter.chooses() { Some(chosen_cache(&engine, &filter)?) } else { None },
        cache_limits,
        effect: effect(args.dry_run),
        ..PruneRequest::default()
    };
    let pruned = engine.prune(&request)?;
    let first = first_line(request.effect);
    let failed = deleted("failed steps", &pruned.failed_steps);
    let parts = match args.verbose {
        true => cache::details(&pruned.cache, now),
        false => told(&pruned.cache, now),
    };
    print(&format!("{first}{failed}{parts}{}", total(pruned.reclaimed, request.effect)))
}

/// The parts of the cache that the filter lets go.
fn chosen_cache(engine: &Engine, filter: &CacheFilter) -> Result<Vec<String>, CliError> {
    let entries = engine.cache_entries()?.into_iter();
    Ok(entries.filter(|entry| filter.admits(entry)).map(|entry| entry.id).collect())
}

/// Removes all that is not in use.
pub(super) fn everything(app: &App, args: &SystemPruneArgs) -> Result<(), CliError> {
    let filter = PruneFilter::parse(&args.prune.filter, app.environment.now)?;
    let which = if args.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    let volumes =
        if args.volumes { "  - all anonymous volumes not used by at least one container\n" } else { "" };
    let warning = format!(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n\
         {volumes}  - {which}\n  - unused build cache\n"
    );
    if args.volumes && filter.until.is_some() {
        return Err(UsageError::refused("The \"until\" filter is not supported with \"--volumes\"").into());
    }
    confirm(args.prune.force || args.prune.dry_run, &with_filters(&warning, &args.prune.filter))?;
    let engine = app.engine()?;
    let request = PruneRequest {
        images: which_images(args.all),
        only_images: chosen_images(&engine, &filter)?,
        // the cache has no labels
        build_cache: if filter.has_labels() { PruneCache::Keep } else { which_cache(args.all) },
        cache_before: filter.until,
        containers: PruneContainers::Stopped,
        only_containers: chosen_containers(&engine, &filter)?,
        networks: PruneNetworks::Unused,
        only_networks: chosen_networks(&engine, &filter)?,
        volumes: if args.volumes { PruneVolumes::Anonymous } else { PruneVolumes::Keep },
        only_volumes: chosen_volumes(&engine, &filter)?,
        effect: effect(args.prune.dry_run),
        ..PruneRequest::default()
    };
    prune(&engine, &request, app.environment.now)
}

/// The images that the filter lets go; no list without a filter.
fn chosen_images(engine: &Engine, filter: &PruneFilter) -> Result<Option<Vec<ImageId>>, CliError> {
    if filter.is_empty() {
        return Ok(None);
    }
    let images = engine.images()?.into_iter();
    Ok(Some(
        images.filter(|image| filter.admits(image.created, &image.labels)).map(|image| image.id).collect(),
    ))
}

/// The containers that the filter lets go; no list without a filter.
fn chosen_containers(engine: &Engine, filter: &PruneFilter) -> Result<Option<Vec<String>>, CliError> {
    if filter.is_empty() {
        return Ok(None);
    }
    let containers = engine.containers()?.into_iter();
    let chosen = containers
        .filter(|container| filter.admits(Some(container.created), &container.config.labels))
        .map(|container| container.id);
    Ok(Some(chosen.collect()))
}

/// The networks that the filter lets go; no list without a filter.
pub(super) fn chosen_networks(
    engine: &Engine,
    filter: &PruneFilter,
) -> Result<Option<Vec<String>>, CliError> {
    if filter.is_empty() {
        return Ok(None);
    }
    let networks = engine.networks()?.into_iter();
    let chosen = networks.filter(|network| filter.admits(Some(network.created), &network.labels));
    Ok(Some(chosen.map(|network| network.id).collect()))
}

/// The volumes that the filter lets go; no list without a filter.
pub(super) fn chosen_volumes(
    engine: &Engine,
    filter: &PruneFilter,
) -> Result<Option<Vec<VolumeName>>, CliError> {
    if filter.is_empty() {
        return Ok(None);
    }
    let volumes = engine.volumes()?.into_iter();
    let chosen = volumes.filter(|volume| filter.admits(Some(volume.created), &volume.labels));
    Ok(Some(chosen.map(|volume| volume.name).collect()))
}

/// The warning with the filters below it, as docker shows them.
pub(super) fn with_filters(warning: &str, filters: &[String]) -> String {
    if filters.is_empty() {
        return warning.to_owned();
    }
    let lines: String = filters.iter().map(|filter| format!("  - {filter}\n")).collect();
    format!("{}\n\n  Items to be pruned will be filtered with:\n{lines}", warning.trim_end())
}

fn which_images(all: bool) -> PruneImages {
    if all { PruneImages::Unused } else { PruneImages::Dangling }
}

fn which_cache(all: bool) -> PruneCache {
    if all { PruneCache::All } else { PruneCache::Unused }
}

pub(super) fn effect(dry_run: bool) -> PruneEffect {
    if dry_run { PruneEffect::Report } else { PruneEffect::Remove }
}

/// Removes what `request` names, and says what that was, kind by kind, as docker does.
pub(super) fn prune(engine: &Engine, request: &PruneRequest, now: Timestamp) -> Result<(), CliError> {
    let pruned = engine.prune(request)?;
    let untagged = pruned.untagged.iter().map(|name| format!("untagged: {}", with_tag(name)));
    let images = untagged.chain(pruned.images.iter().map(|image| format!("deleted: {image}"))).collect();
    let kinds = [
        ("Containers", &pruned.containers),
        ("Networks", &pruned.networks),
        ("Volumes", &pruned.volumes),
        ("Images", &images),
        ("failed steps", &pruned.failed_steps),
    ];
    let mut text = first_line(request.effect).to_owned();
    text.extend(kinds.iter().map(|(kind, names)| deleted(kind, names)));
    text.push_str(&cache::summary(&pruned.cache, now));
    text.push_str(&total(pruned.reclaimed, request.effect));
    print(&text)
}

/// The names of what went, below their heading; nothing when nothing did.
pub(super) fn deleted(kind: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("Deleted {kind}:\n{}\n\n", names.join("\n")) }
}

/// What stands before a list of what would go.
pub(super) fn first_line(effect: PruneEffect) -> &'static str {
    match effect {
        PruneEffect::Report => "Nothing is removed (--dry-run). This would go:\n\n",
        PruneEffect::Remove => "",
    }
}

/// The last line: how much was freed, or would be.
fn total(bytes: u64, effect: PruneEffect) -> String {
    let what = match effect {
        PruneEffect::Report => "Total space that would be reclaimed",
        PruneEffect::Remove => "Total reclaimed space",
    };
    format!("{what}: {}\n", human_size(bytes))
}

/// Asks, unless `--force` has answered already.
pub(super) fn confirm(forced: bool, warning: &str) -> Result<(), CliError> {
    if forced {
        return Ok(());
    }
    exit::ask(&format!("{warning}\nAre you sure you want to continue? [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|source| CliError::Stream { action: "read standard input", source })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(CliError::Declined) }
}
