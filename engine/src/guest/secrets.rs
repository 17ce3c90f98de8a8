//! The secrets that a build may use: given by the caller, mounted for the steps that ask for them, and in nothing that is kept.

use rbuild_executor::ExecutorError;
use rbuild_planner::{Mount, MountKind};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The value of a secret. It prints as stars in every format.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<[u8]>);

impl SecretValue {
    /// The longest value, in bytes.
    pub const LIMIT: usize = 500 << 10;

    /// Marks `value` as secret.
    #[must_use]
    pub fn new(value: impl Into<Arc<[u8]>>) -> Self {
        Self(value.into())
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// The secrets of a build, by id.
pub(crate) type Secrets = BTreeMap<String, SecretValue>;

/// Sees that `secrets` has all that a step with these mounts cannot do without.
///
/// # Errors
/// [`ExecutorError::SecretNotFound`] with the first that is missing.
pub(crate) fn check(mounts: &[Mount], secrets: &Secrets) -> Result<(), ExecutorError> {
    for mount in mounts {
        if let MountKind::Secret { id, required: true, .. } = &mount.kind
            && !secrets.contains_key(id)
        {
            let given: Vec<&str> = secrets.keys().map(String::as_str).collect();
            let near = rbuild_parser::alike(id, &given).map(str::to_owned);
            return Err(ExecutorError::SecretNotFound { id: id.clone(), near });
        }
    }
    Ok(())
}

/// The variables that the secrets of these mounts become, each with its value; one that is not there is empty.
pub(crate) fn variables<'a>(mounts: &'a [Mount], secrets: &'a Secrets) -> Vec<(&'a str, &'a [u8])> {
    let variable = |mount: &'a Mount| match &mount.kind {
        MountKind::Secret { id, env: Some(name), .. } => {
            Some((name.as_str(), secrets.get(id).map_or(&[][..], SecretValue::expose)))
        }
        MountKind::Secret { env: None, .. }
        | MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Ssh { .. } => None,
    };
    mounts.iter().filter_map(variable).collect()
}

/// The values that a step with these mounts sees.
pub(crate) fn values<'a>(mounts: &'a [Mount], secrets: &'a Secrets) -> impl Iterator<Item = &'a [u8]> {
    mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Secret { id, .. } => secrets.get(id).map(SecretValue::expose),
        MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Ssh { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_prints_as_stars() {
        let secret = SecretValue::new(*b"hunter2");
        assert_eq!(format!("{:?} {secret:#?}", Some(&secret)).matches("hunter2").count(), 0);
    }
}
