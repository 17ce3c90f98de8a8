//! Platforms: `os/architecture[/variant]`, normalised as containerd does.

use crate::ParseError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An operating system and processor, in GOOS and GOARCH words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Processor architecture in GOARCH words, such as `amd64`.
    pub architecture: String,
    /// Operating system in GOOS words, such as `linux`.
    pub os: String,
    /// Operating system version (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What it needs of its operating system (Windows).
    #[serde(rename = "os.features", default, skip_serializing_if = "<[String]>::is_empty")]
    pub os_features: Box<[String]>,
    /// Processor variant, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The operating systems that a platform of one word may name, as containerd has them.
const SYSTEMS: [&str; 18] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];

/// The processors that a platform of one word may name, as containerd has them.
const ARCHITECTURES: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// The platform that this program was compiled for.
    #[must_use]
    pub fn host() -> Self {
        Self::normalised("linux", std::env::consts::ARCH, None)
    }

    /// A platform in normal form: `x86_64` becomes `amd64` and `aarch64` becomes `arm64`; amd64 loses the variant `v1`
    /// and arm64 the variant `v8`; arm without a variant gets `v7`.
    #[must_use]
    pub fn normalised(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = os.to_ascii_lowercase();
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "i386" => ("386".to_owned(), None),
            "armhf" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            other => (other.to_owned(), None),
        };
        let variant = variant.filter(|v| !v.is_empty()).or(implied).map(str::to_ascii_lowercase);
        let variant = match (architecture.as_str(), variant.as_deref()) {
            ("amd64", Some("v1")) | ("arm64", Some("v8" | "8")) => None,
            ("arm", None | Some("7")) => Some("v7".to_owned()),
            ("arm", Some("5" | "6" | "8")) => variant.map(|v| format!("v{v}")),
            _ => variant,
        };
        Self { architecture, os, os_version: None, os_features: Box::default(), variant }
    }

    /// True if `text` has only characters that the parts of a platform may have.
    pub(crate) fn is_word(text: &str) -> bool {
        text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    }

    /// How far a program for this platform is from `wanted`, on which it runs; 0 is the same platform, more is an older
    /// variant. `None` when it does not run there.
    #[must_use]
    pub fn distance(&self, wanted: &Self) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let level = |platform: &Self| {
            let digits = platform.variant.as_deref().unwrap_or("").trim_start_matches('v');
            digits.parse::<u32>().ok()
        };
        match (level(self), level(wanted)) {
            (None, None) => Some(0),
            // no variant means the oldest: v1 of amd64, v8 of arm64
            (None, Some(wanted)) => Some(wanted),
            (Some(offered), Some(wanted)) => wanted.checked_sub(offered),
            (Some(_), None) => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let well_formed = |part: &&str| !part.is_empty() && Self::is_word(part);
        if let Some(part) = parts.iter().find(|part| !well_formed(part)) {
            let [text, part] = [text, part].map(str::to_owned);
            return Err(ParseError::PlatformPart { text, part });
        }
        match parts.as_slice() {
            [one] if SYSTEMS.contains(&Self::normalised(one, "", None).os.as_str()) => {
                let host = Self::host();
                Ok(Self::normalised(one, &host.architecture, host.variant.as_deref()))
            }
            [one] => {
                let platform = Self::normalised("linux", one, None);
                if ARCHITECTURES.contains(&platform.architecture.as_str()) {
                    Ok(platform)
                } else {
                    Err(ParseError::UnknownPlatform(text.to_owned()))
                }
            }
            [os, architecture] => Ok(Self::normalised(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::normalised(os, architecture, Some(variant))),
            _ => Err(ParseError::Platform(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_normalise() {
        for (text, shown) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("aarch64", "linux/arm64"),
            ("windows", &format!("windows/{}", Platform::host().architecture)),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        // each as BuildKit gave it to TARGETPLATFORM
        for (text, shown) in [
            ("linux/arm/v5", "linux/arm/v5"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm/v8", "linux/arm/v8"),
            ("linux/armhf", "linux/arm/v7"),
            ("armel", "linux/arm/v6"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/V2", "linux/amd64/v2"),
            ("linux/i386", "linux/386"),
            ("linux/x86", "linux/x86"),
            ("mips64", "linux/mips64"),
            ("mips64le", "linux/mips64le"),
            ("riscv64", "linux/riscv64"),
            ("ppc64le", "linux/ppc64le"),
            ("s390x", "linux/s390x"),
            ("wasm", "linux/wasm"),
            ("macos/arm64", "darwin/arm64"),
            ("plan9/386", "plan9/386"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        for bad in ["", "a/b/c/d", "linux/", "li nux/amd64", "plan9x"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        for (text, message) in [
            ("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier"),
            ("plan9x", "\"plan9x\": unknown operating system or architecture"),
            (
                "linux/",
                "\"\" is an invalid component of \"linux/\": platform specifier component must match \
                 \"^[A-Za-z0-9_.-]+$\"",
            ),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap_err().to_string(), message);
        }
    }
}
