//! `inspect`, in the shape Docker's JSON has.

use crate::{
    app::App,
    args::InspectArgs,
    error::{CliError, UsageError},
    exit,
    template::{Template, to_json},
    working::print,
};
use rbuild::{Container, ContainerState, Engine, Image};
use rbuild_oci::{ContainerConfig, Timestamp};
use serde_json::{Map, Value, json};

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    /// A container, or else an image.
    Any,
    /// An image.
    Image,
    /// A container.
    Container,
}

/// Shows everything about images and containers.
pub(super) fn inspect(app: &App, args: &InspectArgs, kind: ObjectKind) -> Result<(), CliError> {
    let kind = match args.kind.as_deref() {
        None | Some("") => kind,
        Some("image") => ObjectKind::Image,
        Some("container") => ObjectKind::Container,
        Some(other) => {
            return Err(UsageError::new(format!("{other:?} is not a valid value for --type")).into());
        }
    };
    let template = match args.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(text) => Some(Template::parse(text)?),
    };
    let engine = app.engine()?;
    let (mut out, mut found, mut failed) = (String::new(), Vec::new(), false);
    for name in &args.names {
        match (object(&engine, name, kind), &template) {
            (Ok(object), None) => found.push(object.shown),
            (Ok(object), Some(template)) => {
                out.push_str(&template.render(&object.complete)?);
                out.push('\n');
            }
            (Err(error), _) => {
                failed = true;
                exit::report(&error, app.environment.color());
            }
        }
    }
    if template.is_none() {
        out = pretty(&Value::Array(found));
    }
    print(&out)?;
    if failed { Err(CliError::Told) } else { Ok(()) }
}

/// One answer.
struct Object {
    /// As it is printed.
    shown: Value,
    /// As templates see it: with the fields that are left out when they are empty.
    complete: Value,
}

fn object(engine: &Engine, name: &str, kind: ObjectKind) -> Result<Object, CliError> {
    let container = || engine.container(name).map(|container| container_object(&container));
    let image = || engine.image(name).map(|image| image_object(&image));
    let missing = |_| CliError::NoSuchObject(name.to_owned());
    match kind {
        ObjectKind::Image => Ok(image()?),
        ObjectKind::Container => Ok(container()?),
        ObjectKind::Any => match container() {
            Ok(object) => Ok(object),
            Err(rbuild::Error::NoSuchContainer(_)) => match image() {
                Err(error @ rbuild::Error::NoSuchImage(_)) => Err(missing(error)),
                other => Ok(other?),
            },
            Err(error) => Err(error.into()),
        },
    }
}

fn image_object(image: &Image) -> Object {
    let config = &image.config;
    let names: Vec<String> =
        image.names.iter().filter(|name| name.tag().is_some()).map(super::naming::with_tag).collect();
    let digests =
        image.digests.iter().map(|(name, digest)| format!("{}@{digest}", name.familiar_repository()));
    let comment = config.history.last().map_or("", |entry| entry.comment.as_str());
    let mut shown = json!({
        "Id": image.id.to_string(),
        "RepoTags": names,
        "RepoDigests": digests.collect::<Vec<_>>(),
        "Parent": "",
        "Comment": comment,
        "Created": config.created.map(|moment| moment.to_string()),
        "DockerVersion": "",
        "Author": config.author,
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "OsVersion": config.os_version,
        "Size": image.size,
        "GraphDriver": {"Data": null, "Name": "overlayfs"},
        "RootFS": {"Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": moment(image.tagged)},
        "Config": always_present(&config.config),
    });
    let mut complete = shown.clone();
    complete["Config"] = all_fields(&config.config);
    if let Some(fields) = shown.as_object_mut() {
        // Docker leaves these two out when they are empty
        fields.retain(|name, value| !matches!(name.as_str(), "Variant" | "OsVersion") || value != "");
    }
    Object { shown, complete }
}

fn container_object(container: &Container) -> Object {
    let (status, code) = match container.state {
        ContainerState::Created => ("created", 0),
        ContainerState::Running => ("running", 0),
        ContainerState::Exited(code) => ("exited", code),
    };
    let shown = |config: Value| {
        json!({
            "Id": container.id,
            "Created": container.created.to_string(),
            "Path": container.command.first().map_or("", String::as_str),
            "Args": container.command.get(1..).unwrap_or_default(),
            "State": {
                "Status": status,
                "Running": container.state == ContainerState::Running,
                "Paused": false,
                "Restarting": false,
                "OOMKilled": false,
                "Dead": false,
                "Pid": container.pid.unwrap_or(0),
                "ExitCode": code,
                "Error": "",
                "StartedAt": moment(container.started),
                "FinishedAt": moment(container.finished),
            },
            "Image": container.image_id.to_string(),
            "Name": format!("/{}", container.name),
            "RestartCount": 0,
            "Driver": "overlayfs",
            "Platform": "linux",
            "Config": config,
        })
    };
    let with_image = |mut config: Value| {
        config["Image"] = Value::from(container.image.as_str());
        config
    };
    Object {
        shown: shown(with_image(always_present(&container.config))),
        complete: shown(with_image(all_fields(&container.config))),
    }
}

/// The config with the fields Docker always prints, in Docker's alphabetical order.
fn always_present(config: &ContainerConfig) -> Value {
    let fields = all_fields(config);
    let always = ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"];
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    };
    let Value::Object(fields) = fields else { return fields };
    Value::Object(
        fields.into_iter().filter(|(name, value)| always.contains(&name.as_str()) || !empty(value)).collect(),
    )
}

/// The config with every field there is, in alphabetical order; what is not set is null or the empty text.
fn all_fields(config: &ContainerConfig) -> Value {
    let set = serde_json::to_value(config).ok();
    let field = |name: &str| set.as_ref().and_then(|set| set.get(name)).cloned();
    let names = [
        ("ArgsEscaped", Value::Bool(false)),
        ("Cmd", Value::Null),
        ("Entrypoint", Value::Null),
        ("Env", Value::Null),
        ("ExposedPorts", Value::Null),
        ("Healthcheck", Value::Null),
        ("Labels", Value::Null),
        ("OnBuild", Value::Null),
        ("Shell", Value::Null),
        ("StopSignal", Value::from("")),
        ("User", Value::from("")),
        ("Volumes", Value::Null),
        ("WorkingDir", Value::from("")),
    ];
    let all: Map<String, Value> =
        names.into_iter().map(|(name, unset)| (name.to_owned(), field(name).unwrap_or(unset))).collect();
    Value::Object(all)
}

/// A moment, or the one Go means by none.
fn moment(moment: Option<Timestamp>) -> String {
    moment.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |moment| moment.to_string())
}

/// JSON with Docker's four spaces a level.
fn pretty(value: &Value) -> String {
    let narrow = format!("{value:#}");
    let mut out = String::with_capacity(narrow.len() * 2);
    for line in narrow.lines() {
        let text = line.trim_start_matches(' ');
        out.extend(std::iter::repeat_n(' ', 2 * (line.len() - text.len())));
        out.push_str(text);
        out.push('\n');
    }
    out
}

/// A value as one line of JSON, for templates of other commands.
pub(super) fn line(value: &Value) -> String {
    format!("{}\n", to_json(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_oci::{ImageConfig, Platform};

    fn image() -> Image {
        let mut config = ImageConfig::scratch(&"linux/amd64".parse::<Platform>().unwrap());
        config.config.cmd = Some(vec!["bash".to_owned()]);
        config.config.labels.insert("a".to_owned(), "<1>".to_owned());
        config.created = "2026-11-21T10:48:38.698518481Z".parse().ok();
        Image {
            id: config.id(),
            names: vec!["debian:12".parse().unwrap()],
            digests: Vec::new(),
            config,
            size: 12,
            tagged: None,
        }
    }

    #[test]
    fn an_image_is_shown_in_docker_s_shape() {
        let text = pretty(&Value::Array(vec![image_object(&image()).shown]));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn templates_see_fields_that_are_not_printed() {
        let object = image_object(&image());
        let rendered = |text: &str| Template::parse(text).unwrap().render(&object.complete).unwrap();
        assert_eq!(rendered("{{.Config.Healthcheck}}{{.Config.User}}"), "<nil>");
        assert_eq!(rendered("{{index .Config.Labels \"a\"}} {{index .RepoTags 0}}"), "<1> debian:12");
    }
}
