//! `manifest`: lists of the manifests of registries.

use crate::{
    app::App,
    args::{
        ManifestAnnotateArgs, ManifestCommand, ManifestCreateArgs, ManifestInspectArgs, ManifestPushArgs,
        ManifestRmArgs,
    },
    error::CliError,
    exit,
    options::{Certificates, image_name, reference},
    progress::Style,
    streams::{print, print_data},
    working::work,
};
use rbuild::{
    Engine, ImageName, IndexEntry, ListedManifest, ManifestList, ManifestOrIndex, Platform, Reference,
    RemoteManifest, combined_index,
};
use rbuild_docker_api::{entry_name, manifest_document, manifest_in_full, manifest_list, with_tabs};
use serde_json::Value;

/// Carries out one of the commands.
pub(super) fn manifest(app: &App, command: &ManifestCommand) -> Result<(), CliError> {
    match command {
        ManifestCommand::Create(args) => create(app, args),
        ManifestCommand::Annotate(args) => annotate(app, args),
        ManifestCommand::Inspect(args) => inspect(app, args),
        ManifestCommand::Push(args) => push(app, args),
        ManifestCommand::Rm(args) => remove(app, args),
    }
}

fn engine(app: &App, insecure: bool) -> Result<Engine, CliError> {
    let certificates = if insecure { Certificates::Unchecked } else { Certificates::Checked };
    app.engine_with_registries(certificates)
}

fn create(app: &App, args: &ManifestCreateArgs) -> Result<(), CliError> {
    let name = image_name(&args.list)?;
    let engine = engine(app, args.insecure)?;
    let known = engine.manifest_list(&name)?;
    if known.is_some() && !args.amend {
        let refused = "refusing to amend an existing manifest list with no --amend flag";
        return Err(CliError::Refused(refused.to_owned()));
    }
    let mut list = known.unwrap_or(ManifestList { name: name.clone(), entries: Vec::new() });
    for text in &args.manifests {
        let reference = reference(text)?;
        let found = fetched(&engine, &reference)?;
        if matches!(found.document, ManifestOrIndex::Index(_)) {
            return Err(CliError::Refused(format!("{text} is a manifest list")));
        }
        let entries = work(Style::Quiet, async |_| engine.index_entries(&found).await)?;
        let listed =
            |entry: IndexEntry| ListedManifest { reference: entry.from, descriptor: entry.descriptor };
        for entry in entries.into_iter().map(listed) {
            // one that is there stays in its place
            match list.entries.iter_mut().find(|known| known.reference.to_string() == reference.to_string()) {
                Some(known) => *known = entry,
                None => list.entries.push(entry),
            }
        }
    }
    engine.keep_manifest_list(&list)?;
    print(&format!("Created manifest list {name}\n"))
}

fn annotate(app: &App, args: &ManifestAnnotateArgs) -> Result<(), CliError> {
    let (name, wanted) = (image_name(&args.list)?, reference(&args.manifest)?);
    let engine = app.engine()?;
    let missing = || {
        let message = format!("manifest for image {} does not exist in {}", args.manifest, args.list);
        CliError::Refused(message)
    };
    let mut list = engine.manifest_list(&name)?.ok_or_else(missing)?;
    let same = |entry: &&mut ListedManifest| entry.reference.to_string() == wanted.to_string();
    let entry = list.entries.iter_mut().find(same).ok_or_else(missing)?;
    let before = entry.descriptor.platform.clone().unwrap_or_else(Platform::host);
    let given = |flag: &Option<String>| flag.clone().filter(|text| !text.is_empty());
    let architecture = given(&args.arch);
    // the variant of another architecture says nothing
    let kept = architecture.as_ref().is_none_or(|architecture| *architecture == before.architecture);
    entry.descriptor.platform = Some(Platform {
        variant: given(&args.variant).or(before.variant.filter(|_| kept)),
        architecture: architecture.unwrap_or(before.architecture),
        os: given(&args.os).unwrap_or(before.os),
        os_version: given(&args.os_version).or(before.os_version),
        os_features: if args.os_features.is_empty() {
            before.os_features
        } else {
            args.os_features.clone().into()
        },
    });
    Ok(engine.keep_manifest_list(&list)?)
}

fn inspect(app: &App, args: &ManifestInspectArgs) -> Result<(), CliError> {
    let engine = engine(app, args.insecure)?;
    let (list, name) = match args.names.as_slice() {
        [list, name] => (Some(list), name),
        names => (None, &names[0]),
    };
    let wanted = reference(name)?;
    if let Some(list) = list {
        let known = engine.manifest_list(&image_name(list)?)?.ok_or_else(|| no_such(list))?;
        let same = |entry: &&ListedManifest| entry.reference.to_string() == wanted.to_string();
        let entry = known.entries.iter().find(same).ok_or_else(|| no_such(name))?;
        let found = fetched(&engine, &wanted.with_digest(entry.descriptor.digest))?;
        return show(&engine, (&wanted, &found), args.verbose);
    }
    let known = match ImageName::new(wanted.clone()) {
        Ok(name) => engine.manifest_list(&name)?,
        Err(_) => None,
    };
    match known {
        Some(list) if args.verbose => {
            let full = |entry: &ListedManifest| {
                let found = fetched(&engine, &entry.reference.with_digest(entry.descriptor.digest))?;
                Ok(manifest_in_full(&entry.reference.to_string(), &entry.descriptor, &found.bytes))
            };
            let all = list.entries.iter().map(full).collect::<Result<Vec<_>, CliError>>()?;
            print_data(&(with_tabs(&Value::Array(all)) + "\n"))
        }
        Some(list) => print_data(&(manifest_list(&combined_index(&entries(&list))) + "\n")),
        None => show(&engine, (&wanted, &fetched(&engine, &wanted)?), args.verbose),
    }
}

/// Shows what a registry has.
fn show(
    engine: &Engine,
    (wanted, found): (&Reference, &RemoteManifest),
    verbose: bool,
) -> Result<(), CliError> {
    let text = match &found.document {
        ManifestOrIndex::Index(index) if !verbose => manifest_list(index),
        ManifestOrIndex::Index(index) => {
            let mut all = Vec::new();
            for entry in &index.manifests {
                let part = fetched(engine, &wanted.with_digest(entry.digest))?;
                all.push(manifest_in_full(&entry_name(wanted, entry), entry, &part.bytes));
            }
            with_tabs(&Value::Array(all))
        }
        ManifestOrIndex::Manifest(_) if !verbose => manifest_document(&found.bytes),
        ManifestOrIndex::Manifest(_) => {
            let entries = work(Style::Quiet, async |_| engine.index_entries(found).await)?;
            let descriptor = entries.first().map_or(&found.descriptor, |entry| &entry.descriptor);
            with_tabs(&manifest_in_full(&wanted.to_string(), descriptor, &found.bytes))
        }
    };
    print_data(&(text + "\n"))
}

fn push(app: &App, args: &ManifestPushArgs) -> Result<(), CliError> {
    let name = image_name(&args.list)?;
    let engine = engine(app, args.insecure)?;
    let list = engine.manifest_list(&name)?.ok_or_else(|| no_such(&args.list))?;
    let entries = entries(&list);
    for entry in &entries {
        work(Style::Quiet, async |_| engine.copy_entry(entry, &name).await)?;
        let pushed = name.as_reference().with_digest(entry.descriptor.digest);
        print(&format!("Pushed ref {pushed} with digest: {}\n", entry.descriptor.digest))?;
    }
    let index = combined_index(&entries);
    let bytes = manifest_list(&index).into_bytes();
    let pushed = work(Style::Quiet, async |_| engine.push_manifest(&name, &index.media_type, bytes).await)?;
    if args.purge {
        engine.remove_manifest_list(&name)?;
    }
    print(&format!("{pushed}\n"))
}

/// Removes each list that is there, and reports those that are not.
fn remove(app: &App, args: &ManifestRmArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    let mut code = 0;
    for list in &args.lists {
        if !engine.remove_manifest_list(&image_name(list)?)? {
            let error = no_such(list);
            code = exit::code(&error);
            exit::report(&error, app.environment.color());
        }
    }
    if code == 0 { Ok(()) } else { Err(CliError::Reported { code }) }
}

fn entries(list: &ManifestList) -> Vec<IndexEntry> {
    let entry = |entry: &ListedManifest| IndexEntry {
        from: entry.reference.clone(),
        descriptor: entry.descriptor.clone(),
    };
    list.entries.iter().map(entry).collect()
}

fn no_such(list: &str) -> CliError {
    CliError::Refused(format!("No such manifest: {list}"))
}

fn fetched(engine: &Engine, reference: &Reference) -> Result<RemoteManifest, CliError> {
    work(Style::Quiet, async |_| engine.remote_manifest(reference).await)
}
