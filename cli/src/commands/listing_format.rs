//! The `--format` of a listing for which docker's client has a setting, and a form of its own that is called `raw`.

use crate::{app::App, credentials::document, error::CliError, table::Format, template::Template};

/// What is asked for: by `flag`, or else by `setting` of docker's `config.json`.
pub(super) fn asked(app: &App, flag: Option<&str>, setting: &str) -> Option<String> {
    let configured = || {
        // a file that cannot be read sets nothing here; who needs its logins hears of it
        let (config, _) = document(&app.environment.docker_config()).ok().flatten()?;
        config[setting].as_str().map(str::to_owned)
    };
    flag.filter(|text| !text.is_empty()).map(str::to_owned).or_else(configured)
}

/// The form that `asked` means in a listing whose rows are written as `raw`, with a blank line behind each.
///
/// # Errors
/// [`CliError::Template`].
pub(super) fn format(asked: Option<&str>, raw: &str) -> Result<Format, CliError> {
    match asked {
        Some("raw") => Ok(Format::Rows(Template::parse(&format!("{raw}\n"))?)),
        other => Format::parse(other),
    }
}
