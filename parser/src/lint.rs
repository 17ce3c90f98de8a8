//! Build checks: the rules by name, and one finding of one rule.

use crate::Lines;

/// The rules of the Dockerfile checks, in Docker's names. InvalidOnbuildTrigger is not one of Docker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described in the Dockerfile reference under its own name")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    ExposeProtoCasing,
    ExposeInvalidFormat,
    InvalidDefinitionDescription,
    InvalidOnbuildTrigger,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lint {
    /// The rule.
    pub rule: Rule,
    /// Docker's message, exactly.
    pub message: String,
    /// The lines that it is about.
    pub lines: Lines,
}

impl Rule {
    /// The rule's name, as in `RuleName: message`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The page that describes the rule; InvalidBaseImagePlatform and rules that Docker does not have have none.
    #[must_use]
    pub fn url(self) -> Option<String> {
        if matches!(self, Self::InvalidBaseImagePlatform | Self::InvalidOnbuildTrigger) {
            return None;
        }
        Some(format!("https://docs.docker.com/go/dockerfile/rule/{}/", kebab(&self.name())))
    }
}

/// `JSONArgsRecommended` → `json-args-recommended`: a capital starts a word unless it continues a run of capitals.
fn kebab(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (index, letter) in letters.iter().enumerate() {
        let after_small = index > 0 && letters[index - 1].is_lowercase();
        let ends_run = index > 0 && letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_small || ends_run) {
            out.push('-');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_addresses() {
        let page = |rule: Rule| rule.url().unwrap();
        assert!(page(Rule::JSONArgsRecommended).ends_with("/rule/json-args-recommended/"));
        assert!(page(Rule::FromAsCasing).ends_with("/rule/from-as-casing/"));
        assert!(page(Rule::SecretsUsedInArgOrEnv).ends_with("/rule/secrets-used-in-arg-or-env/"));
        assert_eq!(Rule::InvalidBaseImagePlatform.url(), None);
    }
}
