//! From the table to instructions.

use super::{
    Architecture, Instruction,
    instruction::{ARCHITECTURE, NUMBER, answer, jump_if, load},
    table::{CLONE3, DENIED, NEWEST_KNOWN, SYS_ADMIN, judged, opened},
};
use crate::CapSet;

/// The low half of the first argument (both supported machines are little-endian).
const FIRST_ARGUMENT: u32 = 16;

/// Every `CLONE_NEW*` that clone(2) takes.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// PER_LINUX, PER_LINUX32, UNAME26, both, and the value that only asks.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, u32::MAX];

/// AF_VSOCK reaches the hypervisor, AF_ALG the kernel's cryptography; neither knows namespaces.
const FAMILIES: [u32; 2] = [libc::AF_VSOCK as u32, libc::AF_ALG as u32];

/// ARM's private calls: breakpoint, cacheflush, usr26, usr32, set_tls, get_tls.
const ARM_PRIVATE: std::ops::Range<u32> = 0xf_0001..0xf_0007;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Allow,
    Deny,
    Missing,
    Clone,
    Personality,
    Socket,
}

/// In the order their code is placed.
const VERDICTS: [Verdict; 6] =
    [Verdict::Allow, Verdict::Deny, Verdict::Missing, Verdict::Clone, Verdict::Personality, Verdict::Socket];

/// A filter for the given architectures and capabilities; calls of any other architecture end the process.
pub(super) fn program(architectures: [Architecture; 2], capabilities: CapSet) -> Vec<Instruction> {
    let mut code = vec![load(ARCHITECTURE)];
    for architecture in architectures {
        let body = body(architecture, capabilities);
        let distance = u8::try_from(body.len()).expect("one architecture's code is within reach of a jump");
        code.push(jump_if(libc::BPF_JEQ, architecture.audit(), 0, distance));
        code.extend(body);
    }
    code.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    code
}

/// Runs of numbers with one verdict, by first number; the last has no end.
fn segments(architecture: Architecture, capabilities: CapSet) -> Vec<(u32, Verdict)> {
    let mut verdicts = vec![Verdict::Allow; NEWEST_KNOWN as usize + 1];
    let judged = judged(architecture);
    let [clone, clone3] = if capabilities.contains(SYS_ADMIN) {
        [Verdict::Allow, Verdict::Allow]
    } else {
        [Verdict::Clone, Verdict::Missing]
    };
    let single = [
        (judged.clone, clone),
        (judged.personality, Verdict::Personality),
        (judged.socket, Verdict::Socket),
        (CLONE3, clone3),
    ];
    let denied = DENIED.iter().filter(|call| !opened(call.name).intersects(capabilities));
    let denied = denied.filter_map(|call| call.number(architecture)).map(|number| (number, Verdict::Deny));
    for (number, verdict) in denied.chain(single) {
        verdicts[number as usize] = verdict;
    }
    let mut segments: Vec<(u32, Verdict)> = Vec::new();
    for (number, verdict) in (0..).zip(verdicts) {
        if segments.last().is_none_or(|(_, last)| *last != verdict) {
            segments.push((number, verdict));
        }
    }
    segments.push((NEWEST_KNOWN + 1, Verdict::Missing));
    if architecture == Architecture::Arm {
        segments.push((ARM_PRIVATE.start, Verdict::Allow));
        segments.push((ARM_PRIVATE.end, Verdict::Missing));
    }
    segments
}

/// Where a search goes on.
#[derive(Clone, Copy)]
enum Target {
    Test(usize),
    Verdict(Verdict),
}

/// A comparison: the number, and where to go if the call's number is at least that, and if not.
struct Test(u32, Target, Target);

/// The search for the run a number is in, then the code of each verdict once: what the kernel has to
/// translate for each container is as short as can be.
fn body(architecture: Architecture, capabilities: CapSet) -> Vec<Instruction> {
    let mut tests = Vec::new();
    place(&segments(architecture, capabilities), &mut tests);
    let blocks = VERDICTS.map(judge);
    let distance = |from: usize, target: Target| {
        let to = match target {
            Target::Test(index) => index,
            Target::Verdict(verdict) => {
                let before = blocks.iter().zip(VERDICTS).take_while(|(_, placed)| *placed != verdict);
                tests.len() + before.map(|(block, _)| block.len()).sum::<usize>()
            }
        };
        u8::try_from(to - from - 1).expect("one architecture's code is within reach of a jump")
    };
    let mut code = vec![load(NUMBER)];
    for (at, Test(number, yes, no)) in tests.iter().enumerate() {
        code.push(jump_if(libc::BPF_JGE, *number, distance(at, *yes), distance(at, *no)));
    }
    code.extend(blocks.iter().flatten());
    code
}

/// Adds the tests that distinguish the runs, every one before those it leads to; returns the first.
fn place(segments: &[(u32, Verdict)], tests: &mut Vec<Test>) -> Target {
    let (below, above) = segments.split_at(segments.len() / 2);
    let Some((first_above, verdict)) = above.first() else { return Target::Verdict(Verdict::Missing) };
    if below.is_empty() {
        return Target::Verdict(*verdict);
    }
    let at = tests.len();
    tests.push(Test(*first_above, Target::Verdict(Verdict::Missing), Target::Verdict(Verdict::Missing)));
    let no = place(below, tests);
    let yes = place(above, tests);
    tests[at] = Test(*first_above, yes, no);
    Target::Test(at)
}

fn judge(verdict: Verdict) -> Vec<Instruction> {
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    let deny = answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Deny => vec![deny],
        Verdict::Missing => vec![answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32)],
        Verdict::Clone => {
            vec![load(FIRST_ARGUMENT), jump_if(libc::BPF_JSET, NEW_NAMESPACES, 1, 0), allow, deny]
        }
        Verdict::Personality => first_argument_is_one_of(&PERSONALITIES, [allow, deny]),
        Verdict::Socket => first_argument_is_one_of(&FAMILIES, [deny, allow]),
    }
}

fn first_argument_is_one_of(values: &[u32], [yes, no]: [Instruction; 2]) -> Vec<Instruction> {
    let mut code = vec![load(FIRST_ARGUMENT)];
    // From the last test, "yes" is one further than "no"; from each before it, one more.
    let distances = (1..=values.len() as u8).rev();
    code.extend(
        values.iter().zip(distances).map(|(value, distance)| jump_if(libc::BPF_JEQ, *value, distance, 0)),
    );
    code.extend([no, yes]);
    code
}

#[cfg(test)]
mod tests {
    use super::{super::interpreter::verdict_of, *};

    fn verdict(architectures: [Architecture; 2], call: (Architecture, u32), argument: u64) -> (u32, usize) {
        let code = program(architectures, CapSet::CONTAINER_DEFAULT);
        verdict_of(&code, call, [argument, 0, 0, 0, 0, 0])
    }

    const PAIRS: [[Architecture; 2]; 2] =
        [[Architecture::X86_64, Architecture::I386], [Architecture::Aarch64, Architecture::Arm]];
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

    #[test]
    fn every_call_gets_the_tables_verdict_in_few_steps() {
        for pair in PAIRS {
            for architecture in pair {
                for number in 0..600 {
                    let judged = judged(architecture);
                    if [judged.clone, judged.personality, judged.socket].contains(&number) {
                        continue;
                    }
                    let denied = DENIED.iter().find(|call| call.number(architecture) == Some(number));
                    let expected = match denied {
                        _ if number == CLONE3 || number > NEWEST_KNOWN => ENOSYS,
                        Some(_) => EPERM,
                        None => ALLOW,
                    };
                    let (found, steps) = verdict(pair, (architecture, number), 0);
                    assert_eq!(
                        found,
                        expected,
                        "{architecture:?} {number} {:?}",
                        denied.map(|call| call.name)
                    );
                    assert!(steps < 20, "{steps} steps for {number}");
                }
            }
        }
    }

    #[test]
    fn arguments_decide_clone_personality_and_socket() {
        for pair in PAIRS {
            for architecture in pair {
                let calls = judged(architecture);
                let ask = |number, argument| verdict(pair, (architecture, number), argument).0;
                assert_eq!(ask(calls.clone, 0x11), ALLOW);
                for flag in
                    [0x2_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
                {
                    assert_eq!(ask(calls.clone, flag | 0x11), EPERM);
                }
                assert_eq!(PERSONALITIES.map(|value| ask(calls.personality, u64::from(value))), [ALLOW; 5]);
                assert_eq!(ask(calls.personality, 0x40000), EPERM);
                assert_eq!([1, 2, 10, 16].map(|family| ask(calls.socket, family)), [ALLOW; 4]);
                assert_eq!(FAMILIES.map(|family| ask(calls.socket, u64::from(family))), [EPERM; 2]);
            }
        }
    }

    #[test]
    fn foreign_conventions_do_not_exist() {
        assert_eq!(verdict(PAIRS[0], (Architecture::X86_64, 0x4000_0000), 0).0, ENOSYS);
        assert_eq!(verdict(PAIRS[0], (Architecture::Arm, 1), 0).0, libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(verdict(PAIRS[1], (Architecture::Arm, 0xf_0005), 0).0, ALLOW);
    }
}
