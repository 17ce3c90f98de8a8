//! COPY and ADD: sources, destination and what the flags ask for.

use super::findings;
use super::git::{self, GitSource};
use crate::plan::{Action, Chmod, CopyAction, CopySource, Filesystem, GitDirectory, Unpack};
use crate::stage_lowering::StageLowering;
use crate::step_name::file_step_name;
use crate::{PlanError, PlanErrorKind, SourceError};
use rbuild_parser::{Add, Copy, Expansion, Source, Transfer, Word};

pub(super) fn copy(stage: &mut StageLowering<'_, '_>, copy: &Copy) -> Result<(), PlanError> {
    let from = match stage.sources().first().copied().flatten() {
        None => Filesystem::Context,
        Some(source) => stage.files_of(source).ok_or_else(|| {
            let from = copy.from.as_ref().map_or_else(String::new, |from| from.value.clone());
            stage.error(PlanErrorKind::CopyFromLater { from, stage: stage.display_name().to_owned() })
        })?,
    };
    let (mut action, written) = transfer(stage, &copy.transfer, from)?;
    action.parents = copy.parents;
    for source in &action.sources {
        match source {
            CopySource::Path(_) | CopySource::Inline { .. } => {}
            CopySource::Http(_) => return Err(stage.error(PlanErrorKind::Source(SourceError::UrlForCopy))),
            CopySource::Git(_) => return Err(stage.error(PlanErrorKind::Source(SourceError::GitForCopy))),
        }
    }
    push(stage, action, "COPY", &written);
    Ok(())
}

pub(super) fn add(stage: &mut StageLowering<'_, '_>, add: &Add) -> Result<(), PlanError> {
    let (mut action, written) = transfer(stage, &add.transfer, Filesystem::Context)?;
    action.unpack = match add.unpack {
        None => Unpack::Local,
        Some(false) => Unpack::Never,
        Some(true) => Unpack::Always,
    };
    if let Some(checksum) = &add.checksum {
        action.checksum = Some(stage.expand(&checksum.value)?).filter(|checksum| !checksum.is_empty());
    }
    check_remote(&mut action, add.keep_git_dir).map_err(|e| stage.error(PlanErrorKind::Source(e)))?;
    push(stage, action, "ADD", &written);
    Ok(())
}

/// Words that history shows as they were written, after expansion.
struct Written {
    chown: Option<String>,
    chmod: Option<String>,
    destination: String,
}

/// The shared part of COPY and ADD. As in Docker, inline files come after all others.
fn transfer(
    stage: &mut StageLowering<'_, '_>,
    transfer: &Transfer,
    from: Filesystem,
) -> Result<(CopyAction, Written), PlanError> {
    let chown = optional(stage, transfer.chown.as_ref())?;
    let chmod = optional(stage, transfer.chmod.as_ref())?;
    let mut sources = Vec::with_capacity(transfer.sources.len());
    for source in &transfer.sources {
        if let Source::Path(word) = source {
            sources.push(classify(stage.expand(&word.value)?));
        }
    }
    let destination = stage.expand(&transfer.destination.value)?;
    for source in &transfer.sources {
        if let Source::Heredoc(heredoc) = source {
            let content = match heredoc.expansion {
                Expansion::Literal => heredoc.content(),
                Expansion::Active => stage.expand_heredoc(&heredoc.content())?,
            };
            sources.push(CopySource::Inline { name: heredoc.name.clone(), content: content.into_bytes() });
        }
    }
    let mode = chmod.as_ref().map(|text| parse_chmod(text).ok_or_else(|| PlanErrorKind::Chmod(text.clone())));
    let action = CopyAction {
        from,
        sources,
        destination_is_directory: is_directory(&destination),
        destination: stage.state.cwd.join(&destination),
        chown: chown.clone(),
        chmod: mode.transpose().map_err(|kind| stage.error(kind))?,
        link: transfer.link,
        parents: false,
        exclude: transfer.exclude.iter().map(|word| word.value.clone()).collect(),
        unpack: Unpack::Never,
        checksum: None,
        git_directory: GitDirectory::Removed,
    };
    Ok((action, Written { chown, chmod, destination }))
}

fn push(stage: &mut StageLowering<'_, '_>, action: CopyAction, instruction: &str, written: &Written) {
    findings::ignored_sources(stage, &action, instruction);
    let mut created_by = instruction.to_owned();
    if action.parents {
        created_by.push_str(" --parents");
    }
    for (flag, value) in [(" --chown=", &written.chown), (" --chmod=", &written.chmod)] {
        if let Some(value) = value {
            created_by.extend([flag, value]);
        }
    }
    for source in &action.sources {
        match source {
            CopySource::Path(text) | CopySource::Http(text) | CopySource::Git(text) => {
                created_by.extend([" ", text]);
            }
            CopySource::Inline { name, .. } => created_by.extend([" <<", name]),
        }
    }
    created_by.extend([" ", &written.destination, " # buildkit"]);
    let name = file_step_name(stage.text(), stage.escape(), &stage.state.env);
    stage.push_step(Action::Copy(action), &name, created_by);
}

/// A flag's value, expanded; empty is absent.
fn optional(stage: &mut StageLowering<'_, '_>, word: Option<&Word>) -> Result<Option<String>, PlanError> {
    let value = word.map(|word| stage.expand(&word.value)).transpose()?;
    Ok(value.filter(|value| !value.is_empty()))
}

fn is_directory(destination: &str) -> bool {
    matches!(destination, "" | ".") || destination.ends_with('/') || destination.ends_with("/.")
}

/// The kind of source that ADD finds in `source`.
pub(crate) fn classify(source: String) -> CopySource {
    if git::is_git(&source) {
        CopySource::Git(source)
    } else if source.starts_with("http://") || source.starts_with("https://") {
        CopySource::Http(source)
    } else {
        CopySource::Path(source)
    }
}

/// Settles checksum and `.git` between the flags and what Git URLs say themselves.
fn check_remote(action: &mut CopyAction, keep_git_dir: Option<bool>) -> Result<(), SourceError> {
    if action.checksum.is_some() {
        match action.sources.as_slice() {
            [CopySource::Http(_) | CopySource::Git(_)] => {}
            [CopySource::Path(_) | CopySource::Inline { .. }] => return Err(SourceError::ChecksumForLocal),
            _ => return Err(SourceError::ChecksumForMany),
        }
    }
    let (mut keep, flag) = (keep_git_dir, action.checksum.clone());
    for source in &action.sources {
        match source {
            CopySource::Git(url) => {
                let GitSource { checksum, keep_git_dir, .. } = GitSource::parse(url)?;
                if let (Some(flag), Some(query)) = (keep, keep_git_dir)
                    && flag != query
                {
                    return Err(SourceError::KeepGitDir);
                }
                keep = keep_git_dir.or(keep);
                if let (Some(flag), Some(query)) = (&flag, &checksum)
                    && flag != query
                {
                    let (flag, query) = (flag.clone(), query.clone());
                    return Err(SourceError::ChecksumMismatch { flag, query });
                }
                action.checksum = checksum.or(action.checksum.take());
            }
            CopySource::Http(_) => {
                if let Some(checksum) = &action.checksum {
                    check_digest(checksum)?;
                }
            }
            CopySource::Path(_) | CopySource::Inline { .. } => {}
        }
    }
    if keep == Some(true) {
        action.git_directory = GitDirectory::Kept;
    }
    Ok(())
}

fn check_digest(text: &str) -> Result<(), SourceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(SourceError::ChecksumFormat)?;
    if algorithm.is_empty() || hex.is_empty() {
        return Err(SourceError::ChecksumFormat);
    }
    if algorithm != "sha256" {
        return Err(SourceError::ChecksumAlgorithm);
    }
    if hex.len() != 64 {
        return Err(SourceError::ChecksumLength);
    }
    if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(SourceError::ChecksumFormat);
    }
    Ok(())
}

/// Octal up to 07777, or clauses `[ugoa]*[+-=][rwxXst or one of ugo]`, several actions a clause allowed.
fn parse_chmod(text: &str) -> Option<Chmod> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(Chmod::Octal);
    }
    let clause = |clause: &str| {
        let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let mut chars = actions.chars().peekable();
        while let Some(operator) = chars.next() {
            if !matches!(operator, '+' | '-' | '=') {
                return false;
            }
            let who = chars.next_if(|c| matches!(c, 'u' | 'g' | 'o')).is_some();
            while !who && chars.next_if(|c| matches!(c, 'r' | 'w' | 'x' | 'X' | 's' | 't')).is_some() {}
        }
        !actions.is_empty()
    };
    text.split(',').all(clause).then(|| Chmod::Symbolic(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_or_clauses() {
        assert_eq!(parse_chmod("0755"), Some(Chmod::Octal(0o755)));
        for good in ["u+x", "go-w", "a=rX", "+x", "u=rwx,g=u,o=", "u+x-w"] {
            assert_eq!(parse_chmod(good), Some(Chmod::Symbolic(good.to_owned())), "{good}");
        }
        for bad in ["9999", "10000", "u", "u+q", "u+x,", "x", "u+gx", "0o755"] {
            assert_eq!(parse_chmod(bad), None, "{bad}");
        }
    }
}
