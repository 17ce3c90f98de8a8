//! Build checks that need only the text.
//!
//! Findings are reported for every stage, even if the target does not need it. Docker makes some findings only for the
//! instructions that it carries out; the planner makes those, because it knows these instructions.

use std::collections::HashSet;

use crate::{ArgDeclaration, Instruction, Lines, Lint, Node, Rule, Stage};

/// The findings of a file, in no particular order. Blank lines inside instructions are found while joining lines.
pub(crate) fn findings(global_args: &[Node<Vec<ArgDeclaration>>], stages: &[Stage]) -> Vec<Lint> {
    let mut lints = Vec::new();
    for node in global_args {
        describe_args(node, &node.value, &mut lints);
    }
    keyword_casing(stages, &mut lints);
    let mut names = HashSet::new();
    for stage in stages {
        stage_name(&stage.from, &mut names, &mut lints);
        for node in &stage.instructions {
            instruction(node, &mut lints);
        }
    }
    lints
}

fn finding<T>(rule: Rule, message: String, node: &Node<T>) -> Lint {
    Lint { rule, message, lines: node.lines }
}

fn instruction(node: &Node<Instruction>, lints: &mut Vec<Lint>) {
    match &node.value {
        Instruction::Maintainer(_) => {
            let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
            lints.push(finding(Rule::MaintainerDeprecated, message, node));
        }
        Instruction::Arg(declarations) => describe_args(node, declarations, lints),
        Instruction::Onbuild(onbuild) => {
            if let Err(error) = &onbuild.instruction {
                let message = format!("Builds on this image will fail at this trigger: {error}");
                lints.push(finding(Rule::InvalidOnbuildTrigger, message, node));
            }
        }
        Instruction::Add(_)
        | Instruction::Cmd(_)
        | Instruction::Copy(_)
        | Instruction::Entrypoint(_)
        | Instruction::Env(_)
        | Instruction::Expose(_)
        | Instruction::Healthcheck(_)
        | Instruction::Label(_)
        | Instruction::Run(_)
        | Instruction::Shell(_)
        | Instruction::Stopsignal(_)
        | Instruction::User(_)
        | Instruction::Volume(_)
        | Instruction::Workdir(_) => {}
    }
}

fn stage_name<'a>(from: &'a Node<crate::From>, names: &mut HashSet<&'a str>, lints: &mut Vec<Lint>) {
    let Some(name) = &from.value.name else { return };
    let name = name.value.as_str();
    if matches!(name, "scratch" | "context") {
        let message = format!("Stage name should not use the same name as reserved stage \"{name}\"");
        lints.push(finding(Rule::ReservedStageName, message, from));
    }
    if !names.insert(name) {
        let message = format!("Duplicate stage name \"{name}\", stage names should be unique");
        lints.push(finding(Rule::DuplicateStageName, message, from));
    }
    describe(from, "FROM", &[name], lints);
}

/// Checks the words of a FROM without its flags, even if the instruction is wrong.
pub(crate) fn from_words(keyword: &str, words: &str, lines: Lines, lints: &mut Vec<Lint>) {
    let words: Vec<&str> = words.split_whitespace().collect();
    if let [_, _, name] = words[..]
        && name.chars().any(char::is_uppercase)
    {
        let message = format!("Stage name '{name}' should be lowercase");
        lints.push(Lint { rule: Rule::StageNameCasing, message, lines });
    }
    let [_, between, _, ..] = words[..] else { return };
    let differs = match Case::of(keyword) {
        Some(Case::Upper) => between.to_uppercase() != between,
        Some(Case::Lower) => between.to_lowercase() != between,
        None => false,
    };
    if differs {
        let message = format!("'{between}' and '{keyword}' keywords' casing do not match");
        lints.push(Lint { rule: Rule::FromAsCasing, message, lines });
    }
}

fn describe_args<T>(node: &Node<T>, declarations: &[ArgDeclaration], lints: &mut Vec<Lint>) {
    let names: Vec<&str> = declarations.iter().map(|declaration| declaration.name.value.as_str()).collect();
    describe(node, "ARG", &names, lints);
}

/// The last comment line above a definition should begin with a name it defines.
fn describe<T>(node: &Node<T>, instruction: &str, names: &[&str], lints: &mut Vec<Lint>) {
    let Some(comment) = node.comments.last() else { return };
    let word = comment.value.split(' ').next().unwrap_or_default();
    if names.contains(&word) {
        return;
    }
    let example = match names {
        [name] => name,
        _ => "<arg_key>",
    };
    let message = format!("Comment for {instruction} should follow the format: `# {example} <description>`");
    lints.push(finding(Rule::InvalidDefinitionDescription, message, node));
}

/// A case a whole word can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Lower,
}

impl Case {
    /// The case of a word, `None` when it is mixed.
    fn of(word: &str) -> Option<Self> {
        match (word.chars().any(char::is_uppercase), word.chars().any(char::is_lowercase)) {
            (true, true) => None,
            (false, true) => Some(Self::Lower),
            (_, false) => Some(Self::Upper),
        }
    }
}

/// All keywords should have the case that most of them have, or upper case if both are as frequent. Global ARGs are not
/// checked.
fn keyword_casing(stages: &[Stage], lints: &mut Vec<Lint>) {
    let keywords = || {
        stages.iter().flat_map(|stage| {
            let rest = stage.instructions.iter().map(|node| (node.keyword.value.as_str(), node.lines));
            std::iter::once((stage.from.keyword.value.as_str(), stage.from.lines)).chain(rest)
        })
    };
    let count = |case| keywords().filter(|(keyword, _)| Case::of(keyword) == Some(case)).count();
    let (majority, name) = match count(Case::Lower) > count(Case::Upper) {
        true => (Case::Lower, "lowercase"),
        false => (Case::Upper, "uppercase"),
    };
    for (keyword, lines) in keywords() {
        if Case::of(keyword) != Some(majority) {
            let message =
                format!("Command '{keyword}' should match the case of the command majority ({name})");
            lints.push(Lint { rule: Rule::ConsistentInstructionCasing, message, lines });
        }
    }
}
