//! `info`.

use crate::{
    app::App,
    args::VersionArgs,
    environment::User,
    error::CliError,
    shown::one_line,
    streams::{print, print_data},
    template::{Template, to_json},
};
use rbuild::Platform;
use rbuild_docker_api::{Info, human_size};
use std::fmt::Write as _;

/// Shows what there is, and what it is on.
pub(super) fn info(app: &App, args: &VersionArgs) -> Result<(), CliError> {
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let engine = app.engine()?;
    let (images, containers) = (engine.images()?.len(), engine.containers()?);
    let info = Info::new(
        env!("CARGO_PKG_VERSION"),
        (app.root(), images, &containers),
        (&engine.machine(), app.environment.user == User::Root),
        (&Platform::host(), &rbuild::runnable_platforms()),
    );
    match (template, args.format.as_deref()) {
        (Some(template), _) => print_data(&format!("{}\n", template.render(&serde_json::json!(info))?)),
        (None, Some("json")) => print_data(&format!("{}\n", to_json(&serde_json::json!(info)))),
        (None, _) => print(&text(&info, app.environment.user)),
    }
}

fn text(info: &Info, user: User) -> String {
    let user = match user {
        User::Root => "root",
        User::Ordinary => "an ordinary user, root of a user namespace",
    };
    let mut text = String::from("rbuild:\n");
    let mut line = |name: &str, value: &str| {
        // writing to memory cannot fail
        let _ = writeln!(text, " {name}: {}", one_line(value));
    };
    line("Version", &info.server_version);
    line("Store", &info.docker_root_dir);
    line("User", user);
    line("Containers", &info.containers.to_string());
    line(" Running", &info.containers_running.to_string());
    line(" Paused", &info.containers_paused.to_string());
    line(" Stopped", &info.containers_stopped.to_string());
    line("Images", &info.images.to_string());
    line("Storage Driver", info.driver);
    line("Logging Driver", info.logging_driver);
    line("Cgroup Version", &info.cgroup_version);
    line("Kernel Version", &info.kernel_version);
    line("Operating System", &info.operating_system);
    line("OSType", &info.os_type);
    line("Architecture", &info.architecture);
    line("CPUs", &info.ncpu.to_string());
    line("Total Memory", &human_size(info.mem_total));
    line("Platforms", &info.platforms.join(", "));
    for feature in &info.features {
        let state =
            if feature.present { "there".to_owned() } else { format!("missing: {}", feature.missing) };
        line(&format!("Feature {}", feature.name), &state);
    }
    text
}
