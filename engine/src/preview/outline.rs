//! What a Dockerfile offers to the person who builds it: its targets, and the parameters one target takes
//! (`--call=targets`, `--call=outline`).

use crate::{BuildRequest, Engine, Error, EventSink, build, reporter::Reporter};
use rbuild_oci::Platform;
use rbuild_parser::{
    ArgDeclaration, Dockerfile, Escape, Instruction, Lines, Node, Stage, Word, WordMode, expand,
};
use rbuild_planner::{Action, MountKind, Plan, PlannedStage};
use std::collections::{BTreeMap, BTreeSet};

/// One stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The comment above it that begins with its name.
    pub description: String,
    /// What it starts from, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// First and last line of its FROM.
    pub lines: (usize, usize),
    /// Whether it is what is built when no target is given.
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
    /// What it would be in this build.
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
    /// Whether the build fails without it.
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
        let text = build::load_dockerfile(request, &Reporter::new(EventSink::ignore()))?;
        let dockerfile = build::parse_dockerfile(request, &text)?;
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
        let text = build::load_dockerfile(request, &Reporter::new(EventSink::ignore()))?;
        let dockerfile = build::parse_dockerfile(request, &text)?;
        let plan = self.plan_assuming(&dockerfile, &build::plan_options(request)?, &text)?;
        let target = &plan.stages[plan.target.0];
        let own = dockerfile.stages.iter().find(|stage| stage.from.lines == target.lines);
        let (secrets, agents) = mounts(&plan);
        Ok(Outline {
            name: target.name.clone(),
            description: own
                .map_or_else(String::new, |own| described(&own.from.comments, target.name.as_deref())),
            arguments: arguments(&dockerfile, &plan, request),
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

fn mounts(plan: &Plan) -> (Vec<MountOutline>, Vec<MountOutline>) {
    let (mut secrets, mut agents) = (BTreeMap::new(), BTreeMap::new());
    for step in &plan.steps {
        let Action::Run(action) = &step.action else { continue };
        for mount in &action.mounts {
            let (list, id, required) = match &mount.kind {
                MountKind::Secret { id, required, .. } => (&mut secrets, id, *required),
                MountKind::Ssh { id, required, .. } => (&mut agents, id, *required),
                MountKind::Bind { .. } | MountKind::Cache { .. } | MountKind::Tmpfs { .. } => continue,
            };
            let lines = pair(step.lines);
            let known =
                list.entry(id.clone()).or_insert_with(|| MountOutline { id: id.clone(), required, lines });
            known.required |= required;
        }
    }
    let by_line = |list: BTreeMap<String, MountOutline>| {
        let mut list: Vec<_> = list.into_values().collect();
        list.sort_by_key(|mount| mount.lines);
        list
    };
    (by_line(secrets), by_line(agents))
}

/// A declared argument, and the names its default mentions.
struct Declared {
    outline: ArgumentOutline,
    mentions: Vec<String>,
    /// It has no value of its own: in a stage, the global argument of its name stands for it.
    inherits: bool,
}

/// Arguments of the stages of `plan`: those they declare, those their FROM lines mention, and those the defaults of these
/// mention in turn. The automatic ones are not listed.
fn arguments(dockerfile: &Dockerfile, plan: &Plan, request: &BuildRequest) -> Vec<ArgumentOutline> {
    let escape = dockerfile.directives.escape;
    let given: BTreeMap<&str, &str> =
        request.build_args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut values = automatic(request);
    let mut globals: BTreeMap<String, Declared> = BTreeMap::new();
    for node in &dockerfile.global_args {
        for declaration in &node.value {
            let declared = declare(node.lines, &node.comments, declaration, (&given, &values), escape);
            if let Some(value) = &declared.outline.value {
                values.insert(declared.outline.name.clone(), value.clone());
            }
            globals.insert(declared.outline.name.clone(), declared);
        }
    }
    let mut listed: BTreeMap<String, ArgumentOutline> = BTreeMap::new();
    let mut used: Vec<String> = Vec::new();
    for stage in &plan.stages {
        let Some(own) = dockerfile.stages.iter().find(|own| own.from.lines == stage.lines) else { continue };
        let from = &own.from.value;
        let words = [Some(&from.image), from.platform.as_ref()];
        used.extend(words.into_iter().flatten().flat_map(|word| mentioned(&word.value, escape)));
        for declared in stage_arguments(own, stage, (&given, &values), escape) {
            used.push(declared.outline.name.clone());
            used.extend(declared.mentions);
            if !(declared.inherits && values.contains_key(&declared.outline.name)) {
                listed.entry(declared.outline.name.clone()).or_insert(declared.outline);
            }
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = used.pop() {
        if let Some(global) = globals.get(&name).filter(|_| seen.insert(name.clone())) {
            used.extend(global.mentions.iter().cloned());
            listed.entry(name).or_insert_with(|| global.outline.clone());
        }
    }
    let mut listed: Vec<_> = listed.into_values().collect();
    listed.sort_by(|a, b| (a.lines, &a.name).cmp(&(b.lines, &b.name)));
    listed
}

fn stage_arguments(
    own: &Stage,
    stage: &PlannedStage,
    (given, globals): (&BTreeMap<&str, &str>, &BTreeMap<String, String>),
    escape: Escape,
) -> Vec<Declared> {
    // ENV wins over ARG; the last value of a variable stands for all of them
    let env = stage.config.config.env.iter().filter_map(|pair| pair.split_once('='));
    let mut values: BTreeMap<String, String> =
        env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut found = Vec::new();
    for (node, declarations) in argument_nodes(own) {
        for declaration in declarations {
            let mut declared = declare(node.lines, &node.comments, declaration, (given, &values), escape);
            let outline = &mut declared.outline;
            if outline.value.is_none() {
                outline.value = globals.get(&outline.name).cloned();
            }
            if let Some(value) = &outline.value {
                values.entry(outline.name.clone()).or_insert_with(|| value.clone());
            }
            found.push(declared);
        }
    }
    found
}

fn argument_nodes(stage: &Stage) -> impl Iterator<Item = (&Node<Instruction>, &Vec<ArgDeclaration>)> {
    stage.instructions.iter().filter_map(|node| match &node.value {
        Instruction::Arg(declarations) => Some((node, declarations)),
        _ => None,
    })
}

fn declare(
    lines: Lines,
    comments: &[Word],
    declaration: &ArgDeclaration,
    (given, values): (&BTreeMap<&str, &str>, &BTreeMap<String, String>),
    escape: Escape,
) -> Declared {
    let name = declaration.name.value.clone();
    let default = declaration.default.as_ref().map(|word| word.value.as_str());
    let expanded = |text: &str| {
        let expanded = expand(text, escape, WordMode::Single, &|name| values.get(name).cloned());
        expanded.ok().and_then(|expanded| expanded.words.into_iter().next()).unwrap_or_default()
    };
    let value = given.get(name.as_str()).map(|value| (*value).to_owned()).or_else(|| default.map(expanded));
    let mentions = default.map(|text| mentioned(text, escape)).unwrap_or_default();
    let description = described(comments, Some(&name));
    let inherits = value.is_none();
    Declared { outline: ArgumentOutline { name, value, description, lines: pair(lines) }, mentions, inherits }
}

/// The variables `text` mentions.
fn mentioned(text: &str, escape: Escape) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    // a word that does not expand has been refused by the planner
    let _ = expand(text, escape, WordMode::Single, &|name| {
        names.borrow_mut().push(name.to_owned());
        Some("x".to_owned())
    });
    names.into_inner()
}

/// `BUILDPLATFORM`, `TARGETARCH` and so on.
fn automatic(request: &BuildRequest) -> BTreeMap<String, String> {
    let host = Platform::host();
    let mut values = BTreeMap::new();
    for (prefix, platform) in [("BUILD", &host), ("TARGET", request.platform.as_ref().unwrap_or(&host))] {
        let Platform { architecture, os, os_version, variant } = platform;
        values.insert(format!("{prefix}PLATFORM"), platform.to_string());
        values.insert(format!("{prefix}OS"), os.clone());
        values.insert(format!("{prefix}OSVERSION"), os_version.clone().unwrap_or_default());
        values.insert(format!("{prefix}ARCH"), architecture.clone());
        values.insert(format!("{prefix}VARIANT"), variant.clone().unwrap_or_default());
    }
    values
}
