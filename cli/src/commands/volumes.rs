//! `volume …`.

use super::{
    listing_format::{asked, format},
    naming::{each, force},
    prune,
};
use crate::{
    app::App,
    args::{VolumeCommand, VolumeCreateArgs, VolumeLsArgs, VolumePruneArgs, VolumeRmArgs},
    error::{CliError, UsageError},
    options::label,
    streams::{Answer, answer, print},
    table::{Column, Listing},
};
use rbuild::{Error, PruneRequest, PruneVolumes, VolumeError, VolumeName};
use rbuild_docker_api::{PruneFilter, VolumeFilter, VolumeRow};

pub(super) const COLUMNS: &[Column] = &[
    Column { field: "Availability", heading: "AVAILABILITY" },
    Column { field: "Driver", heading: "DRIVER" },
    Column { field: "Group", heading: "GROUP" },
    Column { field: "Labels", heading: "LABELS" },
    Column { field: "Links", heading: "LINKS" },
    Column { field: "Mountpoint", heading: "MOUNTPOINT" },
    Column { field: "Name", heading: "VOLUME NAME" },
    Column { field: "Scope", heading: "SCOPE" },
    Column { field: "Size", heading: "SIZE" },
    Column { field: "Status", heading: "STATUS" },
];

/// Does what a command for volumes asks for.
pub(super) fn volumes(app: &App, command: VolumeCommand) -> Result<(), CliError> {
    match command {
        VolumeCommand::Create(args) => create(app, args),
        VolumeCommand::Ls(args) => list(app, &args),
        VolumeCommand::Inspect(args) => super::inspect::volumes(app, &args),
        VolumeCommand::Rm(args) => remove(app, &args),
        VolumeCommand::Prune(args) => prune_volumes(app, &args),
    }
}

fn create(app: &App, args: VolumeCreateArgs) -> Result<(), CliError> {
    if !matches!(args.driver.as_str(), "" | "local") {
        return Err(UsageError::unsupported(format_args!("--driver {}", args.driver)).into());
    }
    if let Some(option) = args.opt.first() {
        return Err(UsageError::new(format!(
            "--opt {option} is not supported: a volume is a directory of the store, and nothing is mounted for it; mount what you \
             need and give its path to run -v"
        ))
        .into());
    }
    let labels = args.label.iter().map(|text| label(text)).collect::<Result<_, _>>()?;
    let name = args.name.filter(|name| !name.is_empty());
    let name = name.map(|name| {
        name.parse::<VolumeName>().map_err(|error| UsageError::refused(format!("create {name}: {error}")))
    });
    let name = app.engine()?.create_volume(name.transpose()?, labels)?;
    print(&format!("{name}\n"))
}

fn list(app: &App, args: &VolumeLsArgs) -> Result<(), CliError> {
    let raw = "name: {{.Name}}\ndriver: {{.Driver}}";
    let format = format(asked(app, args.format.as_deref(), "volumesFormat").as_deref(), raw)?;
    let filters = args.filter.iter().map(|text| VolumeFilter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let engine = app.engine()?;
    let used = engine.used_volumes()?;
    let mut volumes = engine.volumes()?;
    volumes.retain(|volume| {
        let users = used.get(&volume.name).copied().unwrap_or(0);
        filters.iter().all(|filter| filter.admits(volume, users))
    });
    if args.quiet && args.format.is_none() {
        return answer(&Answer::Text(volumes.iter().map(|volume| format!("{}\n", volume.name)).collect()));
    }
    let rows = volumes.iter().map(|volume| VolumeRow::new(volume, &engine.volume_mountpoint(&volume.name)));
    answer(&Listing::of(COLUMNS, &["Driver", "Name"], rows).render(&format)?)
}

fn remove(app: &App, args: &VolumeRmArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.volumes, force(args.force), app.environment.color(), |name| {
        match engine.remove_volume(name) {
            Err(Error::Volume(VolumeError::NoSuch(_))) if args.force => {}
            removed => removed?,
        }
        print(&format!("{name}\n"))
    })
}

fn prune_volumes(app: &App, args: &VolumePruneArgs) -> Result<(), CliError> {
    // as docker's client does, whose switch is a filter too
    let (all, filters): (Vec<_>, Vec<_>) =
        args.prune.filter.iter().cloned().partition(|filter| filter.starts_with("all="));
    let all = args.all || all.iter().any(|filter| matches!(filter.as_str(), "all=1" | "all=true"));
    let filter = PruneFilter::parse(&filters, app.environment.now)?;
    if filter.until.is_some() {
        return Err(UsageError::new("invalid filter 'until': volumes are not removed by their age").into());
    }
    let warning = if all {
        "WARNING! This will remove all local volumes not used by at least one container."
    } else {
        "WARNING! This will remove anonymous local volumes not used by at least one container."
    };
    let forced = args.prune.force || args.prune.dry_run;
    prune::confirm(forced, &prune::with_filters(warning, &args.prune.filter))?;
    let engine = app.engine()?;
    let request = PruneRequest {
        volumes: if all { PruneVolumes::All } else { PruneVolumes::Anonymous },
        only_volumes: prune::chosen_volumes(&engine, &filter)?,
        effect: prune::effect(args.prune.dry_run),
        ..PruneRequest::default()
    };
    prune::prune(&engine, &request, app.environment.now)
}
