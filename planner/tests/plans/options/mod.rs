//! The `options.json` of a case: options of the build and the images it finds.

use rbuild_oci::{Digest, ImageConfig, ImageId};
use rbuild_planner::{
    ImageRequest, NamedContext, Network, NoCache, PlanOptions, PositionStyle, ResolvedImage, Selection,
};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The options of a case.
pub(crate) struct Options {
    pub(crate) plan: PlanOptions,
    /// Paths that the ignore file leaves out.
    pub(crate) ignored: Vec<String>,
    /// Configs by familiar name; any other image is [`DEFAULT_IMAGE`].
    images: serde_json::Map<String, Value>,
}

/// One layer, made on 2024-01-01, as most base images are.
const DEFAULT_IMAGE: &str = r#"{
    "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
    "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]},
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "base"}],
    "rootfs": {"type": "layers", "diff_ids": []}
}"#;

impl Options {
    pub(crate) fn read(path: &Path) -> Self {
        let json = fs::read(path).unwrap_or_else(|_| b"{}".to_vec());
        let json: Value = serde_json::from_slice(&json).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        let pairs = |key: &str| -> Vec<(String, String)> {
            let object = json.get(key).and_then(Value::as_object);
            let pairs = object.into_iter().flatten();
            pairs.map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
        };
        let mut plan = PlanOptions::new("linux/amd64".parse().unwrap());
        plan.target = text("target").map(str::to_owned);
        plan.build_args = pairs("build_args");
        plan.platform = text("platform").map(|platform| platform.parse().unwrap());
        plan.labels = pairs("labels");
        plan.network = match text("network") {
            Some("none") => Network::None,
            Some("host") => Network::Host,
            _ => Network::Default,
        };
        plan.hostname = text("hostname").map(str::to_owned);
        plan.named_contexts =
            pairs("contexts").into_iter().map(|(name, value)| (name, context(&value))).collect();
        plan.no_cache = match json.get("no_cache") {
            None => NoCache::None,
            Some(Value::Array(stages)) => {
                NoCache::Stages(stages.iter().map(|stage| stage.as_str().unwrap().to_owned()).collect())
            }
            Some(_) => NoCache::All,
        };
        if json.get("everything").is_some() {
            plan.selection = Selection::Everything;
        }
        if json.get("show_platform").is_some() {
            plan.position = PositionStyle::WithPlatform;
        }
        let images = json.get("images").and_then(Value::as_object).cloned().unwrap_or_default();
        let ignored = json.get("ignored").and_then(Value::as_array).into_iter().flatten();
        let ignored = ignored.map(|path| path.as_str().unwrap().to_owned()).collect();
        Self { plan, ignored, images }
    }

    pub(crate) fn image(&self, request: &ImageRequest) -> ResolvedImage {
        let mut json: Value = serde_json::from_str(DEFAULT_IMAGE).unwrap();
        let key = request.layout.clone().unwrap_or_else(|| request.reference.familiar());
        let mut layers = 1;
        if let Some(Value::Object(special)) = self.images.get(&key) {
            for (field, value) in special {
                if field == "layers" {
                    layers = usize::try_from(value.as_u64().unwrap()).unwrap();
                } else {
                    json[field] = value.clone();
                }
            }
        }
        let diff_ids: Vec<String> =
            (0..layers).map(|i| Digest::of(format!("{key}/{i}").as_bytes()).to_string()).collect();
        json["rootfs"]["diff_ids"] = diff_ids.into();
        let config = ImageConfig::from_json(json.to_string().as_bytes()).unwrap();
        let id = ImageId::from_digest(Digest::of(key.as_bytes()));
        ResolvedImage { id, config, layers }
    }
}

fn context(value: &str) -> NamedContext {
    match value {
        "docker-image://scratch" => NamedContext::Scratch,
        "oci-layout" => NamedContext::OciLayout,
        other => match other.strip_prefix("docker-image://") {
            Some(reference) => NamedContext::Image(reference.parse().unwrap()),
            None => NamedContext::Directory,
        },
    }
}
