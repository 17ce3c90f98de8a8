//! Why a step was not in the cache, as a word.

use rbuild::MissReason;

/// A word for programs; words are only ever added.
#[must_use]
pub fn miss_word(reason: &MissReason) -> &'static str {
    match reason {
        MissReason::New => "new",
        MissReason::Changed(_) => "changed",
        MissReason::OtherBase => "other-base",
        MissReason::Input => "input",
        MissReason::Evicted { .. } => "evicted",
        MissReason::Lost => "lost",
        MissReason::NoCache => "no-cache",
    }
}
