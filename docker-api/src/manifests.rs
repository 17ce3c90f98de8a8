//! Manifests and indexes as `docker manifest` and `docker buildx imagetools` print them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rbuild::{Descriptor, Index, ManifestOrIndex, MediaType, Platform, Reference, RemoteManifest};
use serde::Serialize as _;
use serde_json::{Map, Value, json, ser::PrettyFormatter};

/// An index as `docker manifest` writes it: these bytes are what it pushes, and what it shows.
#[must_use]
pub fn manifest_list(index: &Index) -> String {
    let entries: Vec<Value> = index.manifests.iter().map(list_entry).collect();
    let mut document =
        json!({"schemaVersion": 2, "mediaType": index.media_type.as_str(), "manifests": entries});
    if !index.annotations.is_empty() {
        document["annotations"] = json!(index.annotations);
    }
    indented(&document, "   ")
}

/// A document with another indentation, its members in their order.
#[must_use]
pub fn manifest_document(bytes: &[u8]) -> String {
    serde_json::from_slice(bytes).map_or_else(
        |_| String::from_utf8_lossy(bytes).into_owned(),
        |document: Value| indented(&document, "\t"),
    )
}

/// A manifest with everything about it (`manifest inspect -v`).
#[must_use]
pub fn manifest_in_full(shown: &str, descriptor: &Descriptor, bytes: &[u8]) -> Value {
    let kind =
        if descriptor.media_type == MediaType::DockerManifest { "SchemaV2Manifest" } else { "OCIManifest" };
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let mut full = json!({
        "Ref": shown,
        "Descriptor": descriptor_json(descriptor),
        "Raw": STANDARD.encode(bytes),
    });
    full[kind] = document;
    full
}

/// JSON with tabs, as `docker manifest inspect -v` writes it.
#[must_use]
pub fn with_tabs(value: &Value) -> String {
    indented(value, "\t")
}

/// The text of `imagetools inspect`.
#[must_use]
pub fn image_in_words(manifest: &RemoteManifest) -> String {
    let name = manifest.reference.to_string();
    let Descriptor { media_type, digest, .. } = &manifest.descriptor;
    let mut out = format!("Name:      {name}\nMediaType: {media_type}\nDigest:    {digest}\n");
    let ManifestOrIndex::Index(index) = &manifest.document else { return out };
    out.push_str("           \nManifests: \n");
    let blocks: Vec<String> = index.manifests.iter().map(|entry| entry_in_words(&name, entry)).collect();
    out.push_str(&blocks.join("             \n"));
    out
}

fn entry_in_words(name: &str, entry: &Descriptor) -> String {
    let mut out = format!("  Name:      {name}@{}\n  MediaType: {}\n", entry.digest, entry.media_type);
    if let Some(platform) = &entry.platform {
        out.push_str(&format!("  Platform:  {platform}\n"));
    }
    if !entry.annotations.is_empty() {
        out.push_str("  Annotations: \n");
        let width = entry.annotations.keys().map(|key| key.chars().count()).max().unwrap_or(0) + 1;
        for (key, value) in &entry.annotations {
            let key = format!("{key}:");
            out.push_str(&format!("    {key:<width$} {value}\n"));
        }
    }
    out
}

/// The manifest of `imagetools inspect --format`: its descriptor, and of an index the entries.
#[must_use]
pub fn manifest_value(manifest: &RemoteManifest) -> Value {
    let Descriptor { media_type, digest, size, .. } = &manifest.descriptor;
    let mut value = json!({
        "schemaVersion": 2, "mediaType": media_type.as_str(), "digest": digest.to_string(), "size": size,
    });
    match &manifest.document {
        ManifestOrIndex::Index(index) => {
            value["manifests"] = index.manifests.iter().map(descriptor_json).collect();
            if !index.annotations.is_empty() {
                value["annotations"] = json!(index.annotations);
            }
        }
        ManifestOrIndex::Manifest(_) => {
            // a descriptor has no version
            value.as_object_mut().map(|members| members.shift_remove("schemaVersion"));
        }
    }
    value
}

/// A config, its members in the order of the image specification.
#[must_use]
pub fn config_value(json: &[u8]) -> Value {
    const ORDER: [&str; 9] =
        ["created", "author", "architecture", "variant", "os", "os.version", "config", "rootfs", "history"];
    let Ok(Value::Object(mut config)) = serde_json::from_slice(json) else { return Value::Null };
    let mut ordered: Map<String, Value> =
        ORDER.iter().filter_map(|name| Some(((*name).to_owned(), config.shift_remove(*name)?))).collect();
    ordered.extend(config);
    Value::Object(ordered)
}

/// `value` with Go's names of the members, which templates use.
#[must_use]
pub fn with_go_names(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(with_go_names).collect(),
        Value::Object(members) => {
            let renamed = members.into_iter().map(|(name, value)| {
                // names of annotations, labels and platforms are not Go's
                let is_map = matches!(name.as_str(), "annotations" | "Labels" | "Volumes" | "ExposedPorts");
                (go_name(&name), if is_map { value } else { with_go_names(value) })
            });
            Value::Object(renamed.collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn go_name(name: &str) -> String {
    let special = [
        ("os", "OS"),
        ("os.version", "OSVersion"),
        ("rootfs", "RootFS"),
        ("diff_ids", "DiffIDs"),
        ("created_by", "CreatedBy"),
        ("empty_layer", "EmptyLayer"),
    ];
    if let Some((_, go)) = special.iter().find(|(json, _)| *json == name) {
        return (*go).to_owned();
    }
    if name.contains('/') {
        return name.to_owned();
    }
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// A reference with a digest beside its tag, as `docker manifest inspect -v` shows it.
#[must_use]
pub fn entry_name(reference: &Reference, entry: &Descriptor) -> String {
    format!("{reference}@{}", entry.digest)
}

/// JSON with an indentation of two blanks, as `imagetools` writes it.
#[must_use]
pub fn with_blanks(value: &Value) -> String {
    indented(value, "  ")
}

/// An entry of a list: the members in the order of Docker's own type.
fn list_entry(entry: &Descriptor) -> Value {
    let mut value = json!({
        "mediaType": entry.media_type.as_str(), "size": entry.size, "digest": entry.digest.to_string(),
    });
    if !entry.annotations.is_empty() {
        value["annotations"] = json!(entry.annotations);
    }
    if let Some(platform) = &entry.platform {
        value["platform"] = platform_json(platform);
    }
    value
}

fn descriptor_json(descriptor: &Descriptor) -> Value {
    let mut value = json!({
        "mediaType": descriptor.media_type.as_str(),
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
    });
    if !descriptor.annotations.is_empty() {
        value["annotations"] = json!(descriptor.annotations);
    }
    if let Some(platform) = &descriptor.platform {
        value["platform"] = platform_json(platform);
    }
    value
}

fn platform_json(platform: &Platform) -> Value {
    json!(platform)
}

fn indented(value: &Value, indent: &str) -> String {
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value.serialize(&mut serializer).expect("JSON in memory always serialises");
    String::from_utf8(out).expect("JSON is UTF-8")
}
