//! Build arguments that no ARG asks for, though one nearly does: most often a name with a slip of the keys. Others that
//! nothing asks for are no mistake, because scripts give the same ones to many Dockerfiles.

use rbuild_parser::{ArgDeclaration, Dockerfile, Instruction, alike};

/// The names among `given` that no ARG of `dockerfile` has, each with the nearest of a declared one.
pub(super) fn misspelt<'a>(
    dockerfile: &'a Dockerfile,
    given: &'a [(String, String)],
) -> Vec<(&'a str, &'a str)> {
    let mut declared: Vec<&str> = dockerfile.global_args.iter().flat_map(|node| names(&node.value)).collect();
    for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
        let mut instruction = &instruction.value;
        if let Instruction::Onbuild(trigger) = instruction
            && let Ok(triggered) = &trigger.instruction
        {
            instruction = triggered;
        }
        if let Instruction::Arg(arguments) = instruction {
            declared.extend(names(arguments));
        }
    }
    // what is given already is meant by its own name
    let free = |name: &&str| !given.iter().any(|(given, _)| given == name);
    let candidates: Vec<&str> = declared.iter().copied().filter(free).collect();
    let unknown = given.iter().map(|(name, _)| name.as_str()).filter(|name| !declared.contains(name));
    unknown.filter_map(|name| Some((name, alike(name, &candidates)?))).collect()
}

fn names(arguments: &[ArgDeclaration]) -> impl Iterator<Item = &str> {
    arguments.iter().map(|argument| argument.name.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slip_is_met_and_one_that_nothing_resembles_is_not() {
        let text = b"ARG BASE=a\nFROM $BASE\nARG VERSION JOBS\nONBUILD ARG TRIGGERED\n";
        let dockerfile = rbuild_parser::parse(text).unwrap();
        for (given, met) in [
            (&["VERSON"][..], &[("VERSON", "VERSION")][..]),
            (&["version"], &[("version", "VERSION")]),
            (&["VERSION", "VERSIONS"], &[]),
            (&["BASE", "JOBS", "TRIGGERED", "HTTP_PROXY", "SOURCE_DATE_EPOCH", "A"], &[]),
            (&["TRIGERED"], &[("TRIGERED", "TRIGGERED")]),
        ] {
            let given: Vec<_> = given.iter().map(|name| ((*name).to_owned(), String::new())).collect();
            assert_eq!(misspelt(&dockerfile, &given), met);
        }
    }
}
