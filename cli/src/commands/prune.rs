//! `prune` in all its forms.

use crate::{
    app::App,
    args::{BuilderPruneArgs, ContainerPruneArgs, ImagePruneArgs, SystemPruneArgs},
    error::CliError,
    exit,
    options::refuse,
    streams::print,
};
use rbuild::{PruneCache, PruneContainers, PruneImages, PruneRequest};
use rbuild_docker_api::human_size;
use std::io::{self, BufRead};

/// Removes dangling images, or with `--all` every image without a container.
pub(super) fn images(app: &App, args: &ImagePruneArgs) -> Result<(), CliError> {
    refuse(&[("filter", !args.prune.filter.is_empty())])?;
    let warning = if args.all {
        "WARNING! This will remove all images without at least one container associated to them."
    } else {
        "WARNING! This will remove all dangling images."
    };
    confirm(args.prune.force, warning, "image prune")?;
    prune(app, PruneRequest { images: which_images(args.all), ..PruneRequest::default() }, "Deleted Images:")
}

/// Removes containers that have ended.
pub(super) fn containers(app: &App, args: &ContainerPruneArgs) -> Result<(), CliError> {
    refuse(&[("filter", !args.prune.filter.is_empty())])?;
    confirm(args.prune.force, "WARNING! This will remove all stopped containers.", "container prune")?;
    prune(
        app,
        PruneRequest { containers: PruneContainers::Stopped, ..PruneRequest::default() },
        "Deleted Containers:",
    )
}

/// Removes the build cache.
pub(super) fn cache(app: &App, args: &BuilderPruneArgs) -> Result<(), CliError> {
    refuse(&[("filter", !args.prune.filter.is_empty()), ("keep-storage", args.keep_storage.is_some())])?;
    let which = if args.all { "all build cache" } else { "all build cache that no image uses" };
    confirm(args.prune.force, &format!("WARNING! This will remove {which}."), "builder prune")?;
    prune(
        app,
        PruneRequest { build_cache: which_cache(args.all), ..PruneRequest::default() },
        "Deleted build cache objects:",
    )
}

/// Removes all that is not in use.
pub(super) fn everything(app: &App, args: &SystemPruneArgs) -> Result<(), CliError> {
    refuse(&[("filter", !args.prune.filter.is_empty()), ("volumes", args.volumes)])?;
    let which = if args.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    let warning = format!(
        "WARNING! This will remove:\n  - all stopped containers\n  - {which}\n  - unused build cache\n"
    );
    confirm(args.prune.force, &warning, "system prune")?;
    let request = PruneRequest {
        images: which_images(args.all),
        build_cache: which_cache(args.all),
        containers: PruneContainers::Stopped,
    };
    prune(app, request, "Deleted:")
}

fn which_images(all: bool) -> PruneImages {
    if all { PruneImages::Unused } else { PruneImages::Dangling }
}

fn which_cache(all: bool) -> PruneCache {
    if all { PruneCache::All } else { PruneCache::Unused }
}

fn prune(app: &App, request: PruneRequest, heading: &str) -> Result<(), CliError> {
    let pruned = app.engine()?.prune(request)?;
    let mut text = String::new();
    if !pruned.deleted.is_empty() {
        text = format!("{heading}\n{}\n\n", pruned.deleted.join("\n"));
    }
    text.push_str(&format!("Total reclaimed space: {}\n", human_size(pruned.reclaimed)));
    print(&text)
}

/// Asks, unless `--force` has answered already.
fn confirm(forced: bool, warning: &str, what: &'static str) -> Result<(), CliError> {
    if forced {
        return Ok(());
    }
    exit::ask(&format!("{warning}\nAre you sure you want to continue? [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|source| CliError::Stream { action: "read standard input", source })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(CliError::Declined(what)) }
}
