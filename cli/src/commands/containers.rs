//! `ps`, `rm` and `commit`.

use super::{
    listing_format::{asked, format},
    naming::{force, together},
};
use crate::{
    app::App,
    args::{CommitArgs, PortArgs, PsArgs, RmArgs},
    error::{CliError, UsageError},
    exit::{tell, warn},
    options::{detail, image_name},
    streams::{answer, print},
    table::{Column, Listing},
};
use rbuild::{CommitLayers, CommitRequest, Container, ContainerState, During, Engine, Pause, Timestamp};
use rbuild_docker_api::{ContainerFilter, ContainerPort, ContainerRow, Detail, port_lines};

pub(super) const COLUMNS: &[Column] = &[
    Column { field: "Command", heading: "COMMAND" },
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "ID", heading: "CONTAINER ID" },
    Column { field: "Image", heading: "IMAGE" },
    Column { field: "Labels", heading: "LABELS" },
    Column { field: "LocalVolumes", heading: "LOCAL VOLUMES" },
    Column { field: "Mounts", heading: "MOUNTS" },
    Column { field: "Names", heading: "NAMES" },
    Column { field: "Networks", heading: "NETWORKS" },
    Column { field: "Platform", heading: "PLATFORM" },
    Column { field: "Ports", heading: "PORTS" },
    Column { field: "RunningFor", heading: "CREATED" },
    Column { field: "Size", heading: "SIZE" },
    Column { field: "State", heading: "STATE" },
    Column { field: "Status", heading: "STATUS" },
];

/// What docker calls the raw form of a container.
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
    state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\n\
    ports: {{- pad .Ports 1 0}}";

/// Lists containers.
pub(super) fn list(app: &App, args: &PsArgs) -> Result<(), CliError> {
    if args.quiet && args.format.as_deref().is_some_and(|text| !text.is_empty()) {
        warn("Ignoring custom format, because both --format and --quiet are set.");
    }
    let raw = if args.size { format!("{RAW}\nsize: {{{{.Size}}}}") } else { RAW.to_owned() };
    let asked = if args.quiet { None } else { asked(app, args.format.as_deref(), "psFormat") };
    let format = format(asked.as_deref(), &raw)?;
    let filters =
        args.filter.iter().map(|text| ContainerFilter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let last = if args.latest { Some(1) } else { args.last };
    let names_state =
        |filter: &ContainerFilter| matches!(filter, ContainerFilter::Status(_) | ContainerFilter::Exited(_));
    let by_state = filters.iter().any(names_state);
    let all = args.all || last.is_some() || by_state;
    let engine = app.engine()?;
    let resolved = filters.into_iter().map(|filter| filter.resolve(|image| engine.images_called(image)));
    let filters = resolved.collect::<Result<Vec<_>, _>>()?;
    let containers = engine.containers()?;
    if all {
        for id in engine.damaged_containers()? {
            warn(&format!("the record of the container {id} is damaged: remove it with 'rbuild rm -f {id}'"));
        }
    }
    let counts = args.size || asked.is_some_and(|format| format.contains(".Size"));
    let chosen = containers
        .iter()
        .filter(|container| all || container.state == ContainerState::Running)
        .filter(|container| ContainerFilter::all_admit(&filters, container, &containers))
        .take(last.unwrap_or(usize::MAX));
    let mut rows = Vec::new();
    for container in chosen {
        let row = row(&engine, container, detail(args.no_trunc), app.environment.now)?;
        rows.push(if counts { row.with_size(engine.container_sizes(container)?) } else { row });
    }
    let shown = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"];
    let shown = if args.size { &shown[..] } else { &shown[..7] };
    let listing = Listing::of(COLUMNS, shown, rows);
    answer(&if args.quiet { listing.ids() } else { listing.render(&format)? })
}

/// The line of `container`, with its image's id when the name by which that was asked for leads there no longer.
pub(super) fn row(
    engine: &Engine,
    container: &Container,
    detail: Detail,
    now: Timestamp,
) -> Result<ContainerRow, CliError> {
    let row = ContainerRow::new(container, detail, now);
    let is_its_name = engine.images_called(&container.image)?.contains(&container.image_id);
    Ok(if is_its_name { row } else { row.with_image_id(container, detail) })
}

/// Shows where the ports of a container are reached.
pub(super) fn port(app: &App, args: &PortArgs) -> Result<(), CliError> {
    let container = app.engine()?.container(&args.container)?;
    let only = match &args.port {
        None => None,
        Some(text) => {
            let wrong = || UsageError::refused(format!("invalid port '{text}'"));
            Some(ContainerPort::parse(text).ok_or_else(wrong)?)
        }
    };
    match (port_lines(&container, only), only) {
        (Some(lines), _) => print(&lines),
        (None, port) => {
            let port = port.map(|port| port.to_string()).unwrap_or_default();
            let name = &args.container;
            Err(CliError::Refused(format!("No public port '{port}' published for {name}")))
        }
    }
}

/// Removes containers, and goes on after each that cannot be removed.
pub(super) fn remove(app: &App, args: &RmArgs) -> Result<(), CliError> {
    if args.link {
        return Err(UsageError::new("--link is not supported: there are no links between containers").into());
    }
    let engine = app.engine()?;
    together(&args.containers, force(args.force), app.environment.color(), |name| {
        if name.is_empty() {
            return Err(UsageError::refused("container name cannot be empty").into());
        }
        if args.volumes {
            engine.remove_container_and_volumes(name, force(args.force))?;
        } else {
            engine.remove_container(name, force(args.force))?;
        }
        Ok(())
    })
}

/// Makes an image of a container.
pub(super) fn commit(app: &App, args: CommitArgs) -> Result<(), CliError> {
    let request = CommitRequest {
        container: args.container,
        name: args.name.as_deref().filter(|text| !text.is_empty()).map(image_name).transpose()?,
        author: args.author,
        message: args.message,
        changes: args.change,
        pause: if args.pause { Pause::Container } else { Pause::Nothing },
        layers: if args.squash { CommitLayers::One } else { CommitLayers::Added },
    };
    let name = request.container.clone();
    let busy = move || tell(&format!("Waiting for another command that makes container {name} stand still"));
    let committed = app.engine()?.commit(&request, busy)?;
    if args.pause && committed.during == During::Running {
        warn(&format!(
            "container {} has no control group that can be frozen: it ran while its files were read",
            request.container
        ));
    }
    print(&format!("{}\n", committed.image))
}
