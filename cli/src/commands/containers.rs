//! `ps`, `rm` and `commit`.

use super::naming::{each, force};
use crate::{
    app::App,
    args::{CommitArgs, PsArgs, RmArgs},
    error::{CliError, UsageError},
    options::image_name,
    table::{Column, Format, Listing, ago, human_duration, local_style, short, shortened_command, text},
    working::print,
};
use rbuild::{CommitRequest, Container, ContainerState};
use rbuild_oci::Timestamp;
use serde_json::{Map, Value};

const COLUMNS: &[Column] = &[
    Column { field: "Command", heading: "COMMAND" },
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "ID", heading: "CONTAINER ID" },
    Column { field: "Image", heading: "IMAGE" },
    Column { field: "Labels", heading: "LABELS" },
    Column { field: "LocalVolumes", heading: "LOCAL VOLUMES" },
    Column { field: "Mounts", heading: "MOUNTS" },
    Column { field: "Names", heading: "NAMES" },
    Column { field: "Networks", heading: "NETWORKS" },
    Column { field: "Ports", heading: "PORTS" },
    Column { field: "RunningFor", heading: "CREATED" },
    Column { field: "Size", heading: "SIZE" },
    Column { field: "State", heading: "STATE" },
    Column { field: "Status", heading: "STATUS" },
];

/// Characters of a command that are shown.
const COMMAND_WIDTH: usize = 20;

/// Lists containers.
pub(super) fn list(app: &App, args: &PsArgs) -> Result<(), CliError> {
    let format = Format::parse(args.format.as_deref())?;
    let filters = args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let last = if args.latest { Some(1) } else { args.last };
    let by_state = filters.iter().any(|filter| matches!(filter, Filter::Status(_)));
    let all = args.all || last.is_some() || by_state;
    let containers = app.engine()?.containers()?.into_iter();
    let shown = containers
        .filter(|container| all || container.state == ContainerState::Running)
        .filter(|container| filters.iter().all(|filter| filter.admits(container)))
        .take(last.unwrap_or(usize::MAX));
    let rows: Vec<_> = shown.map(|container| row(&container, args, app.environment.now)).collect();
    if args.quiet && args.format.is_none() {
        return print(&rows.iter().map(|row| format!("{}\n", text(row, "ID"))).collect::<String>());
    }
    let shown = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
    print(&Listing { columns: COLUMNS, shown, rows }.render(&format)?)
}

/// Removes containers, and goes on after each that cannot be removed.
pub(super) fn remove(app: &App, args: &RmArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.containers, app.environment.color(), |name| {
        engine.remove_container(name, force(args.force))?;
        print(&format!("{name}\n"))
    })
}

/// Makes an image of a container.
pub(super) fn commit(app: &App, args: CommitArgs) -> Result<(), CliError> {
    let request = CommitRequest {
        container: args.container,
        name: args.name.as_deref().map(image_name).transpose()?,
        author: args.author,
        message: args.message,
        changes: args.change,
    };
    let image = app.engine()?.commit(&request)?;
    print(&format!("{image}\n"))
}

fn row(container: &Container, args: &PsArgs, now: Timestamp) -> Map<String, Value> {
    let command = container.command.join(" ");
    let command = if args.no_trunc { command } else { shortened_command(&command, COMMAND_WIDTH) };
    let labels = container.config.labels.iter().map(|(name, value)| format!("{name}={value}"));
    let state = match container.state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Exited(_) => "exited",
    };
    let fields = [
        ("Command", Value::from(command).to_string()),
        ("CreatedAt", local_style(Some(container.created))),
        ("ID", if args.no_trunc { container.id.clone() } else { short(&container.id) }),
        ("Image", container.image.clone()),
        ("Labels", labels.collect::<Vec<_>>().join(",")),
        ("LocalVolumes", "0".to_owned()),
        ("Mounts", String::new()),
        ("Names", container.name.clone()),
        ("Networks", String::new()),
        ("Ports", String::new()),
        ("RunningFor", ago(Some(container.created), now)),
        ("Size", "0B".to_owned()),
        ("State", state.to_owned()),
        ("Status", status(container, now)),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), Value::from(value))).collect()
}

fn status(container: &Container, now: Timestamp) -> String {
    match container.state {
        ContainerState::Created => "Created".to_owned(),
        ContainerState::Running => {
            let since = container.started.unwrap_or(container.created);
            format!("Up {}", human_duration(now.seconds() - since.seconds()))
        }
        ContainerState::Exited(code) => {
            format!("Exited ({code}) {}", ago(container.finished.or(container.started), now))
        }
    }
}

/// What `--filter` lets through.
enum Filter {
    Name(String),
    Id(String),
    Status(String),
    Ancestor(String),
    Label(String, Option<String>),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, UsageError> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(UsageError::new(format!("invalid filter '{text}'")));
        };
        let value_of = || value.to_owned();
        match name {
            "name" => Ok(Self::Name(value_of())),
            "id" => Ok(Self::Id(value_of())),
            "status" if matches!(value, "created" | "running" | "exited") => Ok(Self::Status(value_of())),
            "status" => Err(UsageError::new(format!("invalid filter 'status={value}'"))),
            "ancestor" => Ok(Self::Ancestor(value_of())),
            "label" => {
                let (name, value) =
                    value.split_once('=').map_or((value, None), |(name, value)| (name, Some(value)));
                Ok(Self::Label(name.to_owned(), value.map(str::to_owned)))
            }
            other => Err(UsageError::new(format!("invalid filter '{other}'"))),
        }
    }

    fn admits(&self, container: &Container) -> bool {
        match self {
            Self::Name(part) => container.name.contains(part.trim_start_matches('/')),
            Self::Id(prefix) => container.id.starts_with(prefix),
            Self::Status(status) => match container.state {
                ContainerState::Created => status == "created",
                ContainerState::Running => status == "running",
                ContainerState::Exited(_) => status == "exited",
            },
            Self::Ancestor(image) => {
                let hex = container.image_id.as_digest().hex();
                let same = |text: &str| text.parse::<rbuild_oci::Reference>().ok();
                hex.starts_with(image.trim_start_matches("sha256:"))
                    || same(image).is_some_and(|asked| same(&container.image) == Some(asked))
            }
            Self::Label(name, value) => {
                let found = container.config.labels.get(name);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
        }
    }
}
