//! Build checks: the choice of findings (by `# check=`, the build argument, comments above an instruction), and the
//! findings that the planner itself makes from names.
//!
//! The options of the instruction that makes a finding decide if the planner records it; the finding may point at another
//! instruction. The parser's findings are chosen at the end, for a plan and for an error, and come first: all findings
//! are in the order in which Docker makes them.

use crate::lower::Lowering;
use crate::options::PlanOptions;
use crate::plan::Plan;
use crate::stage_graph::StageGraph;
use crate::{PlanError, PlanErrorKind};
use rbuild_parser::{Dockerfile, Lines, Lint, Rule, Word};
use std::collections::BTreeSet;

/// The check options of the file and of single instructions.
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
    /// Reads the options; `argument` replaces the file's directive altogether. Of a directive or a comment only the first
    /// word counts, as with all directives; of several comments the first.
    pub(crate) fn new(dockerfile: &Dockerfile, argument: Option<&str>) -> Result<Self, PlanError> {
        let directive = dockerfile.directives.check.as_ref().map(|word| first_word(&word.value));
        let file = match argument {
            Some(argument) => CheckOptions::parse(argument).map_err(PlanErrorKind::CheckArgument),
            None => CheckOptions::parse(directive.unwrap_or("")).map_err(PlanErrorKind::CheckOptions),
        };
        let file = file.map_err(PlanErrorKind::nowhere)?;
        let mut instructions = Vec::new();
        let mut read = |comments: &[Word], lines: Lines| {
            let option = comments.iter().find_map(|comment| {
                let (name, value) = comment.value.split_once('=')?;
                name.trim().eq_ignore_ascii_case("check").then_some(value)
            });
            if let Some(Ok(options)) = option.map(|value| CheckOptions::parse(first_word(value))) {
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

    /// The wanted ones of the parser's findings, and after them the planner's, `made`.
    pub(crate) fn after_the_parser_s(&self, dockerfile: &Dockerfile, made: Vec<Lint>) -> Vec<Lint> {
        let found = dockerfile.lints.iter().filter(|lint| self.wants(lint.rule, Some(lint.lines)));
        let mut lints: Vec<Lint> = found.cloned().collect();
        lints.sort_by_key(|lint| round(lint.rule));
        lints.extend(made);
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

    /// True if a finding that the instruction at `lines` makes is wanted. A trigger has no lines.
    fn wants(&self, rule: Rule, lines: Option<Lines>) -> bool {
        let name = rule.name();
        let own = lines.and_then(|at| {
            let index = self.instructions.partition_point(|(lines, _)| lines.last < at.first);
            self.instructions.get(index).filter(|(lines, _)| lines.first <= at.first)
        });
        let mut applying = std::iter::once(&self.file).chain(own.map(|(_, options)| options));
        if rule == Rule::InvalidDefinitionDescription {
            applying.any(|options| options.experimental.holds(&name))
        } else {
            !applying.any(|options| options.skip.holds(&name))
        }
    }
}

/// The findings that Docker makes while it reads `dockerfile`, for a file whose rest cannot be read. Empty when the check
/// options cannot be read either.
#[must_use]
pub fn findings_while_reading(dockerfile: &Dockerfile, options: &PlanOptions) -> Vec<Lint> {
    let argument = options.build_args.iter().rfind(|(name, _)| name == CHECK_ARGUMENT);
    let Ok(checks) = Checks::new(dockerfile, argument.map(|(_, value)| value.as_str())) else {
        return Vec::new();
    };
    let mut lints = checks.after_the_parser_s(dockerfile, Vec::new());
    lints.retain(|lint| round(lint.rule) <= LAST_WHILE_READING);
    lints
}

/// The build argument that replaces a file's check options.
pub(crate) const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

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
                    let value = value.trim();
                    options.fatal = parse_bool(value).ok_or_else(|| {
                        let reason = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
                        format!("failed to parse check option {option:?}: {reason}")
                    })?;
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

impl StageGraph {
    /// Records a finding of the FROM at `lines`.
    pub(crate) fn report(&mut self, rule: Rule, message: String, lines: Lines) {
        if self.input.checks.wants(rule, Some(lines)) {
            self.lints.push(Lint { rule, message, lines });
        }
    }
}

impl Lowering<'_> {
    /// Records a finding at `lines`, made by the instruction at `maker`; a trigger has no lines of its own.
    pub(crate) fn report(&mut self, rule: Rule, message: String, (lines, maker): (Lines, Option<Lines>)) {
        if self.graph.input.checks.wants(rule, maker) {
            self.lints.push(Lint { rule, message, lines });
        }
    }
}

/// The largest number of names that are compared in one plan to suggest one. A file that reaches it has thousands of
/// mistakes.
pub(crate) const MOST_COMPARED: usize = 2_000_000;

/// The last of Docker's passes that makes findings while it reads the file.
const LAST_WHILE_READING: u8 = 1;

/// The number of Docker's pass over the file that makes this finding.
fn round(rule: Rule) -> u8 {
    match rule {
        Rule::NoEmptyContinuation => 0,
        Rule::StageNameCasing
        | Rule::FromAsCasing
        | Rule::MaintainerDeprecated
        | Rule::InvalidOnbuildTrigger
        | Rule::InvalidDefinitionDescription => 1,
        Rule::ReservedStageName | Rule::DuplicateStageName => 2,
        Rule::ConsistentInstructionCasing => 3,
        Rule::InvalidDefaultArgInFrom => 4,
        Rule::UndefinedArgInFrom | Rule::RedundantTargetPlatform | Rule::FromPlatformFlagConstDisallowed => 5,
        Rule::InvalidBaseImagePlatform => 6,
        Rule::JSONArgsRecommended
        | Rule::WorkdirRelativePath
        | Rule::UndefinedVar
        | Rule::MultipleInstructionsDisallowed
        | Rule::LegacyKeyValueFormat
        | Rule::SecretsUsedInArgOrEnv
        | Rule::CopyIgnoredFile
        | Rule::ExposeProtoCasing
        | Rule::ExposeInvalidFormat => 7,
    }
}

fn first_word(value: &str) -> &str {
    value.split_whitespace().next().unwrap_or("")
}

/// ` (did you mean X?)`, with `mark` before the name.
pub(crate) fn hint(name: Option<&str>, mark: &str) -> String {
    name.map(|name| format!(" (did you mean {mark}{name}?)")).unwrap_or_default()
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
