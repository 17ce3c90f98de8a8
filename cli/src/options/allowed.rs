//! `--allow`: what a build may do that builds may not.

use super::outputs::Removal;
use crate::error::UsageError;
use rbuild::Entitlement;
use std::collections::BTreeSet;

/// The right of an output to remove files outside of the working directory.
const LOCAL_DELETE: &str = "buildx.local.delete";

/// What `--allow` lets a build do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// The rights that a Dockerfile is given.
    pub(super) entitlements: BTreeSet<Entitlement>,
    /// The devices that it may use by their names.
    pub(super) devices: BTreeSet<String>,
    /// Where an output may remove files.
    pub(super) removal: Removal,
}

/// Reads the values of `--allow`.
///
/// # Errors
/// Names the first that is no right.
pub(super) fn allowed(values: &[String]) -> Result<Allowed, UsageError> {
    let mut allowed = Allowed::default();
    for value in values {
        if let Some(right) = Entitlement::ALL.into_iter().find(|right| value == right.name()) {
            allowed.entitlements.insert(right);
        } else if let Some(name) = device(value) {
            allowed.devices.insert(name.to_owned());
        } else if value == LOCAL_DELETE {
            allowed.removal = Removal::Anywhere;
        } else {
            return Err(unknown_right(value));
        }
    }
    Ok(allowed)
}

/// The name in `device=NAME`.
fn device(value: &str) -> Option<&str> {
    value.strip_prefix("device=").filter(|name| !name.is_empty() && !name.contains(','))
}

fn unknown_right(value: &str) -> UsageError {
    let known = Entitlement::ALL.into_iter().map(Entitlement::name).chain(["device=NAME", LOCAL_DELETE]);
    let known = known.collect::<Vec<_>>().join(", ");
    UsageError::new(format!("unknown right in --allow {value:?}: it is one of {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_that_there_are() {
        let read =
            |values: &[&str]| allowed(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        let all = read(&["network.host", "device=vendor.com/class=a", LOCAL_DELETE]).unwrap();
        assert_eq!(all.entitlements, BTreeSet::from([Entitlement::NetworkHost]));
        assert_eq!(all.devices, BTreeSet::from(["vendor.com/class=a".to_owned()]));
        assert_eq!(all.removal, Removal::Anywhere);
        for wrong in ["devise", "device=", "device=a,b", "network", ""] {
            let error = read(&[wrong]).unwrap_err().to_string();
            assert!(
                error
                    .starts_with(&format!("unknown right in --allow {wrong:?}: it is one of network.host, ")),
                "{error}"
            );
        }
    }
}
