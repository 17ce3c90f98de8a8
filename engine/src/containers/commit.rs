//! Making an image of a container's changes.

use super::changes::{During, Pause};
use crate::{Engine, Error};
use rbuild_cache::{LayerMeta, LayerSource, RefRecord};
use rbuild_oci::{ContainerConfig, HistoryEntry, ImageConfig, ImageId, ImageName, Platform, Timestamp};
use rbuild_parser::ParseError;
use rbuild_planner::{PlanOptions, ResolvedImage};

/// `commit`.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The container's name or id.
    pub container: String,
    /// The new image's name.
    pub name: Option<ImageName>,
    /// `--author`.
    pub author: String,
    /// `--message`.
    pub message: String,
    /// `--change`: Dockerfile instructions.
    pub changes: Vec<String>,
    /// `--pause`.
    pub pause: Pause,
}

/// An image made of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The image.
    pub image: ImageId,
    /// What the container did while its files were read.
    pub during: During,
}

impl Engine {
    /// Makes an image of a container: its image's layers, and its own changes as one layer on top. What is mounted in it is
    /// left out. A container that runs stands still while its files are read, if that is asked for and can be done.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Plan`] or [`Error::Syntax`] for a bad change, [`Error::Store`],
    /// [`Error::Executor`] when its files cannot be read or its processes do not stand still.
    pub fn commit(&self, request: &CommitRequest) -> Result<Committed, Error> {
        let container = self.container(&request.container)?;
        let lease = self.store.lease()?;
        let base = self.held_image(&container.image_id.to_string(), None, &lease)?;
        let mut config = self.image_config(&base.id)?;
        config.config = apply_changes(container.config.clone(), &request.changes)?;
        let (draft, during) = self.held_changes(&container, &lease, request.pause)?;
        let now = Timestamp::from(self.store.now());
        let layer = draft.commit(&lease, &LayerMeta::new(now, LayerSource::Own))?;
        let diff = rbuild_image::layer_diff(&self.store, &layer)?;
        config.rootfs.diff_ids.push(diff.diff_id);
        config.created = Some(now);
        config.author.clone_from(&request.author);
        config.history.push(HistoryEntry {
            created: Some(now),
            created_by: container.command.join(" "),
            author: request.author.clone(),
            comment: request.message.clone(),
            empty_layer: false,
        });
        let layers: Vec<_> = container.layers.iter().copied().chain([layer]).collect();
        self.store.sync()?;
        let record = rbuild_image::assemble(&self.store, &lease, &config, &layers)?;
        if let Some(name) = &request.name {
            self.store.set_name(name, &RefRecord { image: record.id, manifest: None, tagged_at: now })?;
        }
        Ok(Committed { image: record.id, during })
    }
}

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
    let text = crate::diagnostic::DockerfileText {
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
