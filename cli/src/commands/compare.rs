//! `diff` and `image tree`.

use super::registry::fetch_layers;
use crate::{
    app::App,
    args::{DiffArgs, TreeArgs},
    error::{CliError, UsageError},
    shown::one_line,
    streams::{print, print_data},
    table,
};
use rbuild::{
    Change, ContainerChange, Difference, Engine, FileChange, FileKind, ImageDifference, LayerReport,
};
use rbuild_docker_api::{human_size_with, shortened};
use serde_json::{Value, json};

/// Characters of an instruction that are shown.
const INSTRUCTION_WIDTH: usize = 60;

/// A path or a reason that is longer does not move what stands beside it in other lines.
const COLUMN_WIDTH: usize = 48;

/// Shows what a container has changed, or how two images differ.
pub(super) fn diff(app: &App, args: &DiffArgs) -> Result<(), CliError> {
    let is_json = match args.format.as_deref() {
        None | Some("" | "text") => false,
        Some("json") => true,
        Some(other) => {
            return Err(UsageError::new(format!("invalid format {other:?}: use text or json")).into());
        }
    };
    match args.names.as_slice() {
        [older, newer] => {
            let engine = app.engine_with_registries(crate::options::Certificates::Checked)?;
            complete(app, &engine, older)?;
            complete(app, &engine, newer)?;
            let found = engine.compare_images(older, newer)?;
            if is_json { print_data(&as_json(&found)) } else { print(&as_text(&found)) }
        }
        names => {
            let name = names.first().map(String::as_str).unwrap_or_default();
            if name.is_empty() {
                return Err(UsageError::new("Container name cannot be empty").into());
            }
            let changes = app.engine()?.container_changes(name)?;
            if is_json {
                let changes: Vec<Value> = changes
                    .iter()
                    .map(|(path, change)| json!({"path": path, "change": word(*change)}))
                    .collect();
                return print_data(&format!("{:#}\n", Value::Array(changes)));
            }
            let line = |(path, change): &(String, ContainerChange)| {
                let letter = match change {
                    ContainerChange::Added => 'A',
                    ContainerChange::Changed => 'C',
                    ContainerChange::Removed => 'D',
                };
                format!("{letter} {}\n", one_line(path))
            };
            print(&changes.iter().map(line).collect::<String>())
        }
    }
}

/// Shows the layers of an image, and what each of them does.
pub(super) fn tree(app: &App, args: &TreeArgs) -> Result<(), CliError> {
    let engine = app.engine_with_registries(crate::options::Certificates::Checked)?;
    complete(app, &engine, &args.image)?;
    let (id, layers) = engine.image_layers(&args.image)?;
    let size: u64 = layers.iter().map(|layer| layer.size).sum();
    let mut text = format!("{} {id} {}\n", one_line(&args.image), human_size_with(size, 3));
    for (number, layer) in layers.iter().enumerate() {
        text.push_str(&layer_lines(layer, number + 1 == layers.len()));
    }
    print(&text)
}

fn layer_lines(layer: &LayerReport, is_last: bool) -> String {
    let (branch, stem) = if is_last { ("└─", "  ") } else { ("├─", "│ ") };
    let effect = &layer.effect;
    let counts = [(effect.added, "added"), (effect.changed, "changed"), (effect.removed, "removed")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    let made_by = shortened(&one_line(&layer.made_by), INSTRUCTION_WIDTH);
    let mut text = format!("{branch} {:>7}  {counts}  {made_by}\n", human_size_with(layer.size, 3));
    for (path, size) in &layer.effect.largest {
        text.push_str(&format!("{stem} {:>7}  {}\n", human_size_with(*size, 3), shown_path(path)));
    }
    text
}

/// Fetches those layers of an image that a build has left at its registry.
pub(super) fn complete(app: &App, engine: &Engine, image: &str) -> Result<(), CliError> {
    if engine.lacks_layers(image, &[])? { fetch_layers(app, engine, (image, &[])) } else { Ok(()) }
}

fn as_text(found: &ImageDifference) -> String {
    let row = |change: &FileChange| {
        let (letter, what) = match &change.change {
            Change::Added(size) => ('A', human_size_with(*size, 3)),
            Change::Changed(differences) => {
                ('C', differences.iter().map(words).collect::<Vec<_>>().join(", "))
            }
            Change::Removed => ('D', String::new()),
        };
        let made_by = change.layer.and_then(|layer| found.made_by.get(layer));
        let made_by = made_by.map_or_else(String::new, |by| shortened(&one_line(by), INSTRUCTION_WIDTH));
        vec![format!("{letter} {}", shown_path(&change.path)), what, made_by]
    };
    let rows: Vec<_> = found.files.iter().map(row).collect();
    let mut text = table::within(&rows, 0..=COLUMN_WIDTH, 2);
    text = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for (field, old, new) in &found.config {
        let shown =
            |value: &Option<String>| value.as_deref().map_or_else(|| "(unset)".to_owned(), one_line_of);
        text.push_str(&format!("config {}: {} -> {}\n", one_line(field), shown(old), shown(new)));
    }
    let count = |is: fn(&Change) -> bool| found.files.iter().filter(|file| is(&file.change)).count();
    text.push_str(&format!(
        "{} added, {} changed, {} removed, {} in the config\n",
        count(|change| matches!(change, Change::Added(_))),
        count(|change| matches!(change, Change::Changed(_))),
        count(|change| matches!(change, Change::Removed)),
        found.config.len()
    ));
    text
}

fn as_json(found: &ImageDifference) -> String {
    let file = |change: &FileChange| {
        let (kind, why) = match &change.change {
            Change::Added(_) => ("added", Vec::new()),
            Change::Changed(differences) => ("changed", differences.iter().map(words).collect()),
            Change::Removed => ("removed", Vec::new()),
        };
        let made_by = change.layer.and_then(|layer| found.made_by.get(layer));
        json!({"path": full_path(&change.path), "change": kind, "why": why, "createdBy": made_by})
    };
    let field = |(name, old, new): &(String, Option<String>, Option<String>)| json!({"field": name, "old": old, "new": new});
    let files: Vec<Value> = found.files.iter().map(file).collect();
    let config: Vec<Value> = found.config.iter().map(field).collect();
    format!("{:#}\n", json!({"files": files, "config": config}))
}

/// What is different about a file.
fn words(difference: &Difference) -> String {
    match difference {
        Difference::Kind(old, new) => format!("{} -> {}", kind(*old), kind(*new)),
        Difference::Content(old, new) if old == new => "content".to_owned(),
        Difference::Content(old, new) => {
            format!("content {} -> {}", human_size_with(*old, 3), human_size_with(*new, 3))
        }
        Difference::Mode(old, new) => format!("mode {old:04o} -> {new:04o}"),
        Difference::Owner(old, new) => format!("owner {}:{} -> {}:{}", old.0, old.1, new.0, new.1),
        Difference::Target(old, new) => {
            format!("link {} -> {}", String::from_utf8_lossy(old), String::from_utf8_lossy(new))
        }
        Difference::Device => "device numbers".to_owned(),
        Difference::Attributes => "extended attributes".to_owned(),
        Difference::Time => "time".to_owned(),
    }
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File | FileKind::HardLink => "file",
        FileKind::Symlink => "symbolic link",
        FileKind::CharDevice => "character device",
        FileKind::BlockDevice => "block device",
        FileKind::Directory => "directory",
        FileKind::Fifo => "FIFO",
        FileKind::Unknown(_) => "other file",
    }
}

fn word(change: ContainerChange) -> &'static str {
    match change {
        ContainerChange::Added => "added",
        ContainerChange::Changed => "changed",
        ContainerChange::Removed => "removed",
    }
}

fn full_path(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

fn shown_path(path: &[u8]) -> String {
    one_line(&full_path(path)).into_owned()
}

fn one_line_of(text: &str) -> String {
    one_line(text).into_owned()
}
