//! `--tmpfs`, and memory as a `--mount`.

use crate::error::UsageError;
use rbuild::{Access, MountOrigin, MountRequest, MountedFrom, MountedTmpfs, RequestedSource};

/// Options of tmpfs(5) that take a value.
const SETTINGS: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];

/// Reads `PATH[:OPTIONS]`. As with docker, nothing in it can be executed or have set-user-id bits, unless the options say so.
pub(super) fn read(text: &str) -> Result<MountRequest, UsageError> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let target = super::mount::target("tmpfs", path)?;
    let mut access = Access::ReadWrite;
    let mut tmpfs = MountedTmpfs { by_flag: true, ..MountedTmpfs::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match (option, option.split_once('=')) {
            (_, Some((name, value))) if SETTINGS.contains(&name) => {
                check(name, value, text)?;
                tmpfs.settings.retain(|(known, _)| known != name);
                tmpfs.settings.push((name.to_owned(), value.to_owned()));
            }
            ("ro", _) => access = Access::ReadOnly,
            ("rw", _) => access = Access::ReadWrite,
            ("exec", _) => tmpfs.executable = true,
            ("noexec", _) => tmpfs.executable = false,
            ("suid", _) => tmpfs.set_user_id = true,
            ("nosuid", _) => tmpfs.set_user_id = false,
            // what every mount of a container is
            ("nodev" | "async" | "relatime" | "rprivate" | "private" | "defaults", _) => {}
            (
                "dev" | "sync" | "dirsync" | "noatime" | "strictatime" | "nodiratime" | "shared" | "rshared",
                _,
            )
            | (_, Some(("mpol", _))) => {
                return Err(UsageError::unsupported(format_args!("--tmpfs {text} with {option}")));
            }
            _ => return Err(UsageError::new(format!("Invalid tmpfs option {option:?}"))),
        }
    }
    let source = RequestedSource::Other(MountedFrom::Tmpfs { tmpfs });
    Ok(MountRequest { source, target, access, options: options.to_owned(), origin: MountOrigin::Usual })
}

/// What the kernel would refuse without a reason that a person can read.
fn check(name: &str, value: &str, text: &str) -> Result<(), UsageError> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_size = |text: &str| is_number(text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']));
    let good = match name {
        "size" => is_size(value.trim_end_matches('%')),
        "mode" => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
        "uid" | "gid" => value.parse::<u32>().is_ok(),
        _ => is_size(value),
    };
    if good {
        Ok(())
    } else {
        Err(UsageError::new(format!("invalid tmpfs option '{name}={value}' in '{text}'")))
    }
}
