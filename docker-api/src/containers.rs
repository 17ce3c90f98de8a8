//! Lines of `ps`, and which of them `--filter` lets through.

use crate::{
    FilterError,
    images::label,
    names::{Detail, container_id, image_id, shortened},
    ports::{FilteredPorts, network_names, ports_column},
    sizes::human_size_with,
    times::{ago, go_style, human_duration},
    volumes::{has_mount, mount_columns},
};
use rbuild::{Container, ContainerSizes, ContainerState, HealthStatus, ImageId, Timestamp, go_quoted};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::discriminant,
};

/// Characters of a command that are shown.
const COMMAND_WIDTH: usize = 20;

/// One line of `ps`, with Docker's fields in Docker's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerRow {
    /// The command, in quotation marks.
    pub command: String,
    /// When it was made.
    pub created_at: String,
    /// The container.
    #[serde(rename = "ID")]
    pub id: String,
    /// The image as it was asked for, or its id.
    pub image: String,
    /// The labels one by one, which templates ask for by name.
    pub label: BTreeMap<String, String>,
    /// `NAME=VALUE`, with commas between.
    pub labels: String,
    /// How many volumes it has.
    pub local_volumes: String,
    /// Its volumes, and the paths of the host that it sees.
    pub mounts: String,
    /// Its name.
    pub names: String,
    /// Its network.
    pub networks: String,
    /// Never there, as with docker's own store.
    pub platform: Option<()>,
    /// Its ports, and where they are reached.
    pub ports: String,
    /// How long ago it was made.
    pub running_for: String,
    /// Bytes it has written, and with its image's, if they were counted.
    pub size: String,
    /// `created`, `running`, `paused` or `exited`.
    pub state: String,
    /// Its state in words.
    pub status: String,
}

impl ContainerRow {
    /// The line of `container`.
    #[must_use]
    pub fn new(container: &Container, detail: Detail, now: Timestamp) -> Self {
        let command = match detail {
            Detail::Short => shortened(&command(container), COMMAND_WIDTH),
            Detail::Full => command(container),
        };
        let (local_volumes, mounts) = mount_columns(container, detail);
        let labels = container.config.labels.iter().map(|(name, value)| format!("{name}={value}"));
        Self {
            command: go_quoted(&command),
            created_at: go_style(Some(container.created)),
            id: container_id(&container.id, detail),
            image: asked_image(container, detail),
            label: container.config.labels.clone(),
            labels: labels.collect::<Vec<_>>().join(","),
            local_volumes,
            mounts,
            names: container.name.clone(),
            networks: network_names(container).join(","),
            platform: None,
            ports: ports_column(container),
            running_for: ago(Some(container.created), now),
            size: "0B".to_owned(),
            state: state(container).to_owned(),
            status: status(container, now),
        }
    }
}

impl ContainerRow {
    /// The same line of a container whose image is no longer what the name leads to by which it was asked for.
    #[must_use]
    pub fn with_image_id(self, container: &Container, detail: Detail) -> Self {
        Self { image: image_id(&container.image_id, detail), ..self }
    }

    /// The same line with the sizes of its files.
    #[must_use]
    pub fn with_size(self, sizes: ContainerSizes) -> Self {
        let [written, all] = [sizes.written, sizes.all].map(|size| human_size_with(size, 3));
        Self { size: format!("{written} (virtual {all})"), ..self }
    }
}

/// The command in one line: arguments with a blank stand in quotation marks, whatever else is in them.
fn command(container: &Container) -> String {
    let Some((program, arguments)) = container.command.split_first() else { return String::new() };
    let argument = |text: &String| if text.contains(' ') { format!("'{text}'") } else { text.clone() };
    std::iter::once(program.clone()).chain(arguments.iter().map(argument)).collect::<Vec<_>>().join(" ")
}

/// The image as it was asked for; an id that fits no column is shortened like any other.
fn asked_image(container: &Container, detail: Detail) -> String {
    let short = image_id(&container.image_id, Detail::Short);
    let asked = container.image.strip_prefix("sha256:").unwrap_or(&container.image);
    match detail {
        Detail::Short if asked.starts_with(&short) => short,
        Detail::Short | Detail::Full => container.image.clone(),
    }
}

/// True if `pattern` is part of a name, which docker has with and without a slash before it; `^` and `$` stand for its ends.
fn is_named(name: &str, pattern: &str) -> bool {
    let from_start = pattern.strip_prefix('^');
    let to_end = from_start.unwrap_or(pattern).strip_suffix('$');
    let text = to_end.or(from_start).unwrap_or(pattern).trim_start_matches('/');
    match (from_start.is_some(), to_end.is_some()) {
        (true, true) => name == text,
        (true, false) => name.starts_with(text),
        (false, true) => name.ends_with(text),
        (false, false) => name.contains(text),
    }
}

/// Docker's word for a state.
pub(crate) fn state(container: &Container) -> &'static str {
    match container.state {
        ContainerState::Created => "created",
        ContainerState::Running if container.paused => "paused",
        ContainerState::Running => "running",
        ContainerState::Exited(_) => "exited",
    }
}

fn status(container: &Container, now: Timestamp) -> String {
    match container.state {
        ContainerState::Created => "Created".to_owned(),
        ContainerState::Running => {
            let since = container.started.unwrap_or(container.created);
            let more = match container.health.as_ref().map(|health| health.status) {
                _ if container.paused => " (Paused)",
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{more}", human_duration(now.seconds() - since.seconds()))
        }
        ContainerState::Exited(code) => {
            format!("Exited ({code}) {}", ago(container.finished.or(container.started), now))
        }
    }
}

/// The containers that `--filter` lets through. `I` says which image is meant: its name, or the ids to which that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerFilter<I = String> {
    /// Part of the name.
    Name(String),
    /// The beginning of the id.
    Id(String),
    /// The word for the state.
    Status(String),
    /// The exit code of one that has ended.
    Exited(i32),
    /// The image.
    Ancestor(I),
    /// A label, and its value if there is one.
    Label(String, Option<String>),
    /// Those made before this one.
    Before(String),
    /// Those made after this one.
    Since(String),
    /// A volume, or a path on one of the sides of a mount.
    Volume(String),
    /// Docker's word for the health, `none` for one without.
    Health(String),
    /// Ports of the machine at which it is reached.
    Publish(FilteredPorts),
    /// Ports of it.
    Expose(FilteredPorts),
    /// Its network.
    Network(String),
}

const STATES: [&str; 7] = ["created", "running", "paused", "exited", "restarting", "removing", "dead"];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// `value` of the filter `text`, if it is one of `known`.
fn one_of(text: &str, value: &str, known: &'static [&'static str]) -> Result<String, FilterError> {
    let is_known = known.contains(&value);
    is_known.then(|| value.to_owned()).ok_or_else(|| FilterError::Value { text: text.to_owned(), known })
}

impl ContainerFilter {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let invalid = |what: &str| FilterError::Invalid(what.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(|| FilterError::Argument(text.to_owned()))?;
        match name {
            "name" => Ok(Self::Name(value.to_owned())),
            "id" => Ok(Self::Id(value.to_owned())),
            // those that no container of rbuild is in fit none
            "status" => one_of(text, value, &STATES).map(Self::Status),
            "exited" => value.parse().map(Self::Exited).map_err(|_| invalid(text)),
            "before" => Ok(Self::Before(value.to_owned())),
            "since" => Ok(Self::Since(value.to_owned())),
            "ancestor" => Ok(Self::Ancestor(value.to_owned())),
            "label" => Ok(label(value, Self::Label)),
            "publish" => FilteredPorts::parse(value).map(Self::Publish),
            "expose" => FilteredPorts::parse(value).map(Self::Expose),
            "network" => Ok(Self::Network(value.to_owned())),
            "volume" => Ok(Self::Volume(value.to_owned())),
            "health" => one_of(text, value, &HEALTHS).map(Self::Health),
            other => Err(invalid(other)),
        }
    }

    /// Looks up the image that the filter names, if it names one.
    ///
    /// # Errors
    /// Those of `images`.
    pub fn resolve<E>(
        self,
        images: impl FnOnce(&str) -> Result<BTreeSet<ImageId>, E>,
    ) -> Result<ContainerFilter<BTreeSet<ImageId>>, E> {
        Ok(match self {
            Self::Ancestor(name) => ContainerFilter::Ancestor(images(&name)?),
            Self::Name(part) => ContainerFilter::Name(part),
            Self::Id(prefix) => ContainerFilter::Id(prefix),
            Self::Status(word) => ContainerFilter::Status(word),
            Self::Exited(code) => ContainerFilter::Exited(code),
            Self::Label(name, value) => ContainerFilter::Label(name, value),
            Self::Before(container) => ContainerFilter::Before(container),
            Self::Since(container) => ContainerFilter::Since(container),
            Self::Volume(text) => ContainerFilter::Volume(text),
            Self::Health(word) => ContainerFilter::Health(word),
            Self::Publish(ports) => ContainerFilter::Publish(ports),
            Self::Expose(ports) => ContainerFilter::Expose(ports),
            Self::Network(name) => ContainerFilter::Network(name),
        })
    }
}

impl ContainerFilter<BTreeSet<ImageId>> {
    /// True if `container` passes `filters`: one of those of each kind, but every one that names a label or a moment, as docker has it.
    #[must_use]
    pub fn all_admit(filters: &[Self], container: &Container, all: &[Container]) -> bool {
        let passes = |filter: &Self| filter.admits(container, all);
        filters.iter().all(|filter| match filter {
            Self::Label(..) | Self::Before(_) | Self::Since(_) => passes(filter),
            Self::Name(_)
            | Self::Id(_)
            | Self::Status(_)
            | Self::Exited(_)
            | Self::Ancestor(_)
            | Self::Volume(_)
            | Self::Health(_)
            | Self::Publish(_)
            | Self::Expose(_)
            | Self::Network(_) => {
                filters.iter().any(|other| discriminant(other) == discriminant(filter) && passes(other))
            }
        })
    }

    /// True if `container` passes.
    #[must_use]
    pub fn admits(&self, container: &Container, all: &[Container]) -> bool {
        // an unknown one is not older or newer than any
        let created = |text: &str| {
            let is_meant = |other: &&Container| other.name == text || other.id.starts_with(text);
            all.iter().find(is_meant).map(|other| other.created)
        };
        match self {
            Self::Before(text) => created(text).is_some_and(|moment| container.created < moment),
            Self::Since(text) => created(text).is_some_and(|moment| container.created > moment),
            Self::Name(part) => is_named(&container.name, part),
            Self::Id(prefix) => container.id.starts_with(prefix),
            Self::Status(status) => state(container) == status,
            Self::Publish(ports) => ports.are_published(container),
            Self::Expose(ports) => ports.are_exposed(container),
            Self::Network(name) => {
                let places =
                    container.network.iter().flat_map(|first| std::iter::once(&**first).chain(&first.others));
                let mut ids = places.filter_map(|one| one.place.as_ref()).map(|place| place.id.as_str());
                network_names(container).contains(&name.as_str()) || ids.any(|id| id == name)
            }
            Self::Volume(text) => has_mount(container, text),
            Self::Health(word) => {
                container.health.as_ref().map_or("none", |health| health.status.word()) == word
            }
            Self::Exited(code) => container.state == ContainerState::Exited(*code),
            Self::Ancestor(images) => images.contains(&container.image_id),
            Self::Label(name, value) => {
                let found = container.config.labels.get(name);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
        }
    }
}
