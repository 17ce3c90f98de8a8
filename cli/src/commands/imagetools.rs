//! `buildx imagetools`: images of registries, looked at and put together.

use crate::{
    app::App,
    args::{ImagetoolsCommand, ImagetoolsCreateArgs, ImagetoolsInspectArgs},
    error::{CliError, UsageError},
    options::{Certificates, any_platform, image_name, reference},
    progress::Style,
    streams::print_data,
    template::Template,
    working::work,
};
use rbuild::{
    Descriptor, Digest, Engine, ImageName, Index, IndexEntry, ManifestOrIndex, MediaType, Platform,
    Reference, RemoteManifest, combined_index,
};
use rbuild_docker_api::{config_value, image_in_words, manifest_value, with_blanks, with_go_names};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Carries out one of the commands.
pub(super) fn imagetools(app: &App, command: &ImagetoolsCommand) -> Result<(), CliError> {
    match command {
        ImagetoolsCommand::Create(args) => create(app, args),
        ImagetoolsCommand::Inspect(args) => inspect(app, args),
    }
}

fn inspect(app: &App, args: &ImagetoolsInspectArgs) -> Result<(), CliError> {
    let reference = reference(&args.name)?;
    let engine = app.engine_with_registries(Certificates::from_flag(args.tls_verify))?;
    let found = fetched(&engine, &reference)?;
    if args.raw {
        return print_data(&String::from_utf8_lossy(&found.bytes));
    }
    let Some(format) = args.format.as_deref().filter(|text| !text.is_empty()) else {
        return print_data(&image_in_words(&found));
    };
    let template = Template::parse(format)?;
    let value = json!({
        "Name": found.reference.to_string(),
        "Manifest": manifest_value(&found),
        "Image": work(Style::Quiet, async |_| configs(&engine, &found).await)?,
        "Provenance": {},
        "SBOM": {},
    });
    let lone = format.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    if lone.is_some_and(|inner| inner.trim_start().starts_with("json ") && !inner.contains("{{")) {
        // a document, with the names that documents have
        let whole = lone.is_some_and(|inner| inner.split_whitespace().eq(["json", "."]));
        let document = if whole {
            json!({"name": value["Name"], "manifest": value["Manifest"], "image": value["Image"]})
        } else {
            let text = template.render(&value)?;
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        return print_data(&with_blanks(&document));
    }
    print_data(&(template.render(&with_go_names(value))? + "\n"))
}

/// The config of an image, or of each platform of an index.
async fn configs(engine: &Engine, found: &RemoteManifest) -> Result<Value, CliError> {
    let index = match &found.document {
        ManifestOrIndex::Manifest(manifest) => {
            return config(engine, &found.reference, &manifest.config).await;
        }
        ManifestOrIndex::Index(index) => index,
    };
    let mut all = serde_json::Map::new();
    for entry in &index.manifests {
        let Some(platform) = entry.platform.as_ref().filter(|platform| platform.os != "unknown") else {
            continue;
        };
        let part = engine.remote_manifest(&found.reference.with_digest(entry.digest)).await?;
        if let ManifestOrIndex::Manifest(manifest) = &part.document {
            let config = config(engine, &found.reference, &manifest.config).await?;
            all.insert(platform.to_string(), config);
        }
    }
    Ok(Value::Object(all))
}

async fn config(engine: &Engine, from: &Reference, config: &Descriptor) -> Result<Value, CliError> {
    let json = engine.remote_config(from, config).await?;
    Ok(config_value(&json))
}

fn create(app: &App, args: &ImagetoolsCreateArgs) -> Result<(), CliError> {
    let names = args.tag.iter().map(|tag| image_name(tag)).collect::<Result<Vec<_>, _>>()?;
    let mut texts = args.sources.clone();
    for file in &args.file {
        texts.push(fs::read_to_string(file).map_err(CliError::file("read", Path::new(file)))?);
    }
    if texts.is_empty() {
        return Err(UsageError::new("no sources specified").into());
    }
    if names.is_empty() && !args.dry_run {
        return Err(
            UsageError::new("can't push with no tags specified, please set --tag or --dry-run").into()
        );
    }
    let mut sources = Vec::new();
    if args.append {
        sources.extend(names.first().map(|name| Source::of(name.as_reference().clone())));
    }
    for text in &texts {
        sources.push(Source::parse(text, &names)?);
    }
    let annotations = args.annotation.iter().map(|text| annotation(text)).collect::<Result<Vec<_>, _>>()?;
    let platforms =
        args.platform.iter().map(|text| any_platform(text)).collect::<Result<Vec<Platform>, _>>()?;
    let engine = app.engine_with_registries(Certificates::from_flag(args.tls_verify))?;
    let made = work(Style::Quiet, async |_| {
        let found = Found::of(&engine, &sources).await?;
        found.made(&annotations, &platforms, args.prefer_index)
    })?;
    if args.dry_run {
        return print_data(&(String::from_utf8_lossy(&made.bytes).into_owned() + "\n"));
    }
    work(Style::Quiet, async |_| {
        for name in &names {
            for entry in &made.entries {
                engine.copy_entry(entry, name).await?;
            }
            engine.push_manifest(name, &made.media_type, made.bytes.clone()).await?;
        }
        Ok::<(), CliError>(())
    })
}

/// A source of a new image: a name, with what a descriptor says beside it.
struct Source {
    reference: Reference,
    said: Value,
}

impl Source {
    fn of(reference: Reference) -> Self {
        Self { reference, said: Value::Null }
    }

    /// A name, a digest in the repository of the new image, or the JSON of a descriptor there.
    fn parse(text: &str, names: &[ImageName]) -> Result<Self, UsageError> {
        let text = text.trim();
        let own = |digest: &str| -> Result<Reference, UsageError> {
            let digest: Digest = digest.parse().map_err(|error| UsageError::new(format!("{error}")))?;
            let mut repositories: Vec<Reference> =
                names.iter().map(|name| name.as_reference().with_digest(digest)).collect();
            repositories.dedup_by_key(|reference| reference.to_string());
            match repositories.as_slice() {
                [one] => Ok(one.clone()),
                _ => Err(UsageError::new(format!(
                    "{digest} needs a repository: name it, or give exactly one with --tag"
                ))),
            }
        };
        if text.starts_with('{') {
            let said: Value = serde_json::from_str(text)
                .map_err(|error| UsageError::new(format!("invalid descriptor: {error}")))?;
            let reference = own(said["digest"].as_str().unwrap_or_default())?;
            return Ok(Self { reference, said });
        }
        if text.starts_with("sha256:") {
            return Ok(Self::of(own(text)?));
        }
        Ok(Self::of(reference(text)?))
    }
}

/// The sources as their registries have them.
struct Found {
    sources: Vec<RemoteManifest>,
    entries: Vec<IndexEntry>,
}

/// A new image.
struct Made {
    media_type: MediaType,
    bytes: Vec<u8>,
    entries: Vec<IndexEntry>,
}

impl Found {
    async fn of(engine: &Engine, sources: &[Source]) -> Result<Self, CliError> {
        let mut found = Self { sources: Vec::new(), entries: Vec::new() };
        for source in sources {
            let manifest = engine.remote_manifest(&source.reference).await?;
            let mut entries = engine.index_entries(&manifest).await?;
            if let [entry] = entries.as_mut_slice() {
                say(&mut entry.descriptor, &source.said);
            }
            found.sources.push(manifest);
            found.entries.extend(entries);
        }
        Ok(found)
    }

    /// One source is copied as it is when it is an index, or need not be one.
    fn made(
        mut self,
        annotations: &[Annotation],
        platforms: &[Platform],
        prefer_index: bool,
    ) -> Result<Made, CliError> {
        if !platforms.is_empty() {
            let wanted = |entry: &IndexEntry| {
                entry.descriptor.platform.as_ref().is_some_and(|platform| platforms.contains(platform))
            };
            self.entries.retain(wanted);
        } else if let ([only], []) = (self.sources.as_slice(), annotations)
            && (!prefer_index || matches!(only.document, ManifestOrIndex::Index(_)))
        {
            let (media_type, bytes) = (only.descriptor.media_type.clone(), only.bytes.clone());
            // a manifest comes with what it names, an index with its manifests
            return Ok(Made { media_type, bytes, entries: self.entries });
        }
        let mut index = combined_index(&self.entries);
        for annotation in annotations {
            annotation.add_to(&mut index);
        }
        Ok(Made { media_type: index.media_type.clone(), bytes: index.to_json(), entries: self.entries })
    }
}

/// Adds what a descriptor of a file says of platform and annotations.
fn say(descriptor: &mut Descriptor, said: &Value) {
    if let Ok(platform) = serde_json::from_value(said["platform"].clone()) {
        descriptor.platform = Some(platform);
    }
    for (key, value) in said["annotations"].as_object().into_iter().flatten() {
        descriptor.annotations.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
}

/// An annotation of a new index, or of its entries.
struct Annotation {
    /// `None` for one of the index itself.
    entries: Option<Entries>,
    key: String,
    value: String,
}

/// The entries of an index that an annotation is for.
enum Entries {
    All,
    For(Platform),
}

impl Annotation {
    fn add_to(&self, index: &mut Index) {
        let Some(entries) = &self.entries else {
            index.annotations.insert(self.key.clone(), self.value.clone());
            return;
        };
        for entry in &mut index.manifests {
            let is_meant = match entries {
                Entries::All => true,
                Entries::For(platform) => entry.platform.as_ref() == Some(platform),
            };
            if is_meant {
                entry.annotations.insert(self.key.clone(), self.value.clone());
            }
        }
    }
}

/// Reads `TYPE[PLATFORM]:KEY=VALUE`.
fn annotation(text: &str) -> Result<Annotation, UsageError> {
    let invalid = || UsageError::new(format!("invalid annotation {text:?}, expected key=value"));
    let (name, value) = text.split_once('=').ok_or_else(invalid)?;
    let (kind, key) = name.split_once(':').unwrap_or(("", name));
    let (kind, platform) = match kind.split_once('[') {
        Some((kind, rest)) => (kind, Some(any_platform(rest.strip_suffix(']').ok_or_else(invalid)?)?)),
        None => (kind, None),
    };
    let entries = match kind {
        "index" => None,
        "manifest-descriptor" => Some(platform.map_or(Entries::All, Entries::For)),
        "index-descriptor" => {
            let message = format!("{kind:?} annotations are invalid while creating an image");
            return Err(UsageError::new(message));
        }
        "" | "manifest" => {
            return Err(UsageError::new(format!("{kind:?} annotations are not supported yet")));
        }
        _ => return Err(UsageError::new(format!("unknown annotation type {kind:?}"))),
    };
    Ok(Annotation { entries, key: key.to_owned(), value: value.to_owned() })
}

fn fetched(engine: &Engine, reference: &Reference) -> Result<RemoteManifest, CliError> {
    work(Style::Quiet, async |_| engine.remote_manifest(reference).await)
}
