//! `inspect`, in the shape Docker's JSON has.

use crate::{
    app::App,
    args::{ContainerInspectArgs, ImageInspectArgs, InspectArgs, NetworkInspectArgs, VolumeInspectArgs},
    error::{CliError, UsageError},
    exit,
    options::platform,
    streams::print_data,
    template::{Template, escaped, to_json},
};
use rbuild::{Engine, NetworkError, Platform, UnknownName, VolumeError, VolumeName};
use rbuild_docker_api::{ContainerInspect, ImageInspect, NetworkInspect, VolumeInspect};
use serde_json::Value;

/// The kind of object that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObjectKind {
    /// A container, or else an image, a network, or a volume.
    Any,
    /// An image.
    Image,
    /// A container.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// What is to be shown.
struct Asked<'a> {
    names: &'a [String],
    format: Option<&'a str>,
    kind: ObjectKind,
    /// Of images, that for this one.
    platform: Option<Platform>,
    /// Of containers, with the bytes of their files.
    sizes: bool,
}

/// Shows everything about images and containers.
pub(super) fn objects(app: &App, args: &InspectArgs) -> Result<(), CliError> {
    let kind = match args.kind.as_deref() {
        None | Some("") => ObjectKind::Any,
        Some("image") => ObjectKind::Image,
        Some("container") => ObjectKind::Container,
        Some("network") => ObjectKind::Network,
        Some("volume") => ObjectKind::Volume,
        Some(other) => {
            let message = format!(
                "unknown type: {other:?}: must be one of \"container\", \"image\", \"network\", \"volume\""
            );
            return Err(UsageError::refused(message).into());
        }
    };
    if args.size && kind == ObjectKind::Image {
        exit::warn("--size ignored for image");
    }
    inspect(
        app,
        &Asked { names: &args.names, format: args.format.as_deref(), kind, platform: None, sizes: args.size },
    )
}

/// Shows everything about images.
pub(super) fn images(app: &App, args: &ImageInspectArgs) -> Result<(), CliError> {
    let platform = platform(args.platform.as_deref())?;
    let (names, format) = (&args.names, args.format.as_deref());
    inspect(app, &Asked { names, format, kind: ObjectKind::Image, platform, sizes: false })
}

/// Shows everything about containers.
pub(super) fn containers(app: &App, args: &ContainerInspectArgs) -> Result<(), CliError> {
    let (names, format) = (&args.names, args.format.as_deref());
    inspect(app, &Asked { names, format, kind: ObjectKind::Container, platform: None, sizes: args.size })
}

/// Shows everything about networks.
pub(super) fn networks(app: &App, args: &NetworkInspectArgs) -> Result<(), CliError> {
    let (names, format) = (&args.names, args.format.as_deref());
    inspect(app, &Asked { names, format, kind: ObjectKind::Network, platform: None, sizes: false })
}

/// Shows everything about volumes.
pub(super) fn volumes(app: &App, args: &VolumeInspectArgs) -> Result<(), CliError> {
    let (names, format) = (&args.names, args.format.as_deref());
    inspect(app, &Asked { names, format, kind: ObjectKind::Volume, platform: None, sizes: false })
}

fn inspect(app: &App, asked: &Asked<'_>) -> Result<(), CliError> {
    let template = match asked.format {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let engine = app.engine()?;
    let (mut out, mut found, mut code) = (String::new(), Vec::new(), 0);
    for name in asked.names {
        match (object(&engine, name, asked), &template) {
            (Ok(object), None) => found.push(object.printed),
            (Ok(object), Some(template)) => {
                out.push_str(&template.render(&object.complete)?);
                out.push('\n');
            }
            (Err(error), _) => {
                code = code.max(exit::code(&error));
                exit::report(&error, app.environment.color());
            }
        }
    }
    if template.is_none() {
        let found = Value::Array(found);
        out = if asked.format == Some("json") { to_json(&found) + "\n" } else { pretty(&found) };
    }
    print_data(&out)?;
    if code == 0 { Ok(()) } else { Err(CliError::Reported { code }) }
}

/// One answer.
struct Object {
    /// As it is printed.
    printed: Value,
    /// As templates see it: with the fields that are left out when they are empty.
    complete: Value,
}

fn object(engine: &Engine, name: &str, asked: &Asked<'_>) -> Result<Object, CliError> {
    let container = || {
        let container = engine.container(name)?;
        let sizes = if asked.sizes { Some(engine.container_sizes(&container)?) } else { None };
        let mountpoint = |name: &VolumeName| engine.volume_mountpoint(name).display().to_string();
        let shape =
            ContainerInspect::new((&container, &engine.container_files(&container)), sizes, &mountpoint);
        Ok::<_, rbuild::Error>(Object { printed: shape.printed(), complete: shape.complete() })
    };
    let image = || {
        let shape = ImageInspect::from(&engine.image_for(name, asked.platform.as_ref())?);
        Ok::<_, rbuild::Error>(Object { printed: shape.printed(), complete: shape.complete() })
    };
    let volume = || {
        let volume = engine.volume(name)?;
        let shape = VolumeInspect::new(&volume, &engine.volume_mountpoint(&volume.name)).complete();
        Ok::<_, rbuild::Error>(Object { printed: shape.clone(), complete: shape })
    };
    let network = || {
        let network = engine.named_network(name)?;
        let shape = NetworkInspect::new(&network, &engine.network_places(&network)?).complete();
        Ok::<_, rbuild::Error>(Object { printed: shape.clone(), complete: shape })
    };
    match asked.kind {
        ObjectKind::Network => Ok(network()?),
        ObjectKind::Image => Ok(image()?),
        ObjectKind::Container => Ok(container()?),
        ObjectKind::Volume => Ok(volume()?),
        ObjectKind::Any => match container() {
            Ok(object) => Ok(object),
            Err(rbuild::Error::NoSuchContainer(unknown)) => match image() {
                Err(rbuild::Error::NoSuchImage(image)) => match network() {
                    Err(rbuild::Error::Network(NetworkError::NoSuch(network))) => match volume() {
                        Err(rbuild::Error::Volume(VolumeError::NoSuch(volume))) => {
                            let near = unknown.near.or(image.near).or(network.near).or(volume.near);
                            Err(CliError::NoSuchObject(UnknownName { near, ..unknown }))
                        }
                        other => Ok(other?),
                    },
                    other => Ok(other?),
                },
                other => Ok(other?),
            },
            Err(error) => Err(error.into()),
        },
    }
}

/// JSON with Docker's four blanks a level.
fn pretty(value: &Value) -> String {
    let narrow = escaped(&format!("{value:#}"));
    let mut out = String::with_capacity(narrow.len() * 2);
    for line in narrow.lines() {
        let text = line.trim_start_matches(' ');
        out.extend(std::iter::repeat_n(' ', 2 * (line.len() - text.len())));
        out.push_str(text);
        out.push('\n');
    }
    out
}
