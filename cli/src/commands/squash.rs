//! `squash`.

use super::compare::complete;
use crate::{
    app::App,
    args::SquashArgs,
    error::CliError,
    exit,
    options::{Certificates, image_name},
    shown::one_line,
    streams::print,
};
use rbuild::SquashRequest;

/// Makes an image with fewer layers, and prints its id.
pub(super) fn squash(app: &App, args: &SquashArgs) -> Result<(), CliError> {
    let names = args.tag.iter().map(|text| image_name(text)).collect::<Result<_, _>>()?;
    let engine = app.engine_with_registries(Certificates::Checked)?;
    complete(app, &engine, &args.image)?;
    let from = args.from.clone().filter(|from| !from.is_empty());
    let squashed = engine.squash(&SquashRequest { image: args.image.clone(), names, from })?;
    if squashed.merged < 2 {
        let image = one_line(&args.image);
        exit::tell(&format!("{image} stays as it is, because it has fewer than two layers to merge"));
    }
    print(&format!("{}\n", squashed.image))
}
