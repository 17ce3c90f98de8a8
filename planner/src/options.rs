//! The options of a build besides the Dockerfile, and the images that were found for it.

use crate::run_modes::Network;
use rbuild_oci::{ImageConfig, ImageId, Platform, Reference};
use rbuild_parser::Lines;
use std::collections::BTreeMap;

/// The options of a build that shape its plan.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// `--target`; the last stage when `None` or empty.
    pub target: Option<String>,
    /// `--build-arg`s; the last of a name wins.
    pub build_args: Vec<(String, String)>,
    /// The platform that was asked for; `None` leaves it to the base image.
    pub platform: Option<Platform>,
    /// The platform of the machine that builds.
    pub build_platform: Platform,
    /// `--label`s, which override the Dockerfile's.
    pub labels: Vec<(String, String)>,
    /// `--network`.
    pub network: Network,
    /// `--build-context`s by name.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// `--no-cache` and `--no-cache-filter`.
    pub no_cache: NoCache,
    /// Host name inside RUN; [`DEFAULT_HOSTNAME`] when neither this nor `BUILDKIT_SANDBOX_HOSTNAME` says otherwise.
    pub hostname: Option<String>,
    /// The stages to plan.
    pub selection: Selection,
    /// The form of positions, which may begin with the platform.
    pub position: PositionStyle,
    /// The times of what `SOURCE_DATE_EPOCH` may name, in seconds since 1970 (see [`crate::epoch_source`]).
    pub source_times: BTreeMap<String, i64>,
}

/// The host name inside RUN when the user chose none.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// A `--build-context`. A directory has no path here, because the caller finds it by the context's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A local directory, or anything else that is unpacked to one.
    Directory,
    /// `docker-image://REF`.
    Image(Reference),
    /// `docker-image://scratch`.
    Scratch,
    /// `oci-layout://…`: an image the caller finds by the context's name.
    OciLayout,
}

/// The steps that must not come from the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// The cache is used everywhere.
    #[default]
    None,
    /// No RUN, COPY or ADD uses it.
    All,
    /// No RUN, COPY or ADD of these stages does (names in any case).
    Stages(Vec<String>),
}

/// The stages to plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The stages that the target needs.
    #[default]
    Target,
    /// All stages, for a check of the whole file.
    Everything,
}

/// The form of `[stage i/n]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PositionStyle {
    /// `[stage i/n]`.
    #[default]
    Plain,
    /// `[linux/amd64 stage i/n]`, for builds of several platforms.
    WithPlatform,
}

/// The purpose of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A stage starts from it; its config matters.
    Base,
    /// Files are copied or mounted from it.
    Files,
}

/// An image that has to be found before the plan can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// Its name, normalised.
    pub reference: Reference,
    /// Its name as the Dockerfile has it, after expansion.
    pub written: String,
    /// The platform that it is requested for.
    pub platform: Platform,
    /// The instruction that names it.
    pub lines: Option<Lines>,
    /// The purpose of the image.
    pub purpose: Purpose,
    /// The named context whose OCI layout holds it; `None` when it is in a registry or the local store.
    pub layout: Option<String>,
}

/// The image that was found for a reference and platform.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedImage {
    /// The image's identity.
    pub id: ImageId,
    /// The image's config.
    pub config: ImageConfig,
    /// Number of layers of the image.
    pub layers: usize,
}

impl PlanOptions {
    /// The default options of a build on a machine of `build_platform`.
    #[must_use]
    pub fn new(build_platform: Platform) -> Self {
        Self {
            target: None,
            build_args: Vec::new(),
            platform: None,
            build_platform,
            labels: Vec::new(),
            network: Network::Default,
            named_contexts: BTreeMap::new(),
            no_cache: NoCache::None,
            hostname: None,
            selection: Selection::Target,
            position: PositionStyle::Plain,
            source_times: BTreeMap::new(),
        }
    }

    /// The stage that was asked for.
    pub(crate) fn target(&self) -> Option<&str> {
        self.target.as_deref().filter(|target| !target.is_empty())
    }

    /// The platform stages are built for unless they say otherwise.
    pub(crate) fn target_platform(&self) -> &Platform {
        self.platform.as_ref().unwrap_or(&self.build_platform)
    }

    /// True if steps of the stage `name` must not come from the cache.
    pub(crate) fn ignores_cache(&self, name: Option<&str>) -> bool {
        match &self.no_cache {
            NoCache::None => false,
            NoCache::All => true,
            NoCache::Stages(stages) => {
                name.is_some_and(|name| stages.iter().any(|stage| stage.eq_ignore_ascii_case(name)))
            }
        }
    }
}
