//! `network …`.

use super::{
    inspect,
    listing_format::{asked, format},
    naming::{each, force},
    prune,
};
use crate::{
    app::App,
    args::{NetworkCommand, NetworkConnectArgs, NetworkLsArgs, NetworkPruneArgs, NetworkRmArgs},
    error::{CliError, UsageError},
    exit::warn,
    options::{network_request, place_in_network},
    streams::{Answer, answer, print},
    table::{Column, Listing},
};
use rbuild::{Error, NetworkError};
use rbuild_docker_api::{Detail, NetworkFilter, NetworkRow, PruneFilter};

const COLUMNS: &[Column] = &[
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "Driver", heading: "DRIVER" },
    Column { field: "ID", heading: "NETWORK ID" },
    Column { field: "IPv4", heading: "IPV4" },
    Column { field: "IPv6", heading: "IPV6" },
    Column { field: "Internal", heading: "INTERNAL" },
    Column { field: "Labels", heading: "LABELS" },
    Column { field: "Name", heading: "NAME" },
    Column { field: "Scope", heading: "SCOPE" },
];

/// Does what a command for networks asks for.
pub(super) fn networks(app: &App, command: NetworkCommand) -> Result<(), CliError> {
    match command {
        NetworkCommand::Create(args) => {
            let request = network_request(&args)?;
            let id = app.engine()?.create_network(&request)?;
            print(&format!("{id}\n"))
        }
        NetworkCommand::Ls(args) => list(app, &args),
        NetworkCommand::Inspect(args) => inspect::networks(app, &args),
        NetworkCommand::Rm(args) => remove(app, &args),
        NetworkCommand::Prune(args) => prune_networks(app, &args),
        NetworkCommand::Connect(args) => connect(app, &args),
        NetworkCommand::Disconnect(args) => {
            Ok(app.engine()?.disconnect_network(&args.container, &args.network)?)
        }
    }
}

fn list(app: &App, args: &NetworkLsArgs) -> Result<(), CliError> {
    let raw = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}";
    let format = format(asked(app, args.format.as_deref(), "networksFormat").as_deref(), raw)?;
    let filters = args.filter.iter().map(|text| NetworkFilter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let detail = if args.no_trunc { Detail::Full } else { Detail::Short };
    let engine = app.engine()?;
    for id in engine.damaged_networks()? {
        warn(&format!("the record of the network {id} is damaged: remove it with 'rbuild network rm {id}'"));
    }
    let mut rows = Vec::new();
    for network in engine.networks()? {
        let places = if filters.is_empty() { 0 } else { engine.network_places(&network)?.len() };
        if filters.iter().all(|filter| filter.admits(&network, places)) {
            rows.push(NetworkRow::new(&network, detail));
        }
    }
    if args.quiet && args.format.is_none() {
        return answer(&Answer::Text(rows.iter().map(|row| format!("{}\n", row.id)).collect()));
    }
    answer(&Listing::of(COLUMNS, &["ID", "Name", "Driver", "Scope"], rows).render(&format)?)
}

fn remove(app: &App, args: &NetworkRmArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.networks, force(args.force), app.environment.color(), |name| {
        match engine.remove_named_network(name) {
            Err(Error::Network(NetworkError::NoSuch(_))) if args.force => return Ok(()),
            removed => removed?,
        }
        print(&format!("{name}\n"))
    })
}

fn prune_networks(app: &App, args: &NetworkPruneArgs) -> Result<(), CliError> {
    let filter = PruneFilter::parse(&args.prune.filter, app.environment.now)?;
    let warning = "WARNING! This will remove all custom networks not used by at least one container.";
    let forced = args.prune.force || args.prune.dry_run;
    prune::confirm(forced, &prune::with_filters(warning, &args.prune.filter))?;
    let engine = app.engine()?;
    let only_networks = prune::chosen_networks(&engine, &filter)?;
    let effect = prune::effect(args.prune.dry_run);
    let removed = engine.prune_unused_networks(only_networks.as_deref(), effect)?;
    print(&format!("{}{}", prune::first_line(effect), prune::deleted("Networks", &removed)))
}

fn connect(app: &App, args: &NetworkConnectArgs) -> Result<(), CliError> {
    for (given, flag) in [
        (!args.driver_opt.is_empty(), "--driver-opt"),
        (!args.link.is_empty(), "--link"),
        (!args.link_local_ip.is_empty(), "--link-local-ip"),
    ] {
        if given {
            return Err(UsageError::unsupported(flag).into());
        }
    }
    let place = place_in_network(&args.network, &args.alias, (args.ip.as_deref(), args.ip6.as_deref()))?;
    Ok(app.engine()?.connect_network(&args.container, &place)?)
}
