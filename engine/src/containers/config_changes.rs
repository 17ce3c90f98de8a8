//! Changes of a config by Dockerfile instructions.

use crate::Error;
use rbuild_oci::{ContainerConfig, ImageConfig, Platform};
use rbuild_parser::ParseError;
use rbuild_planner::{PlanOptions, ResolvedImage};

/// `config` after the Dockerfile instructions `changes`, as `commit --change` and `import --change` take them.
pub(crate) fn apply_changes(
    mut config: ContainerConfig,
    changes: &[String],
) -> Result<ContainerConfig, Error> {
    const ALLOWED: [&str; 11] = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    let (mut new_command, has_path) = (false, config.env_value("PATH").is_some());
    for change in changes {
        let keyword = change.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        new_command |= keyword == "CMD";
        if !ALLOWED.contains(&keyword.as_str()) {
            return Err(Error::NotAChange { keyword });
        }
    }
    let text = crate::error::diagnostic::DockerfileText {
        name: "change".to_owned(),
        bytes: format!("FROM base\n{}\n", changes.join("\n")).into_bytes(),
    };
    // the error drops its lines, because the user has never seen the file that they number
    let unread = |error| Error::syntax(ParseError { lines: None, ..error }, &text);
    let dockerfile = rbuild_parser::parse(&text.bytes).map_err(unread)?;
    let planned = |error| Error::plan(error, &text);
    // the triggers of the image are for its children, not for this
    let triggers = std::mem::take(&mut config.on_build);
    let base = ImageConfig { config, ..ImageConfig::scratch(&Platform::host()) };
    let options = PlanOptions::new(Platform::host());
    let graph = rbuild_planner::select(dockerfile, &options).map_err(planned)?;
    let resolved = ResolvedImage { id: base.id(), config: base, layers: 1 };
    let answers = graph.unresolved().into_iter().map(|wanted| (wanted, resolved.clone())).collect();
    let graph = graph.resolve(answers).map_err(planned)?;
    let graph =
        graph.finish().map_err(|_| Error::Unsupported { what: "a change that needs an image".to_owned() })?;
    let plan = rbuild_planner::lower(graph).map_err(planned)?;
    let mut changed = plan.target().image.config.config.clone();
    // a build sets the mark and a PATH, Docker's commit and import do not
    changed.args_escaped &= !new_command;
    if !has_path && changes.iter().all(|change| !change.contains("PATH")) {
        changed.env.retain(|pair| !pair.starts_with("PATH="));
    }
    changed.on_build = triggers.into_iter().chain(changed.on_build).collect();
    Ok(changed)
}
