//! `RUN --mount`: keys and values, and what they mean together.

use super::size::parse_size;
use crate::lints::parse_bool;
use crate::plan::{Access, Filesystem, Mount, MountKind, Sharing};
use crate::stage_graph::NodeId;
use crate::stage_lowering::StageLowering;
use crate::{MountError, PlanError, PlanErrorKind};
use rbuild_oci::ImagePath;
use rbuild_parser::{Word, parse_mount};

/// The mount types, for suggestions.
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
/// The keys, for suggestions.
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// The `from` of a mount, before anything is expanded; it decides which stages are needed.
pub(crate) fn from_of(value: &str) -> Result<Option<String>, MountError> {
    if value.is_empty() {
        return Err(MountError::Csv("EOF".to_owned()));
    }
    let names_from = value.as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"from"));
    if !names_from && !value.contains('"') {
        return Ok(None);
    }
    let fields = parse_mount(value).map_err(|e| MountError::Csv(e.to_string()))?;
    let from = fields.into_iter().rev().find_map(|(key, value)| value.filter(|_| key == "from"));
    let variable = |from: &str| from.find('$').is_some_and(|at| at + 1 < from.len());
    match from {
        Some(from) if variable(&from) => Err(MountError::VariableInFrom),
        other => Ok(other.filter(|from| !from.is_empty())),
    }
}

/// The mounts of the current RUN, parents before children; of two on one target the later one is mounted last.
pub(super) fn lower(stage: &mut StageLowering<'_, '_>, words: &[Word]) -> Result<Vec<Mount>, PlanError> {
    let sources = stage.sources();
    let mut mounts = Vec::with_capacity(words.len());
    let mut agents = 0;
    for (i, word) in words.iter().enumerate() {
        let written = Written::parse(stage, &word.value)?;
        let source = sources.get(i).copied().flatten();
        let mount = match written.kind {
            Kind::Bind => bind(stage, &written, source)?,
            Kind::Cache => cache(stage, written, source)?,
            Kind::Tmpfs => {
                let target = target(stage, &written)?;
                Mount { target, kind: MountKind::Tmpfs { size: written.size.filter(|size| *size > 0) } }
            }
            Kind::Secret => secret(stage, written)?,
            Kind::Ssh => {
                agents += 1;
                ssh(stage, &written, agents - 1)?
            }
        };
        mounts.push(mount);
    }
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(mounts)
}

/// The path of the first agent socket.
pub(super) fn first_agent(mounts: &[Mount]) -> Option<&ImagePath> {
    let numbered = |mount: &&Mount| matches!(mount.kind, MountKind::Ssh { .. });
    mounts.iter().find(numbered).map(|mount| &mount.target)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// A mount as written, expanded.
struct Written {
    kind: Kind,
    from: String,
    source: String,
    target: String,
    id: String,
    access: Option<Access>,
    sharing: Option<Sharing>,
    size: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    required: bool,
    env: Option<String>,
}

impl Written {
    /// Keys are read in order: some are only known after `type`.
    fn parse(stage: &mut StageLowering<'_, '_>, value: &str) -> Result<Self, PlanError> {
        let fail = |stage: &StageLowering<'_, '_>, error| stage.error(PlanErrorKind::Mount(error));
        let mut written = Self {
            kind: Kind::Bind,
            from: String::new(),
            source: String::new(),
            target: String::new(),
            id: String::new(),
            access: None,
            sharing: None,
            size: None,
            mode: None,
            uid: None,
            gid: None,
            required: false,
            env: None,
        };
        let fields = parse_mount(value).map_err(|e| fail(stage, MountError::Csv(e.to_string())))?;
        for (key, raw) in fields {
            let set = match &raw {
                None => written.set_bare(&key),
                Some(raw) => {
                    let value = stage.expand(raw)?;
                    written.set(&key, &value, raw)
                }
            };
            set.map_err(|error| suggest_key(fail(stage, error.clone()), &error))?;
        }
        written.check().map_err(|error| fail(stage, error))?;
        Ok(written)
    }

    fn set_bare(&mut self, key: &str) -> Result<(), MountError> {
        match key {
            "readonly" | "ro" => self.access = Some(Access::ReadOnly),
            "readwrite" | "rw" => self.access = Some(Access::ReadWrite),
            "required" => {
                self.require_kind(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = true;
            }
            other => return Err(MountError::NotAPair(other.to_owned())),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, raw: &str) -> Result<(), MountError> {
        let flag = || {
            let bad = || MountError::Flag { key: key.to_owned(), value: value.to_owned() };
            parse_bool(value).ok_or_else(bad)
        };
        let number = |radix| {
            let bad = || MountError::Number { key: key.to_owned(), value: value.to_owned() };
            parse_unsigned(value, radix).ok_or_else(bad)
        };
        let read_only = |yes| if yes { Access::ReadOnly } else { Access::ReadWrite };
        match key {
            "type" => self.kind = parse_kind(value)?,
            "from" => value.clone_into(&mut self.from),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => self.access = Some(read_only(flag()?)),
            "readwrite" | "rw" => self.access = Some(read_only(!flag()?)),
            "required" => {
                self.require_kind(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = flag()?;
            }
            "size" => {
                self.require_kind(key, &[Kind::Tmpfs])?;
                let bad = || MountError::Flag { key: key.to_owned(), value: value.to_owned() };
                self.size = Some(parse_size(value).ok_or_else(bad)?);
            }
            "id" => value.clone_into(&mut self.id),
            "sharing" => self.sharing = Some(parse_sharing(value)?),
            "mode" => self.mode = Some(number(8)?),
            "uid" => self.uid = Some(number(10)?),
            "gid" => self.gid = Some(number(10)?),
            "env" => self.env = Some(value.to_owned()),
            other => {
                let field = format!("{other}={raw}");
                return Err(MountError::UnexpectedKey { key: other.to_owned(), field });
            }
        }
        Ok(())
    }

    fn require_kind(&self, key: &str, kinds: &[Kind]) -> Result<(), MountError> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        Err(MountError::KeyForType { key: key.to_owned(), kind: self.kind.name() })
    }

    fn check(&self) -> Result<(), MountError> {
        let kind = self.kind.name();
        if matches!(self.kind, Kind::Bind | Kind::Tmpfs) {
            let owner = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = owner.iter().find(|(_, value)| value.is_some()) {
                return Err(MountError::OwnerNotAllowed { key, kind });
            }
        }
        if self.kind == Kind::Secret {
            if !self.from.is_empty() {
                return Err(MountError::SecretFrom);
            }
            if self.sharing.is_some() {
                return Err(MountError::SecretSharing);
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return Err(MountError::SecretUnnamed);
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return Err(MountError::SourceAndId);
            }
        }
        if self.sharing.is_some() && self.kind != Kind::Cache {
            return Err(MountError::SharingForType(kind));
        }
        if self.kind == Kind::Ssh && !self.source.is_empty() {
            return Err(MountError::SshSource);
        }
        Ok(())
    }
}

/// Adds the nearest key, type or mode to a message about an unknown one.
fn suggest_key(error: PlanError, problem: &MountError) -> PlanError {
    if let MountError::UnexpectedKey { key, .. } = problem {
        error.suggesting(key, KEYS)
    } else if let MountError::Type(kind) = problem {
        error.suggesting(kind, TYPES)
    } else if let MountError::Sharing(mode) = problem {
        error.suggesting(mode, ["shared", "private", "locked"])
    } else {
        error
    }
}

fn parse_kind(value: &str) -> Result<Kind, MountError> {
    match value.to_lowercase().as_str() {
        "bind" => Ok(Kind::Bind),
        "cache" => Ok(Kind::Cache),
        "tmpfs" => Ok(Kind::Tmpfs),
        "secret" => Ok(Kind::Secret),
        "ssh" => Ok(Kind::Ssh),
        _ => Err(MountError::Type(value.to_owned())),
    }
}

fn parse_sharing(value: &str) -> Result<Sharing, MountError> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => Err(MountError::Sharing(value.to_owned())),
    }
}

fn parse_unsigned(text: &str, radix: u32) -> Option<u32> {
    u32::from_str_radix(text, radix).ok().filter(|_| !text.starts_with('+'))
}

/// The mount point; relative ones start at the working directory.
fn target(stage: &StageLowering<'_, '_>, written: &Written) -> Result<ImagePath, PlanError> {
    let target = stage.state.cwd.join(&written.target);
    if target.is_root() {
        return Err(stage.error(PlanErrorKind::Mount(MountError::Target(target.to_string()))));
    }
    Ok(target)
}

fn files(
    stage: &StageLowering<'_, '_>,
    written: &Written,
    source: Option<NodeId>,
    default: Filesystem,
) -> Result<Filesystem, PlanError> {
    let Some(source) = source else { return Ok(default) };
    stage.files_of(source).ok_or_else(|| {
        let (from, target) = (written.from.clone(), written.target.clone());
        stage.error(PlanErrorKind::MountFromLater { from, target })
    })
}

fn bind(
    stage: &StageLowering<'_, '_>,
    written: &Written,
    source: Option<NodeId>,
) -> Result<Mount, PlanError> {
    let kind = MountKind::Bind {
        from: files(stage, written, source, Filesystem::Context)?,
        source: source_path(&written.source),
        access: written.access.unwrap_or(Access::ReadOnly),
    };
    Ok(Mount { target: target(stage, written)?, kind })
}

fn cache(
    stage: &StageLowering<'_, '_>,
    written: Written,
    source: Option<NodeId>,
) -> Result<Mount, PlanError> {
    let from = files(stage, &written, source, Filesystem::Scratch)?;
    let target = target(stage, &written)?;
    let namespace = stage.input().build_args.get("BUILDKIT_CACHE_MOUNT_NS").map_or("", String::as_str);
    let id = if written.id.is_empty() { clean(&written.target, &target) } else { written.id };
    let source = source_path(&written.source);
    // owner and mode are those of the generated directory, which only a mount of the whole seed has
    let generated = source.is_root();
    let kind = MountKind::Cache {
        id: format!("{namespace}/{id}"),
        from,
        source,
        sharing: written.sharing.unwrap_or(Sharing::Shared),
        access: written.access.unwrap_or(Access::ReadWrite),
        mode: written.mode.filter(|_| generated),
        uid: written.uid.filter(|_| generated),
        gid: written.gid.filter(|_| generated),
    };
    Ok(Mount { target, kind })
}

/// A path in the root of the files it comes from.
fn source_path(written: &str) -> ImagePath {
    let root = ImagePath::root();
    if written.is_empty() { root } else { root.join(written) }
}

/// The target as written, cleaned lexically; relative ones stay relative.
fn clean(written: &str, target: &ImagePath) -> String {
    if written.starts_with('/') {
        target.to_string()
    } else {
        ImagePath::root().join(written).relative().display().to_string()
    }
}

fn secret(stage: &StageLowering<'_, '_>, written: Written) -> Result<Mount, PlanError> {
    let base = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_owned();
    let id = [written.id, written.source].into_iter().find(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| base(&written.target));
    let file = written.env.is_none() || !written.target.is_empty();
    let target = if written.target.is_empty() {
        ImagePath::root().join("run/secrets").join(&base(&id))
    } else {
        stage.state.cwd.join(&written.target)
    };
    if target.is_root() {
        return Err(stage.error(PlanErrorKind::Mount(MountError::Target(target.to_string()))));
    }
    let kind = MountKind::Secret {
        id,
        file,
        env: written.env,
        required: written.required,
        mode: written.mode.unwrap_or(0o400),
        uid: written.uid.unwrap_or(0),
        gid: written.gid.unwrap_or(0),
    };
    Ok(Mount { target, kind })
}

fn ssh(stage: &StageLowering<'_, '_>, written: &Written, number: usize) -> Result<Mount, PlanError> {
    let target = if written.target.is_empty() {
        ImagePath::root().join(&format!("run/buildkit/ssh_agent.{number}"))
    } else {
        target(stage, written)?
    };
    let kind = MountKind::Ssh {
        id: if written.id.is_empty() { "default".to_owned() } else { written.id.clone() },
        required: written.required,
        mode: written.mode.unwrap_or(0o600),
        uid: written.uid.unwrap_or(0),
        gid: written.gid.unwrap_or(0),
    };
    Ok(Mount { target, kind })
}
