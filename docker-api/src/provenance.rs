//! What `--metadata-file` says of how a build was made: SLSA provenance, in the form of BuildKit's version 0.2, and findings.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rbuild::{
    BuildEnd, BuildRecord, BuildRequest, BuildState, Built, DockerfileSource, LockedImage, MountNeed,
    Network, NoCache, Platform, Reference,
};
use serde_json::{Map, Value, json};

/// How much of a build its provenance says (`BUILDX_METADATA_PROVENANCE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvenanceMode {
    /// What it was asked for, and what it stands on.
    #[default]
    Min,
    /// When it was made as well.
    Max,
    /// Nothing.
    Disabled,
}

impl ProvenanceMode {
    /// The meaning of the variable, of which Docker takes what it does not know for `min`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "max" => Self::Max,
            "disabled" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Self::Disabled,
            _ => Self::Min,
        }
    }
}

/// The request of a build, as its provenance has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    value: Value,
    platform: Platform,
}

impl Invocation {
    /// That of `request` on this machine. Addresses of proxies are left out, because they may hold passwords.
    #[must_use]
    pub fn of(request: &BuildRequest) -> Self {
        let host = Platform::host();
        let is_proxy = |name: &str| name.to_ascii_lowercase().ends_with("_proxy");
        let mut args = Map::new();
        for (name, value) in request.build_args.iter().filter(|(name, _)| !is_proxy(name)) {
            args.insert(format!("build-arg:{name}"), json!(value));
        }
        for (name, value) in &request.labels {
            args.insert(format!("label:{name}"), json!(value));
        }
        if let Some(target) = &request.target {
            args.insert("target".to_owned(), json!(target));
        }
        match request.network {
            Network::Default => {}
            Network::Host => drop(args.insert("force-network-mode".to_owned(), json!("host"))),
            Network::None => drop(args.insert("force-network-mode".to_owned(), json!("none"))),
        }
        match &request.no_cache {
            NoCache::None => {}
            NoCache::All => drop(args.insert("no-cache".to_owned(), json!(""))),
            NoCache::Stages(stages) => drop(args.insert("no-cache".to_owned(), json!(stages.join(",")))),
        }
        let entry_point = match &request.dockerfile {
            DockerfileSource::File(path) => {
                path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
            }
            DockerfileSource::InContext | DockerfileSource::Text(_) | DockerfileSource::Url(_) => {
                "Dockerfile".to_owned()
            }
        };
        let mut parameters = json!({"frontend": "dockerfile.v0"});
        if !args.is_empty() {
            parameters["args"] = Value::Object(args);
        }
        parameters["locals"] = json!([{"name": "context"}, {"name": "dockerfile"}]);
        let value = json!({
            "configSource": {"entryPoint": entry_point},
            "parameters": parameters,
            "environment": {"platform": host.to_string()},
        });
        Self { value, platform: request.platforms.first().cloned().unwrap_or(host) }
    }

    /// The provenance of what was `built`, with its `record`; nothing when it is not wanted.
    #[must_use]
    pub fn provenance(&self, built: &Built, record: &BuildRecord, mode: ProvenanceMode) -> Option<Value> {
        if mode == ProvenanceMode::Disabled {
            return None;
        }
        let platform = self.platform.to_string().replace('/', "%2F");
        let material = |(name, image): (Reference, LockedImage)| {
            let digest = match image {
                LockedImage::Digest(digest) => digest.hex(),
                LockedImage::Image(id) => id.as_digest().hex(),
            };
            let package = format!("{}@{}", name.familiar_repository(), name.tag().unwrap_or("latest"));
            json!({"uri": format!("pkg:docker/{package}?platform={platform}"), "digest": {"sha256": digest}})
        };
        let mut provenance = json!({
            "builder": {"id": ""},
            "buildType": "https://mobyproject.org/buildkit@v1",
            "materials": built.images.images().map(material).collect::<Vec<_>>(),
            "invocation": self.value,
        });
        for (name, needs) in [("secrets", &built.secrets), ("ssh", &built.agents)] {
            if !needs.is_empty() {
                provenance["invocation"]["parameters"][name] = needs.iter().map(mounted).collect();
            }
        }
        if mode == ProvenanceMode::Max {
            let ended = end_of(record).map(|end| end.ended.to_string());
            provenance["metadata"] = json!({
                "buildInvocationID": record.id.to_string(),
                "buildStartedOn": record.begun.to_string(),
                "buildFinishedOn": ended,
                "completeness": {"parameters": true, "environment": true, "materials": false},
                "reproducible": false,
            });
        }
        Some(provenance)
    }
}

/// Something that steps mount. BuildKit writes only a `true`.
fn mounted((id, need): (&String, &MountNeed)) -> Value {
    match need {
        MountNeed::Optional => json!({"id": id, "optional": true}),
        MountNeed::Required => json!({"id": id}),
    }
}

/// The findings of a build in the form in which BuildKit sends warnings.
#[must_use]
pub fn recorded_warnings(record: &BuildRecord) -> Value {
    let dockerfile = record.subject.dockerfile.as_deref().unwrap_or("Dockerfile");
    let findings = end_of(record).into_iter().flat_map(|end| &end.findings);
    let warnings = findings.map(|finding| {
        let short = format!("{}: {} (line {})", finding.rule, finding.message, finding.line);
        let line = json!({"line": finding.line});
        json!({
            "level": 1,
            "short": STANDARD.encode(short),
            "url": finding.url,
            "sourceInfo": {"filename": dockerfile, "language": "Dockerfile"},
            "range": [{"start": line, "end": line}],
        })
    });
    Value::Array(warnings.collect())
}

/// How a build ended, if it has.
fn end_of(record: &BuildRecord) -> Option<&BuildEnd> {
    match &record.state {
        BuildState::Ended(end) => Some(end),
        BuildState::Running | BuildState::Unfinished => None,
    }
}
