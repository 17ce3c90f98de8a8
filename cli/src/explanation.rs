//! Why steps of a build ran, for people: in a line for each, or in full with old and new values.

use crate::shown::one_line;
use rbuild::{BuildRecord, ChangedInput, EvictedBy, FileAspect, MissReason, RecordedStep, StepOutcome};
use rbuild_docker_api::{first_miss, shortened, step_status};
use std::fmt::Write;

/// Changed inputs that are named in one line.
const INPUTS: usize = 3;
/// Characters of an instruction that are shown.
const WIDTH: usize = 64;
/// Characters of a value that are shown, and how many of them stand before the first difference.
const VALUE: usize = 72;
const BEFORE: usize = 24;

/// Why the first step that ran was not in the cache, in one line.
pub(crate) fn first_line(build: &BuildRecord) -> Option<String> {
    let step = first_miss(build)?;
    let reason = step.miss.as_ref()?;
    let why = match reason {
        MissReason::Changed(changes) => changes.first().map_or_else(String::new, described),
        MissReason::New => "never built before".to_owned(),
        other => miss(other),
    };
    let instruction = shortened(&one_line(&step.instruction), WIDTH);
    Some(
        one_line(&format!(
            "first step not in the cache: step {} (line {}) {instruction}: {why}",
            step.number, step.line
        ))
        .into_owned(),
    )
}

/// The whole explanation.
pub(crate) fn text(build: &BuildRecord) -> String {
    let steps = build.steps();
    let cached = steps.iter().filter(|step| step.outcome == StepOutcome::Cached).count();
    let ran = steps.iter().filter(|step| step.miss.is_some()).count();
    let mut out =
        format!("Build {}: {cached} of {} steps from the cache, {ran} ran\n", build.id.short(), steps.len());
    for step in steps.iter().filter(|step| step.miss.is_some()) {
        out.push('\n');
        add_step(build, step, &mut out);
    }
    out
}

/// The explanation of one step.
pub(crate) fn step_text(build: &BuildRecord, step: &RecordedStep) -> String {
    let mut out = String::new();
    add_step(build, step, &mut out);
    out
}

fn add_step(build: &BuildRecord, step: &RecordedStep, out: &mut String) {
    let instruction = shortened(&one_line(&format!("[{}] {}", step.stage, step.instruction)), WIDTH);
    // writing to memory cannot fail
    let _ = write!(out, "step {} {instruction} (line {})\n    ", step.number, step.line);
    let Some(reason) = &step.miss else {
        let _ = match step.outcome {
            StepOutcome::Cached => writeln!(out, "was in the cache"),
            StepOutcome::NotRun => writeln!(out, "did not run: nothing needed it, or the build ended before"),
            StepOutcome::Done | StepOutcome::Failed { .. } | StepOutcome::Canceled => {
                writeln!(out, "{}, for a reason that was not noted", step_status(&step.outcome))
            }
        };
        return;
    };
    let sentence = match reason {
        MissReason::New => "ran, because no earlier build had a step like it".to_owned(),
        MissReason::Changed(changes) => {
            out.push_str("ran, because this changed since the step that is most like it:\n");
            for change in changes {
                let _ = writeln!(out, "      {}", one_line(&described(change)));
            }
            return;
        }
        MissReason::OtherBase | MissReason::Input => after_others(build, step),
        MissReason::Evicted { .. }
        | MissReason::Lost
        | MissReason::OtherMachine
        | MissReason::Unavailable { .. }
        | MissReason::NoCache => format!("ran, because {}", miss(reason)),
    };
    let _ = writeln!(out, "{}", one_line(&sentence));
}

/// The steps that ran before one that stands on them or takes files from them.
fn after_others(build: &BuildRecord, step: &RecordedStep) -> String {
    let ran = |number: &&u32| {
        let earlier = build.steps().iter().find(|earlier| earlier.number == **number);
        earlier.is_some_and(|earlier| earlier.miss.is_some())
    };
    let numbers: Vec<String> = step.after.iter().filter(ran).map(u32::to_string).collect();
    match numbers.as_slice() {
        [] => "ran, because the files that it stands on are not those of an earlier build".to_owned(),
        [one] => format!("ran, because step {one} ran before it and left other files"),
        several => format!("ran, because steps {} ran before it and left other files", several.join(" and ")),
    }
}

/// Why a step has no result in the cache, in one line.
pub(crate) fn miss(reason: &MissReason) -> String {
    match reason {
        MissReason::New => "new".to_owned(),
        MissReason::Changed(inputs) => {
            let mut changes: Vec<String> = inputs.iter().map(change).collect();
            // several words of one command
            changes.dedup();
            let named = &changes[..changes.len().min(INPUTS)];
            let more = match changes.len().saturating_sub(INPUTS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("changed: {}{more}", named.join(", "))
        }
        MissReason::OtherBase => "what it stands on changed".to_owned(),
        MissReason::Input => "a step that it needs ran".to_owned(),
        MissReason::Evicted { at, by } => match by {
            None => format!("its result was removed at {at} to make room"),
            Some(EvictedBy::Prune) => format!("its result was removed at {at} by a prune"),
            Some(EvictedBy::MaxUsedSpace) => {
                format!(
                    "its result was removed at {at}, because the store was to stay within its max-used-space"
                )
            }
            Some(EvictedBy::MinFreeSpace) => {
                format!("its result was removed at {at}, because min-free-space of the disk was to stay free")
            }
            Some(EvictedBy::Lost) => {
                format!("its result was given up at {at}, because a layer that it stands on was gone")
            }
        },
        MissReason::Lost => "its result is lost: damaged, removed, or struck by a power cut".to_owned(),
        MissReason::OtherMachine => {
            "its result was made by another machine, and is not here as a whole".to_owned()
        }
        MissReason::Unavailable { from } => format!("its layer cannot be had from {from}, where it is"),
        MissReason::NoCache => "no cache wanted".to_owned(),
    }
}

/// An input that changed, without its values.
fn change(changed: &ChangedInput) -> String {
    let ChangedInput { input, before, now, aspects } = changed;
    match (before, now) {
        _ if !aspects.is_empty() => file(changed),
        _ if input.starts_with("argv[") => "the command".to_owned(),
        (None, _) => format!("{input} (added)"),
        (Some(_), None) => format!("{input} (removed)"),
        (Some(_), Some(_)) => input.clone(),
    }
}

/// An input that changed, with its values.
fn described(changed: &ChangedInput) -> String {
    let ChangedInput { input, before, now, aspects } = changed;
    if !aspects.is_empty() || is_file(input) {
        return change(changed);
    }
    let name = match input.split_once(['[', ' ']) {
        Some(("argv", _)) => "the command".to_owned(),
        Some(("env", name)) => format!("the variable {name}"),
        Some(("script", _)) => "a heredoc".to_owned(),
        Some(("exclude", _)) => "--exclude".to_owned(),
        Some(("host", _)) => "--add-host".to_owned(),
        Some(("flag", _)) => flag_name(before.as_ref().or(now.as_ref())),
        Some(("mount", target)) => format!("--mount at {target}"),
        Some(_) => input.clone(),
        None => match input.as_str() {
            "base" => "the base image".to_owned(),
            "from" => return "the stage or image that it copies from".to_owned(),
            "destination" => "the destination".to_owned(),
            "cwd" => "the working directory".to_owned(),
            "user" => "the user".to_owned(),
            "platform" => "the platform".to_owned(),
            "path" => "the directory".to_owned(),
            "epoch" => "SOURCE_DATE_EPOCH".to_owned(),
            flag => format!("--{flag}"),
        },
    };
    match (before, now) {
        (Some(before), Some(now)) if input == "base" => {
            format!("{name}: {} → {}", base_image(before, now), base_image(now, before))
        }
        (Some(before), Some(now)) if input.starts_with("mount ") && same_but_content(before, now) => {
            format!("{name}: other files")
        }
        (Some(before), Some(now)) => {
            let (before, now) = excerpts(before, now);
            format!("{name}: {before} → {now}")
        }
        (None, now) => format!("{name}: added {}", shortened(now.as_deref().unwrap_or_default(), VALUE)),
        (Some(before), None) => format!("{name}: removed {}", shortened(before, VALUE)),
    }
}

/// A base image by its name, or where the `other` one has the same or none is known, by its short id.
fn base_image(value: &str, other: &str) -> String {
    let of = |value: &str| {
        let (id, name) = value.split_once(' ').unwrap_or((value, ""));
        (id.rsplit(':').next().unwrap_or_default().chars().take(12).collect::<String>(), name.to_owned())
    };
    match (of(value), of(other).1) {
        ((id, name), _) if name.is_empty() => id,
        ((id, name), other) if name == other => format!("{name} ({id})"),
        ((_, name), _) => name,
    }
}

/// True if two mounts differ only in the hash of what they show, which is their last word.
fn same_but_content(before: &str, now: &str) -> bool {
    let layout = |mount: &str| mount.rsplit_once(' ').map(|(layout, _)| layout.to_owned());
    layout(before).is_some() && layout(before) == layout(now)
}

/// A flag of COPY and ADD whose value has its name: `link=true`.
fn flag_name(value: Option<&String>) -> String {
    let name = value.and_then(|value| value.split_once('=')).map_or("flag", |(name, _)| name);
    format!("--{name}")
}

fn is_file(input: &str) -> bool {
    input.starts_with('/') || input.starts_with("<<") || (input.starts_with("mount ") && input.contains(": "))
}

/// A file, and what is different about it.
fn file(changed: &ChangedInput) -> String {
    let aspects: Vec<String> = changed
        .aspects
        .iter()
        .map(|aspect| match aspect {
            FileAspect::Content => "content".to_owned(),
            FileAspect::Mode { before, now } => format!("mode {before:04o} → {now:04o}"),
            FileAspect::Owner { before, now } => {
                format!("owner {}:{} → {}:{}", before.0, before.1, now.0, now.1)
            }
            FileAspect::Kind => {
                let kind = |text: &Option<String>| {
                    text.as_deref().and_then(|text| text.split(' ').next()).unwrap_or("nothing").to_owned()
                };
                format!("{} → {}", kind(&changed.before), kind(&changed.now))
            }
            FileAspect::HardLinks => "which of them are one file".to_owned(),
            FileAspect::Further { count } => format!("{count} more"),
            FileAspect::Unlisted => "which, the earlier build did not note".to_owned(),
        })
        .collect();
    format!("{} ({})", changed.input, aspects.join(", "))
}

/// Two values around their first difference.
fn excerpts(before: &str, now: &str) -> (String, String) {
    let common = before.chars().zip(now.chars()).take_while(|(one, other)| one == other).count();
    let long = before.chars().count().max(now.chars().count()) > VALUE;
    let start = if long { common.saturating_sub(BEFORE) } else { 0 };
    let excerpt = |text: &str| {
        let rest: String = text.chars().skip(start).collect();
        let begin = if start > 0 { "…" } else { "" };
        format!("{begin}{}", shortened(&rest, VALUE))
    };
    (excerpt(before), excerpt(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(input: &str, before: Option<&str>, now: Option<&str>, aspects: &[FileAspect]) -> ChangedInput {
        ChangedInput {
            input: input.to_owned(),
            before: before.map(str::to_owned),
            now: now.map(str::to_owned),
            aspects: aspects.to_vec(),
        }
    }

    #[test]
    fn changes_have_their_values_and_users_words() {
        let mode = FileAspect::Mode { before: 0o644, now: 0o755 };
        let owner = FileAspect::Owner { before: (0, 0), now: (1, 2) };
        for (change, words) in [
            (changed("env A", Some("1"), Some("2"), &[]), "the variable A: 1 → 2"),
            (changed("env A", None, Some("2"), &[]), "the variable A: added 2"),
            (changed("argv[2]", Some("make a"), Some("make b"), &[]), "the command: make a → make b"),
            (
                changed("flag[1]", Some("link=false"), Some("link=true"), &[]),
                "--link: link=false → link=true",
            ),
            (changed("mount /m", Some("bind ro 12"), Some("bind ro 34"), &[]), "--mount at /m: other files"),
            (
                changed("mount /m", Some("bind ro 12"), Some("bind rw 12"), &[]),
                "--mount at /m: bind ro 12 → bind rw 12",
            ),
            (changed("chown", Some("1"), None, &[]), "--chown: removed 1"),
            (
                changed("base", Some("sha256:0123456789abcdef"), Some("sha256:b debian:12"), &[]),
                "the base image: 0123456789ab → debian:12",
            ),
            (
                changed("base", Some("sha256:a busybox"), Some("sha256:b debian:12"), &[]),
                "the base image: busybox → debian:12",
            ),
            (
                changed("base", Some("sha256:a busybox"), Some("sha256:b busybox"), &[]),
                "the base image: busybox (a) → busybox (b)",
            ),
            (changed("/a", None, Some("file"), &[]), "/a (added)"),
            (changed("mount /m: /a", Some("file"), None, &[]), "mount /m: /a (removed)"),
            (
                changed("/a", Some("file 0644"), Some("file 0755"), &[mode, owner]),
                "/a (mode 0644 → 0755, owner 0:0 → 1:2)",
            ),
            (
                changed("/a", Some("file 0644"), Some("symlink 0777"), &[FileAspect::Kind]),
                "/a (file → symlink)",
            ),
            (changed("files", None, None, &[FileAspect::Further { count: 7 }]), "files (7 more)"),
        ] {
            assert_eq!(described(&change), words);
        }
        let long = "x".repeat(200);
        let (before, now) = excerpts(&format!("{long}a"), &format!("{long}b"));
        assert!(before.ends_with("xa") && now.ends_with("xb") && now.starts_with('…'), "{before} {now}");
    }
}
