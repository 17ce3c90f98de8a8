//! The position that is shown before a step's name: `[stage i/n]`.

use crate::env::Env;
use crate::options::PositionStyle;
use rbuild_oci::Platform;
use std::fmt::Write as _;

/// Counts the steps of one stage.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    stage: Option<String>,
    platform: Option<Platform>,
    next: usize,
    total: usize,
}

impl Positions {
    /// For a stage shown as `stage` with `total` countable instructions.
    pub(crate) fn new(
        stage: Option<String>,
        total: usize,
        style: PositionStyle,
        platform: &Platform,
    ) -> Self {
        let platform = match style {
            PositionStyle::Plain => None,
            PositionStyle::WithPlatform => Some(platform.clone()),
        };
        Self { stage, platform, next: 1, total }
    }

    /// The next `[stage i/n]`; empty when the stage has no countable instruction. `env` has the target of a cross build.
    pub(crate) fn take(&mut self, env: &Env) -> String {
        if self.total == 0 {
            return String::new();
        }
        let mut out = String::with_capacity(24);
        out.push('[');
        if let Some(platform) = &self.platform {
            out.push_str(&format!("{platform}{} ", made_for(platform, env)));
        }
        if let Some(stage) = &self.stage {
            out.push_str(stage);
            out.push(' ');
        }
        let width = self.total.ilog10() as usize + 1;
        write!(out, "{:width$}/{}]", self.next, self.total).expect("writing to a string never fails");
        self.next += 1;
        out
    }
}

/// `->arm64` when a stage that runs on `platform` makes files for another one.
fn made_for(platform: &Platform, env: &Env) -> String {
    let target = match env.get("TARGETPLATFORM").and_then(|text| text.parse::<Platform>().ok()) {
        Some(target) => target,
        None => {
            let [os, architecture, variant] =
                ["TARGETOS", "TARGETARCH", "TARGETVARIANT"].map(|name| env.get(name));
            let given = |text: Option<&str>, default: &str| {
                text.filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
            };
            let os = given(os, &platform.os);
            Platform::normalised(&os, &given(architecture, &platform.architecture), variant)
        }
    };
    if target.os != platform.os {
        format!("->{target}")
    } else if target.architecture != platform.architecture {
        let variant = target.variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("->{}{variant}", target.architecture)
    } else {
        String::new()
    }
}
