//! What `--output`, `--push`, `--load` and `--annotation` mean together.

mod annotations;
mod attributes;

use super::packing::packing;
use crate::error::UsageError;
use annotations::{Annotation, Place};
use attributes::Attributes;
pub(super) use attributes::fields;
use rbuild::{
    ArchiveFormat, CanonicalName, ImageForm, ImageName, LayerTimes, MediaTypes, PlatformSplit, PushedAs,
    StaleFiles,
};
use std::path::PathBuf;

/// The outputs of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildOutputs {
    /// Those of each target. The first is the one of the build, unless that has no outputs and others have.
    pub(crate) targets: Vec<TargetOutputs>,
    /// `rewrite-timestamp`.
    pub(crate) layer_times: LayerTimes,
    /// `source-date-epoch`.
    pub(crate) epoch: Option<i64>,
    /// `registry.insecure`: hosts that may have any certificate, or none.
    pub(crate) insecure: Vec<String>,
}

/// The outputs of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetOutputs {
    /// Its name; `None` is the last stage.
    pub(crate) target: Option<String>,
    /// In the order in which they are made.
    pub(crate) outputs: Vec<BuildOutput>,
    /// `--load`, and each `type=docker` without a destination.
    pub(crate) loads: Vec<Load>,
}

/// An image that is given to a running docker or podman.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Its names there.
    pub(crate) names: Vec<ImageName>,
    /// The context of docker's client that leads there, when it is not the usual one.
    pub(crate) context: Option<String>,
}

/// An output whose files are not open yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BuildOutput {
    /// An image in the store.
    Store { names: Vec<ImageName> },
    /// An image in the store, named by its manifest's digest in a repository.
    Pin { repository: ImageName },
    /// An image in registries.
    Registry { names: Vec<ImageName>, place: PushedAs, form: ImageForm, canonical: CanonicalName },
    /// An image in an archive.
    Archive { destination: ArchivePlace, format: ArchiveFormat, names: Vec<ImageName>, form: ImageForm },
    /// The files in a tar.
    Tar(FilePlace),
    /// The files in a directory.
    Directory { path: PathBuf, stale: StaleFiles, split: PlatformSplit },
}

/// Where an archive goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ArchivePlace {
    /// One file.
    File(FilePlace),
    /// A directory.
    Directory(PathBuf),
}

/// Where one file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilePlace {
    /// To this path.
    Path(PathBuf),
    /// To standard output.
    Stdout,
}

/// Where `mode=delete` may remove files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Removal {
    /// In the working directory.
    #[default]
    Inside,
    /// Anywhere.
    Anywhere,
}

/// What was typed.
pub(super) struct Typed<'a> {
    pub(super) outputs: &'a [String],
    pub(super) annotations: &'a [String],
    pub(super) push: bool,
    pub(super) load: bool,
    /// `--target`.
    pub(super) target: Option<&'a str>,
    /// `--tag`.
    pub(super) names: &'a [ImageName],
}

/// The meaning of an output: what is made for it.
#[derive(Default)]
struct Meant {
    outputs: Vec<BuildOutput>,
    load: Option<Load>,
    layer_times: LayerTimes,
    epoch: Option<i64>,
    insecure: Vec<String>,
}

impl BuildOutputs {
    /// Settles what was typed.
    ///
    /// # Errors
    /// [`UsageError`], in Docker's words where it has some.
    pub(super) fn new(typed: &Typed<'_>) -> Result<Self, UsageError> {
        let asked = typed.outputs.iter().filter(|text| !text.is_empty());
        let mut asked = asked.map(|text| Attributes::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if typed.push && !asked.iter_mut().any(Attributes::push) {
            asked.push(Attributes::of("image", &[("push", "true")]));
        }
        let annotations: Vec<Annotation> = annotations::of_flags(typed.annotations)?;
        if asked.is_empty() && !annotations.is_empty() {
            return Err(no_manifest("annotation"));
        }
        let own = typed.target.map(str::to_owned);
        let mut by_target: Vec<(Option<String>, Vec<Meant>)> = vec![(own.clone(), Vec::new())];
        for mut asked in asked {
            let target = asked.take("target").filter(|target| !target.is_empty()).or_else(|| own.clone());
            // the names that were typed are those of the build's own target
            let names = if target == own { typed.names } else { &[] };
            let meant = meant(asked, names, &annotations)?;
            match by_target.iter_mut().find(|(known, _)| *known == target) {
                Some((_, all)) => all.push(meant),
                None => by_target.push((target, vec![meant])),
            }
        }
        let all = by_target.iter().flat_map(|(_, meant)| meant);
        let epoch = common(all.clone().map(|meant| meant.epoch), "source-date-epoch")?;
        let insecure = all.flat_map(|meant| meant.insecure.clone()).collect();
        let layer_times = common_times(by_target.iter().flat_map(|(_, meant)| meant))?;
        // the build's own target is built unless only others are asked for
        if by_target.len() > 1 && by_target[0].1.is_empty() && typed.names.is_empty() && !typed.load {
            by_target.remove(0);
        }
        let mut targets: Vec<TargetOutputs> =
            by_target.into_iter().map(|(target, meant)| target_outputs(target, meant, typed)).collect();
        for target in &mut targets {
            // a name in the store comes first, because a push notes its manifest with it
            target.outputs.sort_by_key(|output| !matches!(output, BuildOutput::Store { .. }));
        }
        let all = targets.iter().flat_map(|target| &target.outputs);
        if all.filter(|output| output.is_stdout()).count() > 1 {
            return Err(UsageError::in_build("multiple outputs configured to write to stdout"));
        }
        Ok(Self { targets, layer_times, epoch, insecure })
    }
}

/// The outputs of `target`, of which each of `meant` is a part.
fn target_outputs(target: Option<String>, meant: Vec<Meant>, typed: &Typed<'_>) -> TargetOutputs {
    let is_own = target.as_deref() == typed.target;
    let has_outputs = !meant.is_empty();
    let (mut outputs, mut loads) = (Vec::new(), Vec::new());
    for meant in meant {
        outputs.extend(meant.outputs);
        loads.extend(meant.load);
    }
    if is_own && typed.load && loads.is_empty() {
        loads.push(Load { names: typed.names.to_vec(), context: None });
    }
    let is_stored = outputs.iter().any(|output| matches!(output, BuildOutput::Store { .. }));
    if !is_stored && (!has_outputs || !loads.is_empty()) {
        // what is loaded is in the store as well
        let mut names: Vec<ImageName> = loads.iter().flat_map(|load| load.names.clone()).collect();
        if is_own && !has_outputs {
            names = typed.names.to_vec();
        }
        outputs.push(BuildOutput::Store { names });
    }
    TargetOutputs { target, outputs, loads }
}

/// The times in the image of all outputs that have one.
fn common_times<'a>(meant: impl Iterator<Item = &'a Meant>) -> Result<LayerTimes, UsageError> {
    let is_image = |meant: &&Meant| meant.load.is_some() || meant.outputs.iter().any(BuildOutput::is_image);
    common(meant.filter(is_image).map(|meant| meant.layer_times), "rewrite-timestamp")
}

/// What all outputs say of `attribute`.
fn common<T: PartialEq + Default>(
    mut values: impl Iterator<Item = T>,
    attribute: &str,
) -> Result<T, UsageError> {
    let first = values.next().unwrap_or_default();
    if values.any(|other| other != first) {
        let message = format!("{attribute} must be the same for all outputs of a build");
        return Err(UsageError::in_build(message));
    }
    Ok(first)
}

impl BuildOutput {
    /// True if it is written to standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(
            self,
            Self::Tar(FilePlace::Stdout)
                | Self::Archive { destination: ArchivePlace::File(FilePlace::Stdout), .. }
        )
    }

    /// The names that it gives.
    pub(crate) fn names(&self) -> &[ImageName] {
        match self {
            Self::Store { names } | Self::Registry { names, .. } | Self::Archive { names, .. } => names,
            Self::Tar(_) | Self::Directory { .. } | Self::Pin { .. } => &[],
        }
    }

    fn is_image(&self) -> bool {
        match self {
            Self::Store { .. } | Self::Pin { .. } | Self::Registry { .. } | Self::Archive { .. } => true,
            Self::Tar(_) | Self::Directory { .. } => false,
        }
    }
}

/// The meaning of one output.
fn meant(mut asked: Attributes, tags: &[ImageName], annotations: &[Annotation]) -> Result<Meant, UsageError> {
    let kind = asked.kind.clone();
    let epoch = asked.seconds("source-date-epoch")?;
    let only = |output: BuildOutput| Meant { outputs: vec![output], ..Meant::default() };
    let mut meant = match kind.as_str() {
        "cacheonly" => Meant::default(),
        "local" => only(local(&mut asked)?),
        "tar" => {
            asked.attestations()?;
            if asked.switch("platform-split")?.is_some() {
                return Err(UsageError::unsupported("platform-split of output type tar"));
            }
            only(BuildOutput::Tar(place(asked.file())))
        }
        "image" | "registry" | "oci" | "docker" => image(&mut asked, tags, annotations)?,
        other => return Err(UsageError::in_build(format!("unknown output type {other:?}"))),
    };
    asked.finish()?;
    meant.epoch = epoch;
    Ok(meant)
}

fn local(asked: &mut Attributes) -> Result<BuildOutput, UsageError> {
    asked.attestations()?;
    let path = asked.directory()?;
    let stale = match asked.take("mode").as_deref() {
        None | Some("copy") => StaleFiles::Kept,
        Some("delete") => StaleFiles::Removed,
        Some(other) => return Err(UsageError::in_build(format!("unknown local exporter mode {other:?}"))),
    };
    let split = match asked.switch("platform-split")? {
        Some(true) => PlatformSplit::Always,
        Some(false) => return Err(UsageError::unsupported("platform-split=false of output type local")),
        None => PlatformSplit::OfSeveral,
    };
    Ok(BuildOutput::Directory { path, stale, split })
}

fn image(
    asked: &mut Attributes,
    tags: &[ImageName],
    annotations: &[Annotation],
) -> Result<Meant, UsageError> {
    let kind = asked.kind.clone();
    let given = asked.names()?;
    let names = if tags.is_empty() { given } else { tags.to_vec() };
    let layer_times = times(asked)?;
    let (form, special) = form(asked, annotations)?;
    if matches!(kind.as_str(), "oci" | "docker") {
        let format = if kind == "oci" { ArchiveFormat::Oci } else { ArchiveFormat::Docker };
        let is_tar = asked.switch("tar")?.unwrap_or(true);
        if kind == "docker" && is_tar && asked.has_no_destination() {
            asked.take("dest");
            let context = asked.take("context").filter(|context| !context.is_empty());
            return match special {
                Some(attribute) => Err(no_manifest(&attribute)),
                None => Ok(Meant { load: Some(Load { names, context }), layer_times, ..Meant::default() }),
            };
        }
        let destination = if is_tar {
            ArchivePlace::File(place(asked.file()))
        } else {
            ArchivePlace::Directory(asked.directory()?)
        };
        let outputs = vec![BuildOutput::Archive { destination, format, names, form }];
        return Ok(Meant { outputs, layer_times, ..Meant::default() });
    }
    let push = asked.switch("push")?.unwrap_or(kind == "registry");
    let by_digest = asked.switch("push-by-digest")?.unwrap_or(false);
    let canonical = asked.switch("name-canonical")?.unwrap_or(false);
    let insecure = asked.switch("registry.insecure")?.unwrap_or(false);
    let pinned = pinned(asked, &names)?;
    let store = asked.switch("store")?.unwrap_or(true);
    // every image of the store is unpacked
    asked.switch("unpack")?;
    if !form.index_descriptor_annotations.is_empty() {
        return Err(annotations::of_index_descriptor());
    }
    if !push {
        let attribute =
            special.or((by_digest || canonical).then(|| "push-by-digest and name-canonical".to_owned()));
        if let Some(attribute) = attribute {
            return Err(no_manifest(&attribute));
        }
    } else if names.is_empty() {
        return Err(UsageError::in_build("tag is needed when pushing to registry"));
    }
    let hosts = names.iter().filter(|_| push && insecure).map(|name| name.as_reference().domain().to_owned());
    let hosts = hosts.collect();
    // an image that is pushed by its digest has no tag here either
    let local = if push && by_digest { Vec::new() } else { names.clone() };
    let stored = store.then_some(BuildOutput::Store { names: local });
    let place = if by_digest { PushedAs::Digest } else { PushedAs::Tag };
    let canonical = if canonical { CanonicalName::Given } else { CanonicalName::Absent };
    let pushed = push.then_some(BuildOutput::Registry { names, place, form, canonical });
    let outputs = stored.into_iter().chain(pinned).chain(pushed).collect();
    Ok(Meant { outputs, layer_times, insecure: hosts, ..Meant::default() })
}

/// `dangling-name-prefix`: a name by digest, of an image that has no other one, unless it is for those too.
fn pinned(asked: &mut Attributes, names: &[ImageName]) -> Result<Option<BuildOutput>, UsageError> {
    // so spelled in docker
    let unnamed_only = asked.switch("danging-name-empty-only")?.unwrap_or(false);
    let prefix = asked.take("dangling-name-prefix").filter(|prefix| !prefix.is_empty());
    let Some(prefix) = prefix.filter(|_| names.is_empty() || !unnamed_only) else { return Ok(None) };
    Ok(Some(BuildOutput::Pin { repository: super::tag(&prefix)? }))
}

fn place(path: Option<PathBuf>) -> FilePlace {
    path.map_or(FilePlace::Stdout, FilePlace::Path)
}

fn times(asked: &mut Attributes) -> Result<LayerTimes, UsageError> {
    if asked.switch("rewrite-timestamp")? != Some(true) {
        return Ok(LayerTimes::AsTheyAre);
    }
    if asked.peek("unpack").is_some_and(|value| value == "true") {
        return Err(conflict("rewrite-timestamp", "unpack"));
    }
    Ok(LayerTimes::Clamped)
}

/// The form of an image, and the attribute that asks for another than the usual one.
fn form(asked: &mut Attributes, of_flags: &[Annotation]) -> Result<(ImageForm, Option<String>), UsageError> {
    let compression = asked.take("compression");
    let level = asked.take("compression-level");
    let force = asked.switch("force-compression")?.unwrap_or(false);
    let oci = asked.switch("oci-mediatypes")?;
    for off in ["oci-artifact", "attestation-inline"] {
        asked.off(off, "attestations are not made")?;
    }
    asked.off("prefer-nondist-layers", "a layer leaves rbuild as one that may be distributed")?;
    let mut annotations = asked.annotations()?;
    annotations.extend(of_flags.iter().cloned());
    let packing = packing(compression.as_deref(), level.as_deref(), force)?;
    if oci == Some(false) {
        if compression.as_deref() == Some("zstd") {
            return Err(conflict("compression=zstd", "oci-mediatypes=false"));
        }
        if !annotations.is_empty() {
            return Err(conflict("annotations", "oci-mediatypes=false"));
        }
    }
    let special = if annotations.is_empty() {
        let attributes = [
            ("compression", compression.is_some_and(|format| format != "gzip")),
            ("compression-level", level.is_some()),
            ("force-compression", force),
            ("oci-mediatypes=false", oci == Some(false)),
        ];
        attributes.iter().find(|(_, asked)| *asked).map(|(name, _)| (*name).to_owned())
    } else {
        Some("annotation".to_owned())
    };
    let mut form = ImageForm::packed(packing);
    if oci == Some(false) {
        form.media_types = MediaTypes::Docker;
    }
    for Annotation { place, platform, key, value } in annotations {
        match place {
            Place::Manifest => form.annotations.insert(platform, key, value),
            Place::ManifestDescriptor => form.descriptor_annotations.insert(platform, key, value),
            // an index is for all platforms
            Place::Index => drop(form.index_annotations.insert(key, value)),
            Place::IndexDescriptor => drop(form.index_descriptor_annotations.insert(key, value)),
        }
    }
    Ok((form, special))
}

/// What the store has no room for: it keeps layers as directories and no manifest, so an image gets its form when it leaves.
fn no_manifest(attribute: &str) -> UsageError {
    UsageError::in_build(format!(
        "{attribute} says nothing of an image in the store, which gets its form when it leaves: add push=true, or a dest to type=oci or type=docker"
    ))
}

fn conflict(one: &str, other: &str) -> UsageError {
    UsageError::in_build(format!("exporter option {one:?} conflicts with {other:?}"))
}

#[cfg(test)]
#[path = "../outputs_tests.rs"]
mod tests;
