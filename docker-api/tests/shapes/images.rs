//! Images: `inspect`, `images` and `history`.

use crate::{cases, check, now, read};
use rbuild::{HistoryLine, Image, ImageConfig, ImageSummary, Reference};
use rbuild_docker_api::{Detail, HistoryRow, ImageInspect, ImageRow, Row, Sizes, image_rows, names_image};
use serde_json::{Value, json};

#[test]
fn images_have_docker_s_shape() {
    for case in cases("images") {
        let image = image(&read(&case.join("image.json")));
        let shape = ImageInspect::from(&image);
        check(shape.printed(), &case.join("inspect.json"));
        check(shape.complete(), &case.join("complete.json"));
    }
}

#[test]
fn a_line_of_images_has_docker_s_fields() {
    for case in cases("images") {
        let image = image(&read(&case.join("image.json")));
        let summary = summary(&image);
        let objects = |rows: &mut dyn Iterator<Item = ImageRow<'_>>| -> Value {
            rows.map(|row| Value::Object(row.object())).collect()
        };
        let rows = |detail| objects(&mut image_rows(&summary, |_| true, detail, now()));
        let fits = |name: Option<&Reference>| name.is_some_and(|name| names_image("*/team/*", name));
        let rows = json!({
            "short": rows(Detail::Short),
            "full": rows(Detail::Full),
            "of a pattern": objects(&mut image_rows(&summary, fits, Detail::Short, now())),
        });
        check(rows, &case.join("rows.json"));
    }
}

#[test]
fn a_line_of_history_has_docker_s_fields() {
    for case in cases("images") {
        let image = image(&read(&case.join("image.json")));
        let line = |(index, entry): (usize, &rbuild::HistoryEntry)| HistoryLine {
            id: (index == 0).then_some(image.id),
            created: entry.created,
            created_by: entry.created_by.clone(),
            size: 1_984_000,
            comment: entry.comment.clone(),
        };
        let lines: Vec<HistoryLine> = image.config.history.iter().rev().enumerate().map(line).collect();
        let rows = |detail, sizes| -> Vec<HistoryRow> {
            lines.iter().map(|line| HistoryRow::new(line, detail, sizes, now())).collect()
        };
        let rows =
            json!({"short": rows(Detail::Short, Sizes::Human), "full": rows(Detail::Full, Sizes::Bytes)});
        check(rows, &case.join("history.json"));
    }
}

/// The image that a file describes. Its id is fixed: it says nothing about the shape.
pub(crate) fn image(value: &Value) -> Image {
    let config: ImageConfig = serde_json::from_value(value["config"].clone()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let digests = value["digests"].as_array().unwrap().iter();
    Image {
        id: format!("sha256:{}", "c".repeat(64)).parse().unwrap(),
        names: value["names"].as_array().unwrap().iter().map(|name| text(name).parse().unwrap()).collect(),
        digests: digests
            .map(|pair| (text(&pair[0]).parse().unwrap(), text(&pair[1]).parse().unwrap()))
            .collect(),
        size: value["size"].as_u64().unwrap(),
        tagged: value["tagged"].as_str().map(|moment| moment.parse().unwrap()),
        config,
    }
}

pub(crate) fn summary(image: &Image) -> ImageSummary {
    ImageSummary {
        id: image.id,
        names: image.names.clone(),
        digests: image.digests.clone(),
        created: image.config.created,
        size: image.size,
        labels: image.config.config.labels.clone(),
    }
}
