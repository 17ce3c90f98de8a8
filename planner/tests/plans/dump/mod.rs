//! A plan as stable text: stages, steps, the target's config and history, findings.

use rbuild_oci::{DiffId, Digest, Timestamp};
use rbuild_parser::Lint;
use rbuild_planner::{
    Access, Action, CachePolicy, CopyAction, CopySource, Filesystem, GitDirectory, Mount, MountKind, Network,
    Plan, PlanError, RunAction, Step, StepId, Unpack,
};
use std::fmt::Write as _;

/// Steps are made one second after the other, from here.
const FIRST_STEP: i64 = 1_735_689_600;

pub(crate) fn error(error: &PlanError) -> String {
    let lines = error.lines.map_or("none".to_owned(), |lines| format!("{}-{}", lines.first, lines.last));
    let mut out = format!("error: {error}\nlines: {lines}\n");
    error.lints.iter().for_each(|found| lint(&mut out, found));
    out
}

fn lint(out: &mut String, lint: &Lint) {
    let Lint { rule, message, lines } = lint;
    writeln!(out, "lint {}-{} {}: {message}", lines.first, lines.last, rule.name()).unwrap();
}

pub(crate) fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    for (i, stage) in plan.stages.iter().enumerate() {
        let mark = if i == plan.target().stage.0 { "target" } else { "stage" };
        let (base, result) = (files(plan, &stage.base), files(plan, &stage.result));
        writeln!(out, "{mark} {} {}: {base} -> {result}", stage.display_name, stage.platform).unwrap();
        if let Some(name) = &stage.from_name {
            writeln!(out, "  {name}").unwrap();
        }
        for id in &stage.steps {
            step(&mut out, plan, &plan.steps[id.0]);
        }
    }
    image(&mut out, plan);
    plan.lints.iter().for_each(|found| lint(&mut out, found));
    if let Err(error) = plan.lint_errors() {
        writeln!(out, "lint error: {error}").unwrap();
    }
    out
}

fn image(out: &mut String, plan: &Plan) {
    let results = |id: StepId| {
        let made = Timestamp::from_seconds(FIRST_STEP + i64::try_from(id.0).unwrap()).unwrap();
        (DiffId::from_digest(Digest::of(format!("step {}", id.0).as_bytes())), made)
    };
    let config = plan.target().image.finished_config(&results, plan.source_date_epoch);
    writeln!(
        out,
        "config {}/{}{} created {}",
        config.os,
        config.architecture,
        if config.variant.is_empty() { String::new() } else { format!("/{}", config.variant) },
        config.created.map_or("never".to_owned(), |time| time.to_string())
    )
    .unwrap();
    if !config.author.is_empty() {
        writeln!(out, "  author {}", config.author).unwrap();
    }
    let json = serde_json::to_value(&config.config).unwrap();
    for (key, value) in json.as_object().unwrap() {
        writeln!(out, "  {key} {value}").unwrap();
    }
    writeln!(out, "history, {} layers", config.rootfs.diff_ids.len()).unwrap();
    for entry in &config.history {
        let layer = if entry.empty_layer { "-" } else { "+" };
        let created = entry.created.map_or("never".to_owned(), |time| time.to_string());
        writeln!(out, "  {layer} {created} {}", entry.created_by.replace('\n', "\\n")).unwrap();
    }
}

fn step(out: &mut String, plan: &Plan, step: &Step) {
    let cache = if step.cache == CachePolicy::Ignore { " uncached" } else { "" };
    let waits: Vec<String> = plan.dependencies(step.id).map(|id| id.0.to_string()).collect();
    let waits = if waits.is_empty() { String::new() } else { format!(" after {}", waits.join(",")) };
    writeln!(
        out,
        "  {} {} {} (lines {}-{}{cache}{waits})",
        step.id.0, step.position, step.name, step.lines.first, step.lines.last
    )
    .unwrap();
    match &step.action {
        Action::Run(action) => run(out, plan, action),
        Action::Copy(action) => copy(out, plan, action),
        Action::Workdir(action) => {
            writeln!(out, "    workdir {} user {:?}", action.path, action.user).unwrap();
        }
    }
}

fn run(out: &mut String, plan: &Plan, run: &RunAction) {
    writeln!(out, "    run {:?}", run.argv).unwrap();
    writeln!(out, "    env {:?}", run.env.pairs()).unwrap();
    if !run.proxy_env.is_empty() {
        writeln!(out, "    proxy {:?}", run.proxy_env).unwrap();
    }
    let network = match run.network {
        Network::Default => "",
        Network::None => " network none",
        Network::Host => " network host",
    };
    writeln!(out, "    cwd {} user {:?} hostname {}{network}", run.cwd, run.user, run.hostname).unwrap();
    for Mount { target, kind } in &run.mounts {
        writeln!(out, "    mount {target} {}", mount(plan, kind)).unwrap();
    }
    for (name, content) in &run.scripts {
        writeln!(out, "    script {name} {content:?}").unwrap();
    }
}

fn mount(plan: &Plan, kind: &MountKind) -> String {
    let access = |access: &Access| match access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    match kind {
        MountKind::Bind { from, source, access: a } => {
            format!("bind {}:{source} {}", files(plan, from), access(a))
        }
        MountKind::Cache { id, from, source, sharing, access: a, mode, uid, gid } => format!(
            "cache {id} {}:{source} {sharing:?} {} mode {mode:?} uid {uid:?} gid {gid:?}",
            files(plan, from),
            access(a)
        ),
        MountKind::Tmpfs { size } => format!("tmpfs {size:?}"),
        MountKind::Secret { id, file, env, required, mode, uid, gid } => format!(
            "secret {id} file {file} env {env:?} required {required} mode {mode:o} uid {uid} gid {gid}"
        ),
        MountKind::Ssh { id, required, mode, uid, gid } => {
            format!("ssh {id} required {required} mode {mode:o} uid {uid} gid {gid}")
        }
    }
}

fn copy(out: &mut String, plan: &Plan, copy: &CopyAction) {
    let directory = if copy.destination_is_directory { " (directory)" } else { "" };
    writeln!(out, "    copy {} to {}{directory}", files(plan, &copy.from), copy.destination).unwrap();
    for source in &copy.sources {
        match source {
            CopySource::Path(path) => writeln!(out, "    path {path:?}"),
            CopySource::Inline { name, content } => {
                writeln!(out, "    inline {name} {:?}", String::from_utf8_lossy(content))
            }
            CopySource::Http(url) => writeln!(out, "    http {url}"),
            CopySource::Git(url) => writeln!(out, "    git {url}"),
        }
        .unwrap();
    }
    let mut flags = Vec::new();
    flags.extend(copy.chown.as_ref().map(|owner| format!("chown {owner}")));
    flags.extend(copy.chmod.as_ref().map(|mode| format!("chmod {mode:?}")));
    flags.extend(copy.checksum.as_ref().map(|sum| format!("checksum {sum}")));
    flags.extend(copy.link.then(|| "link".to_owned()));
    flags.extend(copy.parents.then(|| "parents".to_owned()));
    flags.extend((!copy.exclude.is_empty()).then(|| format!("exclude {:?}", copy.exclude)));
    flags.extend((copy.unpack != Unpack::Never).then(|| format!("unpack {:?}", copy.unpack)));
    flags.extend((copy.git_directory == GitDirectory::Kept).then(|| "keep .git".to_owned()));
    if !flags.is_empty() {
        writeln!(out, "    with {}", flags.join(", ")).unwrap();
    }
}

fn files(plan: &Plan, files: &Filesystem) -> String {
    match files {
        Filesystem::Scratch => "scratch".to_owned(),
        Filesystem::Image(index) => {
            let image = &plan.images[index.0];
            format!("image {}", image.reference)
        }
        Filesystem::Step(id) => format!("step {}", id.0),
        Filesystem::Context => "context".to_owned(),
        Filesystem::NamedContext(key) => format!("context {key}"),
    }
}
