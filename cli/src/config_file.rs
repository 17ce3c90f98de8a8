//! rbuild's own file of configuration, `config.toml`: the system's in `/etc/rbuild`, and a person's beside their other
//! configuration, which counts more. A key that is not known is an error, because a budget with a slip of the pen limits
//! nothing.

use crate::{environment::Environment, error::CliError, small_file};
use rbuild::{Space, SpaceLimits};
use serde::Deserialize;
use std::{
    io,
    path::{Path, PathBuf},
};

/// What the files say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    /// `[gc]`: how much the store keeps.
    pub(crate) limits: SpaceLimits,
    /// `[gc]`: how many bytes a cache mount keeps.
    pub(crate) mount_max_bytes: Option<u64>,
    /// `[gc]`: how many failed steps are kept.
    pub(crate) failed_steps: Option<usize>,
    /// `[gc]`: how many bytes of them.
    pub(crate) failed_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    gc: Gc,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Gc {
    #[serde(alias = "max-used-space", alias = "max-size")]
    max_used_space: Option<Amount>,
    #[serde(alias = "min-free-space", alias = "min-free")]
    min_free_space: Option<Amount>,
    #[serde(alias = "reserved-space", alias = "reserved")]
    reserved_space: Option<Amount>,
    #[serde(alias = "mount-max-size")]
    mount_max_size: Option<Amount>,
    #[serde(alias = "failed-steps")]
    failed_steps: Option<usize>,
    #[serde(alias = "failed-steps-size")]
    failed_steps_size: Option<Amount>,
}

/// Bytes as a number, or a size as a text.
struct Amount(Space);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom("a size is expected"))?
        {
            Written::Number(bytes) => Ok(Self(Space::Bytes(bytes))),
            Written::Text(text) => Space::parse(&text).map(Self).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "{text:?} is no size: write it as \"20GB\", or \"10%\" of the disk"
                ))
            }),
        }
    }
}

impl ConfigFile {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// [`CliError::File`], [`CliError::ConfigFile`] for a file that cannot be used.
    pub(crate) fn read(environment: &Environment) -> Result<Self, CliError> {
        let own = Self::of(&environment.config_home().join("rbuild/config.toml"))?;
        let system = Self::of(Path::new("/etc/rbuild/config.toml"))?;
        Ok(Self {
            limits: own.limits.or(system.limits),
            mount_max_bytes: own.mount_max_bytes.or(system.mount_max_bytes),
            failed_steps: own.failed_steps.or(system.failed_steps),
            failed_bytes: own.failed_bytes.or(system.failed_bytes),
        })
    }

    fn of(path: &Path) -> Result<Self, CliError> {
        let text = match small_file::read_text(path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(error) => return Err(CliError::file("read", path)(error)),
        };
        let Document { gc } = toml::from_str(&text).map_err(|error| wrong(path, &text, &error))?;
        let space = |amount: Option<Amount>| amount.map(|Amount(space)| space);
        let limits = SpaceLimits {
            max_used: space(gc.max_used_space),
            min_free: space(gc.min_free_space),
            reserved: space(gc.reserved_space),
        };
        let bytes = |key: &str, amount: Option<Amount>| match space(amount) {
            Some(Space::Percent(_)) => {
                let problem = format!("{key} is a size, not a part of the disk");
                Err(CliError::ConfigFile { path: path.to_owned(), problem })
            }
            Some(Space::Bytes(bytes)) => Ok(Some(bytes)),
            None => Ok(None),
        };
        Ok(Self {
            limits,
            mount_max_bytes: bytes("mountMaxSize", gc.mount_max_size)?,
            failed_steps: gc.failed_steps,
            failed_bytes: bytes("failedStepsSize", gc.failed_steps_size)?,
        })
    }
}

fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> CliError {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    let path: PathBuf = path.to_owned();
    CliError::ConfigFile { path, problem: format!("{place}{}", error.message()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::User;
    use std::fs;

    #[test]
    fn a_file_says_how_much_is_kept_and_slips_are_named() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/rbuild");
        let environment = Environment::of(&[("HOME", home.path().to_str().unwrap())], User::Ordinary);
        assert_eq!(ConfigFile::read(&environment).unwrap(), ConfigFile::default());
        fs::create_dir_all(&directory).unwrap();
        let read = |text: &str| {
            fs::write(directory.join("config.toml"), text).unwrap();
            ConfigFile::read(&environment).map_err(|error| error.to_string())
        };
        let read_all =
            read("[gc]\nmaxUsedSpace = \"20GB\"\nmin-free = \"10%\"\nreservedSpace = 4096\n").unwrap();
        assert_eq!(
            read_all.limits,
            SpaceLimits {
                max_used: Some(Space::Bytes(20 << 30)),
                min_free: Some(Space::Percent(10)),
                reserved: Some(Space::Bytes(4096)),
            }
        );
        for (text, problem) in [
            ("[gc]\nmaxUsedSpce = 1\n", "line 2: unknown field `maxUsedSpce`"),
            ("[gc]\n\nmaxUsedSpace = \"20 cows\"\n", "line 3: \"20 cows\" is no size: write it as \"20GB\""),
            ("[gc]\nmaxUsedSpace = -1\n", "line 2: a size is expected"),
            ("[gc\n", "line 1: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("config.toml: ") && error.contains(problem), "{error}");
        }
    }
}
