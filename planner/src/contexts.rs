//! Named contexts (`--build-context`), by the names that a Dockerfile uses for them.

use crate::options::NamedContext;
use crate::{PlanError, PlanErrorKind};
use rbuild_oci::{Platform, Reference};
use std::collections::{BTreeMap, HashMap};

/// The named contexts by the names that are looked up: familiar references without `:latest`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContextNames {
    keys: HashMap<String, String>,
}

impl ContextNames {
    pub(crate) fn new(contexts: &BTreeMap<String, NamedContext>) -> Result<Self, PlanError> {
        let mut keys = HashMap::with_capacity(contexts.len());
        for key in contexts.keys() {
            let (name, platform) =
                key.split_once("::").map_or((key.as_str(), None), |(name, p)| (name, Some(p)));
            let reference: Reference = name
                .parse()
                .map_err(|reason| PlanErrorKind::ContextName { name: name.to_owned(), reason }.nowhere())?;
            let looked_up = match platform {
                Some(platform) => format!("{}::{platform}", reference.familiar()),
                None => reference.familiar(),
            };
            keys.insert(looked_up, key.clone());
        }
        Ok(Self { keys })
    }

    /// The key of the context that stands for `name` on `platform`; `scratch` and `context` cannot be replaced.
    pub(crate) fn find(&self, name: &str, platform: &Platform) -> Option<&str> {
        if self.keys.is_empty()
            || name.eq_ignore_ascii_case("scratch")
            || name.eq_ignore_ascii_case("context")
        {
            return None;
        }
        let familiar = name.parse::<Reference>().ok()?.familiar();
        let key = self.keys.get(&format!("{familiar}::{platform}")).or_else(|| self.keys.get(&familiar));
        key.map(String::as_str)
    }
}
