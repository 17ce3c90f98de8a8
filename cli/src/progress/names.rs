//! What activities and remarks are called, in BuildKit's words.

use crate::{failure::plain, shown::one_line};
use rbuild::{Activity, ArchiveFormat, Event, Note, RegistryNotice, StepHolder, Warning};
use rbuild_docker_api::{human_size, shortened};

/// The longest name of a step that people are shown: an instruction may be as long as a file.
pub(crate) const NAME_WIDTH: usize = 500;

/// The name of an activity as people are shown it.
pub(super) fn short_name(what: &Activity) -> String {
    shortened(&name(what), NAME_WIDTH)
}

/// The name of an activity.
pub(super) fn name(what: &Activity) -> String {
    match what {
        Activity::LoadDefinition { file } => format!("[internal] load build definition from {file}"),
        Activity::LoadMetadata { image, context, platform } => {
            let platform = platform.as_ref().map(|platform| format!("{platform} ")).unwrap_or_default();
            let place =
                context.as_ref().map_or("internal".to_owned(), |context| format!("context {context}"));
            format!("[{platform}{place}] load metadata for {image}")
        }
        Activity::AskStore { image, store } => format!("[internal] look for {image} in {store}"),
        Activity::FetchSource { source } => source.clone(),
        Activity::FetchLayers { image } => format!("[internal] fetch layers of {image}"),
        Activity::ImportMount { id } => format!("importing cache mount {id}"),
        Activity::ImportCache { from } => format!("importing cache manifest from {from}"),
        Activity::ExportCache { to } => format!("exporting cache to {to}"),
        Activity::Step(step) if step.position.is_empty() => step.instruction.clone(),
        Activity::Step(step) => format!("{} {}", step.position, step.instruction),
        Activity::RepeatStep(step) => format!("verify {} {}", step.position, step.instruction),
        Activity::Export => "exporting to image".to_owned(),
        Activity::ExportImage { format: ArchiveFormat::Oci } => "exporting to oci image format".to_owned(),
        Activity::ExportImage { format: ArchiveFormat::Docker } => {
            "exporting to docker image format".to_owned()
        }
        Activity::ExportTar => "exporting to client tarball".to_owned(),
        Activity::ExportDirectory => "exporting to client directory".to_owned(),
        Activity::Load => "loading images".to_owned(),
        Activity::Pull { image } => format!("pulling {image}"),
        Activity::Push { image } => format!("pushing {image}"),
        Activity::LoadIntoDaemon { daemon } => format!("loading into the daemon at {daemon}"),
    }
}

/// A remark.
pub(super) fn note(note: &Note) -> String {
    match note {
        Note::AwaitsOtherBuild { holder: None, .. } => "waiting for another build of this step".to_owned(),
        Note::AwaitsOtherBuild { holder: Some(StepHolder { build, process, subject, .. }), running } => {
            let (build, seconds) = (build.short(), running.as_secs());
            format!(
                "waiting for build {build} of {subject} (process {process}), which has run this step for {seconds} s"
            )
        }
        Note::AwaitsJob { jobs: 1 } => "waiting for a step of another build to end (--jobs 1)".to_owned(),
        Note::AwaitsJob { jobs } => format!("waiting for one of {jobs} running steps to end (--jobs {jobs})"),
        Note::AwaitsMemory { expected, available } => format!(
            "waiting for memory: this step took {} before, and {} are free beside the steps that run",
            human_size(*expected),
            human_size(*available)
        ),
        Note::CacheMountEmptied { id, bytes, most } => format!(
            "cache mount {id} had {} and may have {}: it was emptied",
            human_size(*bytes),
            human_size(*most)
        ),
        Note::RootsAreCopied => {
            "overlayfs is refused for this store: roots are copied, which takes time and room".to_owned()
        }
        Note::NetworkIsTheHosts { reason } => {
            format!("{reason}: the network of RUN is the host's, whose local services it can reach")
        }
        Note::NetworkBrokeOff => {
            "pasta ended while a RUN ran (was it killed, or memory short?): its network broke off".to_owned()
        }
        Note::LimitUnmet { flags, reason } => format!("no effect of {flags}: {reason}"),
        Note::BlobExists { blob } => format!("{blob}: already exists"),
        Note::NothingToShare => "skipping cache export for empty result".to_owned(),
        Note::ImageExists => "the daemon has the image already".to_owned(),
        Note::LayersExist { present, all } => format!("the daemon has {present} of {all} layers already"),
        Note::BlobMounted { blob, from } => format!("{blob}: mounted from {from}"),
        Note::Blob { blob, remark } => format!("{blob}: {remark}"),
    }
}

/// The text of a wait for a registry. It is worth a line while it lasts; afterwards the transfer has gone on, or its error
/// says the same.
pub(super) fn wait(event: &Event) -> Option<String> {
    let Event::Warning(warning @ Warning::Registry(RegistryNotice::Waiting { .. })) = event else {
        return None;
    };
    Some(one_line(&format!("WARN: {}", plain(&warning.to_string()))).into_owned())
}

/// The text of a warning of either kind.
pub(super) fn warning(event: &Event) -> Option<String> {
    match event {
        Event::Found(finding) => Some(finding.to_string()),
        Event::Warning(warning) => Some(plain(&warning.to_string())),
        Event::Begun { .. }
        | Event::Output { .. }
        | Event::Transferred { .. }
        | Event::Note { .. }
        | Event::Missed { .. }
        | Event::Ended { .. }
        | Event::Recorded(_) => None,
    }
}
