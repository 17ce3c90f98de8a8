//! Whatever is edited between builds, `plan` says what the build then does.

use super::world::{World, dockerfile_from_text, remove_if_there};
use crate::{Outlook, build::results::Origin};
use proptest::prelude::*;
use rbuild_planner::NoCache;
use std::fmt::Write as _;

/// Stages and instructions of a random Dockerfile; numbers choose among what is possible at that place.
#[derive(Clone, Debug)]
struct Stage {
    base: usize,
    steps: Vec<Instruction>,
}

#[derive(Clone, Debug)]
enum Instruction {
    /// A command by number, and what it writes.
    Run(u8, Writes),
    /// RUN with a stage mounted.
    Mount(u8, usize),
    /// A file of the context by number.
    Copy(u8),
    /// A stage.
    CopyFrom(usize),
    Workdir(u8),
}

#[derive(Clone, Copy, Debug)]
enum Writes {
    /// Something that depends on what it sees.
    Derived,
    /// The same whatever it sees.
    Same,
    /// Something else each time.
    Random,
}

/// A change made between two builds.
#[derive(Clone, Debug)]
enum Edit {
    /// Another instruction instead of this one.
    Replace(usize, usize, Instruction),
    /// Another content of a file.
    Write(u8, u8),
    /// A build that runs this stage anew, as `--target` of it or of all.
    Renew(usize, bool),
    /// The index is lost.
    LoseIndex,
    /// The records of the last build are lost.
    LoseRecent,
    /// Nothing.
    None,
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let writes = prop_oneof![2 => Just(Writes::Derived), 1 => Just(Writes::Same), 1 => Just(Writes::Random)];
    prop_oneof![
        4 => (0_u8..3, writes).prop_map(|(command, writes)| Instruction::Run(command, writes)),
        1 => (0_u8..2, any::<usize>()).prop_map(|(command, stage)| Instruction::Mount(command, stage)),
        2 => (0_u8..2).prop_map(Instruction::Copy),
        3 => any::<usize>().prop_map(Instruction::CopyFrom),
        1 => (0_u8..2).prop_map(Instruction::Workdir),
    ]
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let stage = (any::<usize>(), prop::collection::vec(instruction(), 1..4));
    prop::collection::vec(stage.prop_map(|(base, steps)| Stage { base, steps }), 2..5)
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<usize>(), any::<usize>(), instruction())
            .prop_map(|(stage, at, instruction)| Edit::Replace(stage, at, instruction)),
        2 => (0_u8..2, 0_u8..3).prop_map(|(file, content)| Edit::Write(file, content)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(stage, alone)| Edit::Renew(stage, alone)),
        1 => Just(Edit::LoseIndex),
        1 => Just(Edit::LoseRecent),
        1 => Just(Edit::None),
    ]
}

fn text(stages: &[Stage]) -> String {
    let mut text = String::new();
    for (number, stage) in stages.iter().enumerate() {
        // one more than there are stages before it: nothing
        match stage.base % (number + 1) {
            base if base == number => writeln!(text, "FROM scratch AS s{number}"),
            base => writeln!(text, "FROM s{base} AS s{number}"),
        }
        .unwrap();
        for step in &stage.steps {
            match step {
                Instruction::Run(command, Writes::Derived) => writeln!(text, "RUN do{command}"),
                Instruction::Run(command, Writes::Same) => writeln!(text, "RUN do{command} same"),
                Instruction::Run(command, Writes::Random) => writeln!(text, "RUN do{command} random"),
                Instruction::Copy(file) => writeln!(text, "COPY f{file} /x/"),
                Instruction::Workdir(path) => writeln!(text, "WORKDIR /w{path}"),
                // the first stage has no other to take files from
                Instruction::Mount(command, _) if number == 0 => writeln!(text, "RUN do{command}"),
                Instruction::CopyFrom(_) if number == 0 => writeln!(text, "COPY f0 /y/"),
                Instruction::Mount(command, stage) => {
                    writeln!(text, "RUN --mount=from=s{},target=/m do{command}", stage % number)
                }
                Instruction::CopyFrom(stage) => writeln!(text, "COPY --from=s{} /out /y/", stage % number),
            }
            .unwrap();
        }
    }
    text
}

/// Plans, builds, and compares.
fn check(world: &World) -> Result<(), TestCaseError> {
    let plan = world.plan();
    let built = world.build();
    for (step, ((outlook, reason), origin)) in plan.iter().zip(&built).enumerate() {
        let agree = match outlook {
            Outlook::Cached => *origin != Some(Origin::Executed) && reason.is_none(),
            Outlook::Run => *origin == Some(Origin::Executed) && reason.is_some(),
            Outlook::Maybe => origin.is_some() && reason.is_some(),
            Outlook::Unused => origin.is_none(),
        };
        prop_assert!(agree, "step {step}: planned {outlook:?} ({reason:?}), built {origin:?}");
    }
    Ok(())
}

fn apply(edit: &Edit, stages: &mut [Stage], world: &mut World) -> Result<(), TestCaseError> {
    match edit {
        Edit::Replace(stage, at, instruction) => {
            let count = stages.len();
            let steps = &mut stages[stage % count].steps;
            let count = steps.len();
            steps[at % count] = instruction.clone();
        }
        Edit::Write(file, content) => world.write(&format!("f{file}"), &content.to_string()),
        Edit::Renew(stage, alone) => {
            let name = format!("s{}", stage % stages.len());
            dockerfile_from_text(world, &text(stages));
            world.request.target = alone.then(|| name.clone());
            world.request.no_cache = NoCache::Stages(vec![name]);
            check(world)?;
            (world.request.target, world.request.no_cache) = (None, NoCache::None);
        }
        Edit::LoseIndex => remove_if_there(&world.store().root().join("index")),
        Edit::LoseRecent => {
            for entry in std::fs::read_dir(world.store().root().join("recent")).unwrap() {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        Edit::None => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_says_what_the_build_does(
        stages in stages(),
        edits in prop::collection::vec(edit(), 1..8),
    ) {
        let mut stages = stages;
        let mut world = World::new("");
        world.write("f0", "0");
        world.write("f1", "1");
        dockerfile_from_text(&mut world, &text(&stages));
        check(&world)?;
        for edit in &edits {
            apply(edit, &mut stages, &mut world)?;
            dockerfile_from_text(&mut world, &text(&stages));
            check(&world)?;
        }
    }
}
