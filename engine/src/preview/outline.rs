//! What a Dockerfile offers to the person who builds it: its targets, and the parameters one target takes
//! (`--call=targets`, `--call=outline`).

use crate::{BuildRequest, Engine, Error, EventSink, build::definition, report::reporter::Reporter};
use rbuild_cache::Cancel;
use rbuild_parser::{Dockerfile, Instruction, Lines, Stage, Word};
use rbuild_planner::{Action, ArgumentOrigin, MountKind, Plan, PlannedArgument, PlannedStage};
use std::collections::{BTreeMap, BTreeSet};

/// One stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The comment above it that begins with its name.
    pub description: String,
    /// The base that it starts from, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// First and last line of its FROM.
    pub lines: (usize, usize),
    /// True if this stage is built when no target is given.
    pub default: bool,
}

/// The parameters of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The target's name, if it has one.
    pub name: Option<String>,
    /// The comment above it that begins with its name.
    pub description: String,
    /// Build arguments that have an effect on it, by line.
    pub arguments: Vec<ArgumentOutline>,
    /// Secrets, by line.
    pub secrets: Vec<MountOutline>,
    /// SSH agents, by line.
    pub agents: Vec<MountOutline>,
    /// The Dockerfile.
    pub text: Vec<u8>,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentOutline {
    /// Its name.
    pub name: String,
    /// Its value in this build.
    pub value: Option<String>,
    /// The comment above it that begins with its name.
    pub description: String,
    /// First and last line of its ARG.
    pub lines: (usize, usize),
}

/// A secret or SSH agent that a RUN mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOutline {
    /// Its id.
    pub id: String,
    /// True if the build fails without it.
    pub required: bool,
    /// First and last line of the RUN.
    pub lines: (usize, usize),
}

impl Engine {
    /// The stages of the Dockerfile of `request`, in order.
    ///
    /// # Errors
    /// When the Dockerfile cannot be read or does not parse.
    pub fn targets(&self, request: &BuildRequest) -> Result<(Vec<Target>, Vec<u8>), Error> {
        let (text, _) =
            definition::load((self, request), &Reporter::new(EventSink::ignore()), &Cancel::default())?;
        let dockerfile = definition::parse(&text)?;
        let last = dockerfile.stages.len() - 1;
        let target = |(index, stage): (usize, &Stage)| {
            let name = stage.from.value.name.as_ref().map(|name| name.value.clone());
            Target {
                description: described(&stage.from.comments, name.as_deref()),
                name,
                base: stage.from.value.image.value.clone(),
                platform: stage.from.value.platform.as_ref().map(|word| word.value.clone()),
                lines: pair(stage.from.lines),
                default: index == last,
            }
        };
        Ok((dockerfile.stages.iter().enumerate().map(target).collect(), text.bytes))
    }

    /// The parameters of the target of `request`.
    ///
    /// # Errors
    /// When the Dockerfile cannot be read, does not parse, or cannot be planned.
    pub fn outline(&self, request: &BuildRequest) -> Result<Outline, Error> {
        let (text, context) =
            definition::load((self, request), &Reporter::new(EventSink::ignore()), &Cancel::default())?;
        let dockerfile = definition::parse(&text)?;
        let options = definition::plan_options(request);
        let plan = self.plan_assuming(&dockerfile, &options, (request, &text, &context))?;
        let target = &plan.stages[plan.target().stage.0];
        let own = dockerfile.stages.iter().find(|stage| stage.from.lines == target.lines);
        let (secrets, agents) = mounts(&plan);
        Ok(Outline {
            name: target.name.clone(),
            description: own
                .map_or_else(String::new, |own| described(&own.from.comments, target.name.as_deref())),
            arguments: arguments(&plan, &dockerfile),
            secrets,
            agents,
            text: text.bytes,
        })
    }
}

/// The rest of the first comment line that begins with `name`.
fn described(comments: &[Word], name: Option<&str>) -> String {
    let rest = |comment: &Word| Some(comment.value.trim().strip_prefix(name?)?.strip_prefix(' ')?.to_owned());
    comments.iter().find_map(rest).unwrap_or_default()
}

fn pair(lines: Lines) -> (usize, usize) {
    (lines.first, lines.last)
}

/// The stages the target needs, each once: a stage before what it is built on, and that before what it copies from.
fn needed(plan: &Plan) -> Vec<&PlannedStage> {
    let mut order = Vec::new();
    let mut waiting = vec![plan.target().stage];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if seen.insert(id) {
            let stage = &plan.stages[id.0];
            waiting.extend(stage.uses.iter().rev());
            waiting.extend(stage.parent);
            order.push(stage);
        }
    }
    order
}

/// Secrets and SSH agents. Of several mounts of one id the first stands for all.
fn mounts(plan: &Plan) -> (Vec<MountOutline>, Vec<MountOutline>) {
    let (mut secrets, mut agents) = (BTreeMap::new(), BTreeMap::new());
    for step in needed(plan).iter().flat_map(|stage| &stage.steps).map(|id| &plan.steps[id.0]) {
        let Action::Run(action) = &step.action else { continue };
        for mount in &action.mounts {
            let (list, id, required) = match &mount.kind {
                MountKind::Secret { id, required, .. } => (&mut secrets, id, *required),
                MountKind::Ssh { id, required, .. } => (&mut agents, id, *required),
                MountKind::Bind { .. } | MountKind::Cache { .. } | MountKind::Tmpfs { .. } => continue,
            };
            let lines = pair(step.lines);
            list.entry(id.clone()).or_insert_with(|| MountOutline { id: id.clone(), required, lines });
        }
    }
    let by_line = |list: BTreeMap<String, MountOutline>| {
        let mut list: Vec<_> = list.into_values().collect();
        list.sort_by_key(|mount| mount.lines);
        list
    };
    (by_line(secrets), by_line(agents))
}

/// Arguments that have an effect on the target: those its stages declare, those their FROM lines mention, and those that the
/// defaults of global ones mention in turn. The automatic ones are not listed. A name stands for the argument of the stage
/// nearest to the target.
fn arguments(plan: &Plan, dockerfile: &Dockerfile) -> Vec<ArgumentOutline> {
    let globals: BTreeMap<&str, &PlannedArgument> =
        plan.global_arguments.iter().map(|argument| (argument.name.as_str(), argument)).collect();
    let mut listed: BTreeMap<&str, &PlannedArgument> = BTreeMap::new();
    for stage in needed(plan) {
        let mut known = globals.clone();
        for argument in &stage.arguments {
            match argument.origin {
                ArgumentOrigin::Itself => drop(known.insert(&argument.name, argument)),
                ArgumentOrigin::Global => {}
            }
        }
        let own = stage.arguments.iter().map(|argument| &argument.name);
        let mut used: Vec<&str> = own.chain(&stage.from_arguments).map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = used.pop() {
            if let Some(argument) = known.get(name).filter(|_| seen.insert(name)) {
                used.extend(argument.needs.iter().map(String::as_str));
                listed.entry(name).or_insert(argument);
            }
        }
    }
    let comments = argument_comments(dockerfile);
    let outline = |argument: &PlannedArgument| ArgumentOutline {
        name: argument.name.clone(),
        value: argument.value.clone(),
        description: described(
            comments.get(&argument.lines).copied().unwrap_or_default(),
            Some(&argument.name),
        ),
        lines: pair(argument.lines),
    };
    let mut listed: Vec<_> = listed.into_values().map(outline).collect();
    listed.sort_by(|a, b| (a.lines, &a.name).cmp(&(b.lines, &b.name)));
    listed
}

/// The comments above each ARG. A trigger's ARG stands where the FROM does, and has none.
fn argument_comments(dockerfile: &Dockerfile) -> BTreeMap<Lines, &[Word]> {
    let globals = dockerfile.global_args.iter().map(|node| (node.lines, node.comments.as_slice()));
    let nodes = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let own = nodes.filter(|node| matches!(node.value, Instruction::Arg(_)));
    globals.chain(own.map(|node| (node.lines, node.comments.as_slice()))).collect()
}
