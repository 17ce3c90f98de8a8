//! What is in images and containers, file by file: how two images differ, what a container has changed, what each layer of
//! an image does.

use crate::{Engine, Error, Pause};
pub use rbuild_archive::EntryKind as FileKind;
use rbuild_cache::{ImageRecord, LayerId};
pub use rbuild_image::{Change, Difference, FileChange, LayerEffect};
use rbuild_image::{FileTree, directory_tar, layer_tar};
use rbuild_oci::{DiffId, ImageConfig, ImageId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How two images differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDifference {
    /// Files, in the order of their paths.
    pub files: Vec<FileChange>,
    /// What made each layer of the newer image, lowest first.
    pub made_by: Vec<String>,
    /// Fields of the configs, with their values in the older and the newer image.
    pub config: Vec<(String, Option<String>, Option<String>)>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerReport {
    /// Its identity.
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size: u64,
    /// What made it.
    pub made_by: String,
    /// What it does to the files below it.
    pub effect: LayerEffect,
}

/// What a container did to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerChange {
    /// It made it.
    Added,
    /// It changed it, or something in it.
    Changed,
    /// It removed it.
    Removed,
}

impl Engine {
    /// How the image called `newer` differs from the one called `older`.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::LayersElsewhere`] for an image that [`Engine::fetch_layers`] has to fetch first;
    /// [`Error::Image`] when a layer is damaged.
    pub fn compare_images(&self, older: &str, newer: &str) -> Result<ImageDifference, Error> {
        let lease = self.store.lease()?;
        let [older, newer] = [self.held_image(older, None, &lease)?, self.held_image(newer, None, &lease)?];
        self.check_layers(&older.stack())?;
        self.check_layers(&newer.stack())?;
        let (old_stack, new_stack) = (older.stack(), newer.stack());
        let common = old_stack.iter().zip(&new_stack).take_while(|(old, new)| old == new).count();
        // what both stand on is read once
        let mut before = FileTree::default();
        self.read_layers(&mut before, &old_stack, 0..common)?;
        let mut after = before.clone();
        self.read_layers(&mut before, &old_stack, common..old_stack.len())?;
        self.read_layers(&mut after, &new_stack, common..new_stack.len())?;
        let [old, new] = [self.image_config(&older.id)?, self.image_config(&newer.id)?];
        Ok(ImageDifference {
            files: before.changes_to(&after),
            made_by: made_by(&new),
            config: fields_changed(&old, &new),
        })
    }

    /// The paths that a container has changed, in order, each with a slash before it. A directory in which something has
    /// changed counts as changed.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Store`], [`Error::Image`] when a layer is damaged.
    pub fn container_changes(&self, name: &str) -> Result<Vec<(String, ContainerChange)>, Error> {
        let container = self.container(name)?;
        let lease = self.store.lease()?;
        let (draft, _) = self.held_changes(&container, &lease, (Pause::Nothing, &mut || {}))?;
        let mut before = FileTree::default();
        let count = container.layers.len();
        self.read_layers(&mut before, &container.layers, 0..count)?;
        let mut after = before.clone();
        after.add(directory_tar(&self.store, draft.fs())?, count)?;
        let mut changes = BTreeMap::new();
        let mut parents = BTreeSet::new();
        for change in before.changes_to(&after) {
            let path = format!("/{}", String::from_utf8_lossy(&change.path));
            // with a directory that is there are those above it
            for (end, _) in path.rmatch_indices('/') {
                if end == 0 || !parents.insert(path[..end].to_owned()) {
                    break;
                }
            }
            changes.insert(
                path,
                match change.change {
                    Change::Added(_) => ContainerChange::Added,
                    Change::Changed(_) => ContainerChange::Changed,
                    Change::Removed => ContainerChange::Removed,
                },
            );
        }
        for parent in parents {
            changes.entry(parent).or_insert(ContainerChange::Changed);
        }
        Ok(changes.into_iter().collect())
    }

    /// The layers of the image called `name`, lowest first, and its id.
    ///
    /// # Errors
    /// As [`Engine::compare_images`].
    pub fn image_layers(&self, name: &str) -> Result<(ImageId, Vec<LayerReport>), Error> {
        let lease = self.store.lease()?;
        let image = self.held_image(name, None, &lease)?;
        self.check_layers(&image.stack())?;
        let made_by = made_by(&self.image_config(&image.id)?);
        let mut tree = FileTree::default();
        let effects = self.read_layers(&mut tree, &image.stack(), 0..image.layers.len())?;
        Ok((image.id, self.reports(&image, made_by, effects)))
    }

    fn reports(
        &self,
        image: &ImageRecord,
        made_by: Vec<String>,
        effects: Vec<LayerEffect>,
    ) -> Vec<LayerReport> {
        let mut made_by = made_by.into_iter();
        let report = |(layer, effect): (&rbuild_cache::ImageLayer, LayerEffect)| LayerReport {
            diff_id: layer.diff_id,
            size: self.layer_size(layer),
            made_by: made_by.next().unwrap_or_default(),
            effect,
        };
        image.layers.iter().zip(effects).map(report).collect()
    }

    /// Puts some layers of a stack over what is in `tree`.
    fn read_layers(
        &self,
        tree: &mut FileTree,
        stack: &[LayerId],
        numbers: std::ops::Range<usize>,
    ) -> Result<Vec<LayerEffect>, Error> {
        let read = |number: usize| Ok(tree.add(layer_tar(&self.store, &stack[number])?, number)?);
        numbers.map(read).collect()
    }
}

/// What made each layer of an image, lowest first: the instruction, or else the remark.
fn made_by(config: &ImageConfig) -> Vec<String> {
    let with_layers = config.history.iter().filter(|entry| !entry.empty_layer);
    let words = with_layers.map(|entry| match entry.created_by.as_str() {
        "" => entry.comment.clone(),
        instruction => instruction.to_owned(),
    });
    words.collect()
}

/// The fields in which two configs differ, by name.
fn fields_changed(old: &ImageConfig, new: &ImageConfig) -> Vec<(String, Option<String>, Option<String>)> {
    let (old, new) = (fields(old), fields(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| (name.clone(), old.get(name).cloned(), new.get(name).cloned()))
        .collect()
}

/// The fields of a config that are set, those with names of their own (`Env.PATH`, `Labels.a`) one by one.
fn fields(config: &ImageConfig) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut set = |name: String, value: &str| {
        if !value.is_empty() {
            fields.insert(name, value.to_owned());
        }
    };
    set("Author".to_owned(), &config.author);
    set("Architecture".to_owned(), &config.architecture);
    set("Os".to_owned(), &config.os);
    set("Variant".to_owned(), &config.variant);
    let settings = serde_json::to_value(&config.config).unwrap_or_default();
    for (name, value) in settings.as_object().into_iter().flatten() {
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::Array(variables) if name == "Env" => {
                for (variable, value) in
                    variables.iter().filter_map(Value::as_str).filter_map(|pair| pair.split_once('='))
                {
                    set(format!("Env.{variable}"), value);
                }
            }
            Value::Object(members) if name != "Healthcheck" => {
                for (member, value) in members {
                    set(format!("{name}.{member}"), value.as_str().unwrap_or("set"));
                }
            }
            Value::String(text) => set(name.clone(), text),
            other => set(name.clone(), &other.to_string()),
        }
    }
    fields
}
