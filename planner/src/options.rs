//! What a build asks for besides the Dockerfile, and the images that were found for it.

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
    /// Which stages are planned.
    pub selection: Selection,
    /// Whether positions begin with the platform.
    pub position: PositionStyle,
    /// What becomes of a RUN that needs an entitlement.
    pub entitlements: Entitlements,
}

/// Whether RUN gets what only a builder's owner can grant: `--security=insecure` and `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entitlements {
    /// It is an error to ask for it.
    None,
    /// Nothing is run, so nothing has to be granted.
    NotNeeded,
}

/// The host name inside RUN when nobody chose one.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// A `--build-context`. Directories are only keys here: the caller knows the paths.
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

/// What must not come from the cache.
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

/// Which stages are planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// What the target needs.
    #[default]
    Target,
    /// All of them, as a check of the whole file wants.
    Everything,
}

/// How `[stage i/n]` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PositionStyle {
    /// `[stage i/n]`.
    #[default]
    Plain,
    /// `[linux/amd64 stage i/n]`, for builds of several platforms.
    WithPlatform,
}

/// What an image is wanted for.
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
    /// For which platform.
    pub platform: Platform,
    /// The instruction that names it.
    pub lines: Option<Lines>,
    /// What for.
    pub purpose: Purpose,
    /// The named context whose OCI layout holds it; `None` when it is in a registry or the local store.
    pub layout: Option<String>,
}

/// What a reference and platform turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedImage {
    /// Its identity.
    pub id: ImageId,
    /// Its config.
    pub config: ImageConfig,
    /// How many layers it has.
    pub layers: usize,
}

impl PlanOptions {
    /// The options of a build that asks for nothing in particular, on a machine of `build_platform`.
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
            entitlements: Entitlements::None,
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

    /// Whether steps of the stage `name` must not come from the cache.
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
