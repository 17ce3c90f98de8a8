//! `-v`, `--tmpfs` and `--volumes-from` of `run` and `create`; the mistakes in Docker's words.

use super::{mount, tmpfs};
use crate::{args::MountFlags, error::UsageError};
use rbuild::{
    Access, FirstFiles, ImagePath, MissingHostPath, MountOrigin, MountPropagation, MountRequest, MountedFrom,
    RequestedSource, Submounts, VolumesFrom,
};
use std::{collections::BTreeMap, path::PathBuf};

/// All that a container is to see beside its image. Paths of the host may still be relative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// `-v`, `--mount` and `--tmpfs`.
    pub(crate) mounts: Vec<MountRequest>,
    /// `-v PATH`.
    pub(crate) anonymous: Vec<ImagePath>,
    /// `--volumes-from`.
    pub(crate) from: Vec<VolumesFrom>,
}

impl Mounts {
    /// Settles what `flags` mean.
    ///
    /// # Errors
    /// [`UsageError`] in Docker's words.
    pub(crate) fn new(flags: &MountFlags) -> Result<Self, UsageError> {
        if let Some(driver) = flags.volume_driver.as_deref().filter(|driver| !matches!(*driver, "" | "local"))
        {
            return Err(UsageError::unsupported(format_args!("--volume-driver {driver}")));
        }
        let mut mounts = Self::default();
        for text in &flags.volume {
            match text.split(':').collect::<Vec<_>>().as_slice() {
                [path] => mounts.anonymous.push(target(text, path)?),
                [source, path] => mounts.mounts.push(volume(text, (source, path), "")?),
                [source, path, options] => mounts.mounts.push(volume(text, (source, path), options)?),
                _ => return Err(invalid(text, "too many colons")),
            }
        }
        for text in &flags.mount {
            mounts.mounts.push(mount::read(text)?);
        }
        for text in &flags.tmpfs {
            mounts.mounts.push(tmpfs::read(text)?);
        }
        for text in &flags.volumes_from {
            mounts.from.push(volumes_from(text)?);
        }
        Ok(mounts)
    }
}

fn invalid(text: &str, why: &str) -> UsageError {
    UsageError::refused(format!("invalid volume specification: '{text}': {why}"))
}

/// A place in the container.
fn target(text: &str, path: &str) -> Result<ImagePath, UsageError> {
    let target: ImagePath =
        path.parse().map_err(|_| invalid(text, "invalid mount path: it must be absolute"))?;
    if target.is_root() {
        return Err(invalid(text, "destination can't be '/'"));
    }
    Ok(target)
}

/// `SOURCE:PATH[:OPTIONS]`: what begins with `/` or `.` is a path of the host, all else the name of a volume.
fn volume(text: &str, (source, path): (&str, &str), options: &str) -> Result<MountRequest, UsageError> {
    let target = target(text, path)?;
    let is_host = source.starts_with(['/', '.']);
    let mut access = Access::ReadWrite;
    let mut files = FirstFiles::OfImage;
    let mut propagation = MountPropagation::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => access = Access::ReadOnly,
            "rw" => access = Access::ReadWrite,
            "nocopy" if !is_host => files = FirstFiles::None,
            // nothing is relabelled; how soon the two sides agree does not differ on Linux
            "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "private" | "rprivate" | "slave" | "rslave" if is_host => {
                propagation = mount::propagation(option).unwrap_or_default();
            }
            "shared" | "rshared" if is_host => {
                return Err(UsageError::unsupported(format_args!("--volume {text} with {option}")));
            }
            other => return Err(invalid(text, &format!("invalid mode: {other}"))),
        }
    }
    let source = if is_host {
        RequestedSource::Other(MountedFrom::Host {
            source: PathBuf::from(source),
            missing: MissingHostPath::Made,
            propagation,
            submounts: Submounts::Shown,
        })
    } else {
        let name = source.parse().map_err(|error| UsageError::new(format!("create {source}: {error}")))?;
        RequestedSource::Volume { name: Some(name), files, subpath: None, labels: BTreeMap::new() }
    };
    Ok(MountRequest { source, target, access, options: options.to_owned(), origin: MountOrigin::Usual })
}

/// `CONTAINER[:ro|rw|z]`.
fn volumes_from(text: &str) -> Result<VolumesFrom, UsageError> {
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    if container.is_empty() {
        return Err(UsageError::new(format!("malformed volumes-from specification: {text}")));
    }
    let mut access = Access::ReadWrite;
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => access = Access::ReadOnly,
            "rw" | "z" | "Z" => {}
            other => return Err(UsageError::new(format!("invalid mode for volumes-from: {other}"))),
        }
    }
    Ok(VolumesFrom { container: container.to_owned(), access, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild::MountedTmpfs;

    fn read(flags: &[(&str, &str)]) -> Result<Mounts, String> {
        let of = |name: &str| {
            flags.iter().filter(|(flag, _)| *flag == name).map(|(_, value)| (*value).to_owned()).collect()
        };
        Mounts::new(&MountFlags {
            volume: of("v"),
            mount: of("mount"),
            tmpfs: of("tmpfs"),
            volumes_from: of("from"),
            volume_driver: None,
        })
        .map_err(|error| error.to_string())
    }

    fn one(flag: &str, value: &str) -> MountRequest {
        read(&[(flag, value)]).unwrap().mounts.remove(0)
    }

    #[test]
    fn volumes_paths_and_memory_are_told_apart() {
        let mounts = read(&[("v", "/data"), ("from", "c3:ro"), ("from", "c4")]).unwrap();
        assert_eq!(mounts.anonymous[0].as_str(), "/data");
        let access = |at: usize| (mounts.from[at].container.as_str(), mounts.from[at].access);
        assert_eq!([access(0), access(1)], [("c3", Access::ReadOnly), ("c4", Access::ReadWrite)]);

        let named = one("v", "db:/var/../lib:nocopy,ro");
        assert_eq!((named.target.as_str(), named.access), ("/lib", Access::ReadOnly));
        let RequestedSource::Volume { name, files, .. } = named.source else { panic!("a volume") };
        assert_eq!((name.unwrap().as_str(), files), ("db", FirstFiles::None));
        assert_eq!(one("v", "db:/d").options, "");
        assert_eq!(
            one("mount", "target=/x").source,
            MountRequest { ..one("mount", "dst=/x,type=volume") }.source
        );

        let host = |flag, value| match one(flag, value).source {
            RequestedSource::Other(MountedFrom::Host { source, missing, propagation, submounts }) => {
                (source.display().to_string(), missing, propagation, submounts)
            }
            other => panic!("{other:?}"),
        };
        let (made, refused) = (MissingHostPath::Made, MissingHostPath::Refused);
        let private = MountPropagation::RPrivate;
        assert_eq!(host("v", "./x:/y:z"), ("./x".to_owned(), made, private, Submounts::Shown));
        assert_eq!(
            host("mount", "type=bind,src=/h,dst=/c,readonly,bind-propagation=rslave,bind-recursive=disabled"),
            ("/h".to_owned(), refused, MountPropagation::RSlave, Submounts::Hidden)
        );

        let memory = |flag, value| match one(flag, value).source {
            RequestedSource::Other(MountedFrom::Tmpfs { tmpfs }) => tmpfs,
            other => panic!("{other:?}"),
        };
        let text = |tmpfs: &MountedTmpfs| {
            tmpfs.settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        let flag = memory("tmpfs", "/run:exec,size=64m,mode=755,size=1g");
        assert_eq!((text(&flag).as_str(), flag.executable, flag.by_flag), ("mode=755,size=1g", true, true));
        let mount = memory("mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0700");
        assert_eq!(
            (text(&mount).as_str(), mount.executable, mount.by_flag),
            ("size=1048576,mode=700", false, false)
        );
    }

    #[test]
    fn mistakes_have_docker_s_words() {
        for (flag, value, words) in [
            ("v", "/a:b", "invalid volume specification: '/a:b': invalid mount path: it must be absolute"),
            ("v", "/a:/", "invalid volume specification: '/a:/': destination can't be '/'"),
            ("v", "/a:/b:c:d", "too many colons"),
            ("v", "/a:/b:nocopy", "invalid mode: nocopy"),
            ("v", "db:/b:rslave", "invalid mode: rslave"),
            ("v", "/a:/b:shared", "with shared is not supported yet"),
            ("v", "a/b:/c", "\"a/b\" includes invalid characters for a local volume name"),
            ("v", "x:/c", "volume name is too short"),
            ("v", "", "invalid mount path"),
            ("mount", "type=volume", "target is required"),
            ("mount", "type=volume,target=x", "mount path must be absolute"),
            ("mount", "type=foo,target=/x", "mount type unknown: \"foo\""),
            ("mount", "type=image,target=/x", "--mount type=image is not supported yet"),
            ("mount", "type=bind,target=/x", "field Source must not be empty"),
            ("mount", "type=bind,source=x,target=/x", "mount path must be absolute"),
            ("mount", "type=tmpfs,target=/x,source=/y", "field Source must not be specified"),
            ("mount", "type=tmpfs,target=/x,tmpfs-size=big", "invalid value for tmpfs-size: big"),
            (
                "mount",
                "type=tmpfs,target=/x,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'tmpfs'",
            ),
            ("mount", "type=bind,source=/x,target=/x,tmpfs-size=1", "cannot mix 'tmpfs-*' options"),
            ("mount", "target=/x,colour=red", "unexpected key 'colour'"),
            ("mount", "target=/x,volume-opt=type=nfs", "volume-opt"),
            ("mount", "target=/x,readonly=maybe", "invalid value for readonly: maybe"),
            ("mount", "target", "invalid field 'target' must be a key=value pair"),
            ("mount", "target=/x,volume-subpath=/a", "it must be a relative path"),
            ("tmpfs", "x", "mount path must be absolute"),
            ("tmpfs", "/x:what", "Invalid tmpfs option \"what\""),
            ("tmpfs", "/x:size=many", "invalid tmpfs option 'size=many'"),
            ("tmpfs", "/x:mode=9", "invalid tmpfs option 'mode=9'"),
            ("tmpfs", "/x:dev", "with dev is not supported yet"),
            ("from", ":ro", "malformed volumes-from specification: :ro"),
            ("from", "a:b", "invalid mode for volumes-from: b"),
        ] {
            let error = read(&[(flag, value)]).unwrap_err();
            assert!(error.contains(words), "{flag} {value}: {error}");
        }
    }
}
