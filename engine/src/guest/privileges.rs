//! Options of Docker's command line that give privileges to processes, or take them.

use crate::{
    DeviceError,
    guest::seccomp_profile::{self, ProfileError},
};
use rbuild_cache::PrivilegeOptions;
use rbuild_executor::{CallFilter, CapSet, KernelPaths, NewPrivileges, Privileges};
use rbuild_planner::Security;
use std::sync::Arc;

/// Privileges that cannot be given. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A capability to add that does not exist.
    #[error("invalid CapAdd: unknown capability: {0:?}")]
    CapAdd(String),
    /// A capability to drop that does not exist.
    #[error("invalid CapDrop: unknown capability: {0:?}")]
    CapDrop(String),
    /// A `--security-opt` that does not exist.
    #[error("invalid --security-opt: {0:?}")]
    Option(String),
    /// A `--security-opt` that cannot be put into force.
    #[error("--security-opt {option} is not supported: {reason}")]
    NotHere {
        /// As given.
        option: String,
        /// What is in the way.
        reason: &'static str,
    },
    /// A seccomp profile that makes no sense.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A device that cannot be given.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What processes are given when `options` are asked for.
///
/// # Errors
/// [`PrivilegeError`].
pub fn read_privileges(options: &PrivilegeOptions) -> Result<Privileges, PrivilegeError> {
    let mut privileges = Privileges {
        add: capabilities(&options.cap_add).map_err(PrivilegeError::CapAdd)?,
        drop: capabilities(&options.cap_drop).map_err(PrivilegeError::CapDrop)?,
        ..Privileges::default()
    };
    for text in &options.security {
        read_option(&mut privileges, text)?;
    }
    Ok(privileges)
}

/// The walls around processes when `options` are asked for.
pub(crate) fn walls(options: &PrivilegeOptions) -> Security {
    if options.privileged { Security::Insecure } else { Security::Sandbox }
}

/// The set of these names, or the name that is none.
fn capabilities(names: &[String]) -> Result<CapSet, String> {
    names.iter().try_fold(CapSet::EMPTY, |set, name| {
        CapSet::by_name(name).map(|one| set.union(one)).ok_or_else(|| name.clone())
    })
}

/// One `--security-opt`: `NAME=VALUE`, and `NAME:VALUE` as it once was.
fn read_option(privileges: &mut Privileges, text: &str) -> Result<(), PrivilegeError> {
    let not_here = |reason| PrivilegeError::NotHere { option: text.to_owned(), reason };
    let Some((name, value)) = text.split_once('=').or_else(|| text.split_once(':')) else {
        return match text {
            "no-new-privileges" => {
                privileges.new = NewPrivileges::Refused;
                Ok(())
            }
            _ => Err(PrivilegeError::Option(text.to_owned())),
        };
    };
    match (name, value) {
        ("no-new-privileges", "true" | "1" | "t" | "T" | "TRUE" | "True") => {
            privileges.new = NewPrivileges::Refused;
        }
        ("no-new-privileges", "false" | "0" | "f" | "F" | "FALSE" | "False") => {
            privileges.new = NewPrivileges::Granted;
        }
        ("seccomp", "unconfined") => privileges.calls = CallFilter::Unconfined,
        ("seccomp", "builtin") => privileges.calls = CallFilter::Usual,
        ("seccomp", document) => {
            privileges.calls = seccomp_profile::read(document)?
                .map_or(CallFilter::Unconfined, |profile| CallFilter::Profile(Arc::new(profile)));
        }
        ("systempaths", "unconfined") => privileges.paths = KernelPaths::Shown,
        // no profile of AppArmor and no label is given to any container
        ("apparmor", "unconfined") | ("label", "disable") | ("writable-cgroups", "false") => {}
        ("apparmor", _) => return Err(not_here("a profile of AppArmor is not put on containers")),
        ("label", _) => return Err(not_here("labels of SELinux are not given to containers")),
        ("writable-cgroups", "true") => {
            return Err(not_here("a container could lift the limits of its own control group"));
        }
        _ => return Err(PrivilegeError::Option(text.to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(add: &[&str], drop: &[&str], options: &[&str]) -> Result<Privileges, String> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let options = PrivilegeOptions { security: owned(options), ..PrivilegeOptions::default() }
            .with_capabilities(&owned(add), &owned(drop));
        read_privileges(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn capabilities_and_options_are_read() {
        let read_all =
            read(&["sys_admin", "CAP_NET_ADMIN"], &["ALL"], &["no-new-privileges", "seccomp=unconfined"])
                .unwrap();
        assert!(read_all.add.contains(21) && read_all.add.contains(12) && !read_all.add.contains(0));
        assert_eq!((read_all.drop, read_all.new), (CapSet::ALL, NewPrivileges::Refused));
        assert!(matches!(read_all.calls, CallFilter::Unconfined));
        let usual =
            read(&[], &[], &["no-new-privileges:false", "seccomp=builtin", "apparmor=unconfined"]).unwrap();
        assert_eq!((usual.new, usual.paths), (NewPrivileges::Granted, KernelPaths::Masked));
        assert!(matches!(usual.calls, CallFilter::Usual));
        assert_eq!(read(&[], &[], &["systempaths=unconfined"]).unwrap().paths, KernelPaths::Shown);
    }

    #[test]
    fn what_is_unknown_is_named() {
        for (add, option, part) in [
            ("FLY", "no-new-privileges", "invalid CapAdd: unknown capability: \"CAP_FLY\""),
            ("KILL", "nonsense", "invalid --security-opt: \"nonsense\""),
            ("KILL", "apparmor=mine", "--security-opt apparmor=mine is not supported: "),
            ("KILL", "no-new-privileges=maybe", "invalid --security-opt"),
            ("KILL", "seccomp=[", "decoding seccomp profile failed"),
        ] {
            let said = read(&[add], &[], &[option]).unwrap_err();
            assert!(said.starts_with(part), "{said}");
        }
    }
}
