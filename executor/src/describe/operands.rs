//! How the mounts of a RUN and the sources of a COPY are written into keys: every field by its own name, never through
//! `Debug` or a text for people, because renaming a field of the planner must not empty any cache.

use super::RemoteIdentity;
use rbuild_cache::{KeyBuilder, StepHash};
use rbuild_planner::{Access, CopySource, Mount, MountKind, Sharing};

/// A mount's layout and the hash of what it shows; a cache's own content and id are not in it.
pub(super) fn mount(mount: &Mount, content: Option<StepHash>) -> StepHash {
    let key = KeyBuilder::new("mount")
        .field("target", mount.target.as_str())
        .optional("content", content.map(|hash| *hash.as_bytes()));
    let key = match &mount.kind {
        MountKind::Bind { access: mode, from: _, source: _ } => {
            key.field("kind", "bind").field("access", access(*mode))
        }
        MountKind::Cache { sharing: shared, access: writable, mode, uid, gid, id: _, from: _, source: _ } => {
            let key = key.field("kind", "cache").field("access", access(*writable));
            let key = key.field("sharing", sharing(*shared));
            optional(optional(optional(key, "mode", *mode), "uid", *uid), "gid", *gid)
        }
        MountKind::Tmpfs { size } => key.field("kind", "tmpfs").optional("size", size.map(u64::to_be_bytes)),
        MountKind::Secret { id, file, env, required, mode, uid, gid } => key
            .field("kind", "secret")
            .field("id", id)
            .number("file", u64::from(*file))
            .optional("env", env.as_deref())
            .number("required", u64::from(*required))
            .number("mode", u64::from(*mode))
            .number("uid", u64::from(*uid))
            .number("gid", u64::from(*gid)),
        MountKind::Ssh { id, required, mode, uid, gid } => key
            .field("kind", "ssh")
            .field("id", id)
            .number("required", u64::from(*required))
            .number("mode", u64::from(*mode))
            .number("uid", u64::from(*uid))
            .number("gid", u64::from(*gid)),
    };
    key.finish_step()
}

/// A source operand as written; the files it selects are digested apart.
pub(super) fn copy_source(source: &CopySource) -> StepHash {
    let key = KeyBuilder::new("source");
    match source {
        CopySource::Path(path) => key.field("path", path),
        CopySource::Inline { name, content } => key.field("inline", name).field("content", content),
        CopySource::Http(url) => key.field("http", url),
        CopySource::Git(url) => key.field("git", url),
    }
    .finish_step()
}

/// What a remote source is, at its place among the sources. No result is recorded for one that is not known.
pub(super) fn remote(place: usize, identity: &RemoteIdentity) -> StepHash {
    let key = KeyBuilder::new("remote source").number("place", place as u64);
    match identity {
        RemoteIdentity::File { name, digest, modified } => {
            key.field("file", name).digest("content", digest).field("modified", modified.to_be_bytes())
        }
        RemoteIdentity::Repository { commit, subdirectory, parts } => {
            key.field("commit", commit).field("subdirectory", subdirectory).list("part", parts)
        }
        RemoteIdentity::Unknown => key.field("unknown", ""),
    }
    .finish_step()
}

/// The same as [`mount`] in readable form, for explanations.
pub(super) fn mount_text(mount: &Mount, content: Option<StepHash>) -> String {
    let content = content.map_or_else(|| "-".to_owned(), |hash| hash.to_string());
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    match &mount.kind {
        MountKind::Bind { access: mode, .. } => format!("bind {} {content}", access(*mode)),
        MountKind::Cache { sharing: shared, access: writable, mode, uid, gid, .. } => format!(
            "cache {} {} mode {} owner {}:{}",
            access(*writable),
            sharing(*shared),
            mode.map_or_else(|| "-".to_owned(), |mode| format!("{mode:o}")),
            number(*uid),
            number(*gid)
        ),
        MountKind::Tmpfs { size } => {
            format!("tmpfs {}", size.map_or_else(|| "-".to_owned(), |size| size.to_string()))
        }
        MountKind::Secret { id, mode, uid, gid, .. } => {
            format!("secret {id} mode {mode:o} owner {uid}:{gid}")
        }
        MountKind::Ssh { id, mode, uid, gid, .. } => format!("ssh {id} mode {mode:o} owner {uid}:{gid}"),
    }
}

fn optional(key: KeyBuilder, name: &str, value: Option<u32>) -> KeyBuilder {
    key.optional(name, value.map(u32::to_be_bytes))
}

fn access(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    }
}

fn sharing(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Shared => "shared",
        Sharing::Private => "private",
        Sharing::Locked => "locked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_oci::ImagePath;

    /// Pinned: a change here makes every user's cache miss, and needs a new version of keys.
    #[test]
    fn encodings_are_pinned() {
        let at = |kind| Mount { target: ImagePath::root().join("/m"), kind };
        let tmpfs = |size| mount(&at(MountKind::Tmpfs { size }), None).to_string();
        let inline = CopySource::Inline { name: "a".to_owned(), content: b"b".to_vec() };
        let hashes = [
            tmpfs(None),
            tmpfs(Some(1)),
            copy_source(&inline).to_string(),
            copy_source(&CopySource::Path("a".to_owned())).to_string(),
        ];
        assert_eq!(
            hashes.map(|hash| hash[..16].to_owned()),
            ["564f99035c1200d4", "eae67b14fb5341bd", "e9f255e450c09b08", "60ecf6900262bb12"]
        );
    }
}
