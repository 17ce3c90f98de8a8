//! Build checks: which findings are wanted (`# check=`, the build argument, comments above an instruction), and the
//! findings the planner itself makes from names.
//!
//! Findings are made freely everywhere and filtered once, at the end of planning, be it a plan or an error.

use crate::plan::Plan;
use crate::{PlanError, PlanErrorKind};
use rbuild_parser::{Dockerfile, Lines, Lint, Rule, Word};
use std::collections::{BTreeSet, HashSet};

/// What the check options say, for the file and for single instructions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    file: CheckOptions,
    /// Options in comments above instructions, in file order.
    instructions: Vec<(Lines, CheckOptions)>,
}

#[derive(Clone, Debug, Default)]
struct CheckOptions {
    skip: RuleSet,
    experimental: RuleSet,
    fatal: bool,
}

#[derive(Clone, Debug, Default)]
struct RuleSet {
    all: bool,
    names: Vec<String>,
}

impl Checks {
    /// Reads the options; `override_` replaces the file's directive altogether.
    pub(crate) fn new(dockerfile: &Dockerfile, override_: Option<&str>) -> Result<Self, PlanError> {
        let directive = dockerfile.directives.check.as_ref().map(|word| word.value.as_str());
        let file = CheckOptions::parse(override_.or(directive).unwrap_or(""))
            .map_err(|text| PlanErrorKind::CheckOptions(text).nowhere())?;
        let mut instructions = Vec::new();
        let mut read = |comments: &[Word], lines: Lines| {
            let mut found = comments.iter().filter_map(|comment| {
                let value = comment.value.trim().strip_prefix("check=")?;
                CheckOptions::parse(value.split_whitespace().next().unwrap_or("")).ok()
            });
            if let Some(options) = found.next_back() {
                instructions.push((lines, options));
            }
        };
        for arg in &dockerfile.global_args {
            read(&arg.comments, arg.lines);
        }
        for stage in &dockerfile.stages {
            read(&stage.from.comments, stage.from.lines);
            for node in &stage.instructions {
                read(&node.comments, node.lines);
            }
        }
        Ok(Self { file, instructions })
    }

    /// The wanted ones of `lints` and of the parser's findings, by line; equal ones once.
    pub(crate) fn filter(&self, dockerfile: &Dockerfile, mut lints: Vec<Lint>) -> Vec<Lint> {
        lints.extend(dockerfile.lints.iter().cloned());
        let mut seen = HashSet::new();
        lints.retain(|lint| self.wants(lint) && seen.insert(lint.clone()));
        lints.sort_by_key(|lint| lint.lines);
        lints
    }

    /// The rules broken by `lints`, when the options make that an error.
    pub(crate) fn fatal_rules(&self, lints: &[Lint]) -> Vec<String> {
        if !self.file.fatal {
            return Vec::new();
        }
        let rules: BTreeSet<String> = lints.iter().map(|lint| lint.rule.name()).collect();
        rules.into_iter().collect()
    }

    fn wants(&self, lint: &Lint) -> bool {
        let name = lint.rule.name();
        let at = self.instructions.partition_point(|(lines, _)| lines.last < lint.lines.first);
        let own = self.instructions.get(at).filter(|(lines, _)| lines.first <= lint.lines.first);
        let mut applying = std::iter::once(&self.file).chain(own.map(|(_, options)| options));
        if lint.rule == Rule::InvalidDefinitionDescription {
            applying.any(|options| options.experimental.holds(&name))
        } else {
            !applying.any(|options| options.skip.holds(&name))
        }
    }
}

impl RuleSet {
    fn holds(&self, rule: &str) -> bool {
        self.all || self.names.iter().any(|name| name == rule)
    }

    fn parse(value: &str) -> Self {
        match value.trim() {
            "all" => Self { all: true, names: Vec::new() },
            names => {
                Self { all: false, names: names.split(',').map(|name| name.trim().to_owned()).collect() }
            }
        }
    }
}

impl CheckOptions {
    fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for option in text.trim().splitn(3, ';') {
            let (key, value) =
                option.split_once('=').ok_or_else(|| format!("invalid check option {option:?}"))?;
            match key.trim() {
                "skip" => options.skip = RuleSet::parse(value),
                "experimental" => options.experimental = RuleSet::parse(value),
                "error" => {
                    options.fatal = parse_bool(value.trim())
                        .ok_or_else(|| format!("failed to parse check option {option:?}"))?;
                }
                key => return Err(format!("invalid check option {key:?}")),
            }
        }
        Ok(options)
    }
}

impl Plan {
    /// Fails when a finding was made and the check options say `error=true`.
    ///
    /// # Errors
    /// [`PlanErrorKind::LintViolation`] with the rules' names, sorted.
    pub fn lint_errors(&self) -> Result<(), PlanError> {
        if self.fatal_rules.is_empty() {
            return Ok(());
        }
        Err(PlanErrorKind::LintViolation(self.fatal_rules.clone()).nowhere())
    }
}

/// How many names are compared in one plan to suggest one. A file that gets there has thousands of mistakes.
pub(crate) const MOST_COMPARED: usize = 2_000_000;

/// A finding.
pub(crate) fn finding(rule: Rule, message: String, lines: Lines) -> Lint {
    Lint { rule, message, lines }
}

/// ` (did you mean X?)`, with `mark` before the name.
pub(crate) fn hint(name: Option<&str>, mark: &str) -> String {
    name.map(|name| format!(" (did you mean {mark}{name}?)")).unwrap_or_default()
}

/// SecretsUsedInArgOrEnv: whether `key` sounds like a secret.
pub(crate) fn sounds_secret(key: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let has = |words: &[&str]| key.split('_').any(|part| words.iter().any(|w| part.eq_ignore_ascii_case(w)));
    has(&SECRET) && !has(&HARMLESS)
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
