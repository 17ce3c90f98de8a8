//! `plan`.

use super::build::{look_elsewhere, settled};
use crate::{
    app::App,
    args::{PlanArgs, PlanFormat},
    credentials::build_proxies,
    error::CliError,
    preview,
    streams::{Answer, answer},
};

/// Shows what a build would do.
pub(super) fn plan(app: &App, args: PlanArgs) -> Result<(), CliError> {
    let format = args.format;
    let mut options = settled(app, args.into_build())?;
    look_elsewhere(app, &mut options)?;
    let engine = app.engine_with_registries(options.certificates)?;
    build_proxies(&app.environment)?.add_to(&mut options.request.build_args);
    let planned = engine.plan(&options.request).map_err(|error| CliError::Build(Box::new(error)))?;
    answer(&match format {
        PlanFormat::Text => Answer::Text(preview::text(&planned)),
        PlanFormat::Json => Answer::Data(preview::json(&planned)),
        PlanFormat::Dot => Answer::Data(preview::dot(&planned)),
        PlanFormat::Mermaid => Answer::Data(preview::mermaid(&planned)),
    })
}
