//! `inspect`, in the shape Docker's JSON has.

use crate::{
    app::App,
    args::InspectArgs,
    error::{CliError, UsageError},
    exit,
    streams::print_data,
    template::Template,
};
use rbuild::Engine;
use rbuild_docker_api::{ContainerInspect, ImageInspect};
use serde_json::Value;

/// The kind of object that is looked for.
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
            let message = format!("unknown type: {other:?}: must be one of \"container\", \"image\"");
            return Err(UsageError::new(message).into());
        }
    };
    let template = match args.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(text) => Some(Template::parse(text)?),
    };
    let engine = app.engine()?;
    let (mut out, mut found, mut code) = (String::new(), Vec::new(), 0);
    for name in &args.names {
        match (object(&engine, name, kind), &template) {
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
        out = pretty(&Value::Array(found));
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

fn object(engine: &Engine, name: &str, kind: ObjectKind) -> Result<Object, CliError> {
    let container = || {
        let shape = ContainerInspect::from(&engine.container(name)?);
        Ok::<_, rbuild::Error>(Object { printed: shape.printed(), complete: shape.complete() })
    };
    let image = || {
        let shape = ImageInspect::from(&engine.image(name)?);
        Ok::<_, rbuild::Error>(Object { printed: shape.printed(), complete: shape.complete() })
    };
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
