//! A filter that a person describes: rules for system calls by name, and an answer to all others.
//!
//! The meaning is that of docker, which hands profiles to libseccomp: of several rules for one call those without conditions win,
//! and otherwise the first whose conditions hold; a rule that answers as all other calls are answered is none. Calls that are
//! newer than every call of the profile do not exist (`ENOSYS`), unless all others are allowed.

use super::{
    Architecture, Filter, Instruction, NATIVE,
    instruction::{ARCHITECTURE, NUMBER, answer, jump, jump_if, load},
    numbers::number,
};
use crate::CapSet;
use std::collections::BTreeMap;

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
const MOST: usize = 4096;
/// The numbers of x32 begin here. No distribution enables it, and it would be a way around every rule.
const X32: u32 = 0x4000_0000;

/// What a container's processes may ask of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The answer to calls without a rule.
    pub default: Answer,
    /// The conventions whose calls are judged; calls of another one end the process.
    pub conventions: Vec<Convention>,
    /// In order.
    pub rules: Vec<Rule>,
    /// Flags of seccomp(2).
    pub flags: FilterFlags,
}

/// A calling convention of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// That of the machine.
    Native,
    /// That of its 32-bit programs.
    Compatible,
}

/// How a filter is put into force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterFlags(u32);

impl FilterFlags {
    /// Answers other than "allow" are written to the machine's log.
    pub const LOG: Self = Self(2);
    /// Speculation of the processor is not limited.
    pub const SPECULATION_ALLOWED: Self = Self(4);

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Allow,
    /// It is done and written to the machine's log.
    Log,
    /// It fails with this error number.
    Fail(u16),
    /// The process gets SIGSYS.
    Trap,
    /// A tracer decides; without one it fails with ENOSYS.
    Trace(u16),
    /// The thread ends.
    KillThread,
    /// The process ends.
    KillProcess,
}

impl Answer {
    fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Fail(error) => libc::SECCOMP_RET_ERRNO | u32::from(error),
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Trace(data) => libc::SECCOMP_RET_TRACE | u32::from(data),
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// One answer for some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The calls; what this kernel or this rbuild does not know is passed over.
    pub names: Vec<String>,
    /// What becomes of them.
    pub answer: Answer,
    /// What has to hold of their arguments: all of one of these. Without any, nothing has to.
    pub conditions: Vec<Vec<Condition>>,
    /// The rule is there only with all of these capabilities.
    pub needs: CapSet,
    /// The rule is not there with one of these.
    pub excluded_by: CapSet,
}

/// A condition for one argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The argument, 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

/// A comparison of unsigned numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==` in these bits.
    EqualIn(u64),
}

/// A profile that makes no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seccomp profile needs {0} instructions, more than the {MOST} that the kernel takes")]
pub struct TooLong(usize);

impl Profile {
    /// The filter for a container with these capabilities.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn filter(&self, capabilities: CapSet) -> Result<Filter, TooLong> {
        let conventions = self.conventions.iter().map(|convention| match convention {
            Convention::Native => NATIVE[0],
            Convention::Compatible => NATIVE[1],
        });
        let instructions = self.program(conventions, capabilities);
        if instructions.len() > MOST {
            return Err(TooLong(instructions.len()));
        }
        Ok(Filter { instructions, flags: self.flags })
    }

    fn program(
        &self,
        architectures: impl Iterator<Item = Architecture>,
        capabilities: CapSet,
    ) -> Vec<Instruction> {
        let mut code = vec![load(ARCHITECTURE)];
        for architecture in architectures {
            let mut body = vec![load(NUMBER)];
            search(&self.leaves(architecture, capabilities), &mut body);
            code.push(jump_if(libc::BPF_JEQ, architecture.audit(), 1, 0));
            code.push(jump(body.len()));
            code.extend(body);
        }
        code.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
        code
    }

    /// The code for runs of numbers, by first number; the last has no end.
    fn leaves(&self, architecture: Architecture, capabilities: CapSet) -> Vec<(u32, Vec<Instruction>)> {
        let mut calls: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
        let mut newest = None;
        for rule in &self.rules {
            let is_there =
                capabilities.contains_all(rule.needs) && !capabilities.intersects(rule.excluded_by);
            for number in rule.names.iter().filter_map(|name| number(name, architecture)) {
                newest = newest.max(Some(number));
                if is_there && rule.answer != self.default {
                    calls.entry(number).or_default().push(rule);
                }
            }
        }
        let default = vec![answer(self.default.value())];
        let mut leaves = vec![(0, default.clone())];
        for (number, rules) in calls {
            let code = self.judge(&rules);
            if leaves.last().is_some_and(|(first, _)| *first == number) {
                leaves.pop();
            }
            leaves.push((number, code));
            leaves.push((number + 1, default.clone()));
        }
        let missing = vec![answer(Answer::Fail(libc::ENOSYS as u16).value())];
        match newest {
            Some(newest) if !matches!(self.default, Answer::Allow | Answer::Log) => {
                leaves.retain(|(first, _)| *first <= newest);
                leaves.push((newest + 1, missing));
            }
            _ if architecture == Architecture::X86_64 => leaves.push((X32, missing)),
            _ => {}
        }
        leaves.dedup_by(|later, earlier| later.1 == earlier.1);
        leaves
    }

    /// The code for one call.
    fn judge(&self, rules: &[&Rule]) -> Vec<Instruction> {
        if let Some(rule) = rules.iter().find(|rule| rule.conditions.is_empty()) {
            return vec![answer(rule.answer.value())];
        }
        let mut code = Vec::new();
        for rule in rules {
            for conditions in &rule.conditions {
                let tests: Vec<Piece> = conditions.iter().flat_map(pieces).collect();
                code.extend(assembled(&tests));
                code.push(answer(rule.answer.value()));
            }
        }
        code.push(answer(self.default.value()));
        code
    }
}

/// A binary search for the run of a number; each ends with its own answer.
fn search(leaves: &[(u32, Vec<Instruction>)], code: &mut Vec<Instruction>) {
    let (below, above) = leaves.split_at(leaves.len() / 2);
    let Some((first_above, leaf)) = above.first() else { return };
    if below.is_empty() {
        code.extend(leaf);
        return;
    }
    let mut left = Vec::new();
    search(below, &mut left);
    match u8::try_from(left.len()) {
        Ok(distance) => code.push(jump_if(libc::BPF_JGE, *first_above, distance, 0)),
        Err(_) => {
            code.push(jump_if(libc::BPF_JGE, *first_above, 0, 1));
            code.push(jump(left.len()));
        }
    }
    code.extend(left);
    search(above, code);
}

/// One instruction of the tests of a rule.
enum Piece {
    Load(u32),
    And(u32),
    /// Comparison, operand, and where to go if it holds and if it does not.
    Test(u32, u32, To, To),
    /// The end of a condition.
    Passed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    /// The condition holds: the next one.
    Passed,
    /// The rule does not apply: behind its answer.
    Failed,
}

/// A comparison of 64 bits, in halves: the high one decides unless it is equal.
fn pieces(condition: &Condition) -> Vec<Piece> {
    use Comparison::{AtLeast, AtMost, Equal, EqualIn, Greater, Less, NotEqual};
    use Piece::{And, Load, Passed, Test};
    use To::{Failed, Next};
    let low = 16 + 8 * u32::from(condition.argument);
    let (load_high, load_low) = (Load(low + 4), Load(low));
    let (high, least) = ((condition.value >> 32) as u32, condition.value as u32);
    let (equal, greater, at_least) = (libc::BPF_JEQ, libc::BPF_JGT, libc::BPF_JGE);
    // the high half is equal, or it has decided
    let ordered = |if_greater, if_less, test, yes, no| {
        vec![
            Load(low + 4),
            Test(greater, high, if_greater, Next),
            Test(equal, high, Next, if_less),
            Load(low),
            Test(test, least, yes, no),
            Passed,
        ]
    };
    match condition.comparison {
        Equal => vec![
            load_high,
            Test(equal, high, Next, Failed),
            load_low,
            Test(equal, least, Next, Failed),
            Passed,
        ],
        NotEqual => vec![
            load_high,
            Test(equal, high, Next, To::Passed),
            load_low,
            Test(equal, least, Failed, Next),
            Passed,
        ],
        EqualIn(mask) => vec![
            load_high,
            And((mask >> 32) as u32),
            Test(equal, high, Next, Failed),
            load_low,
            And(mask as u32),
            Test(equal, least, Next, Failed),
            Passed,
        ],
        Greater => ordered(To::Passed, Failed, greater, Next, Failed),
        AtLeast => ordered(To::Passed, Failed, at_least, Next, Failed),
        Less => ordered(Failed, To::Passed, at_least, Failed, Next),
        AtMost => ordered(Failed, To::Passed, greater, Failed, Next),
    }
}

/// The instructions of tests, behind which one instruction with the answer stands.
fn assembled(tests: &[Piece]) -> Vec<Instruction> {
    let is_code = |piece: &&Piece| !matches!(piece, Piece::Passed);
    let distance = |at: usize, to: To| {
        let rest = &tests[at + 1..];
        let skipped = match to {
            To::Next => 0,
            To::Passed => rest.iter().take_while(is_code).count(),
            To::Failed => rest.iter().filter(is_code).count() + 1,
        };
        u8::try_from(skipped).expect("six conditions are within reach of a jump")
    };
    let code = tests.iter().enumerate().filter_map(|(at, piece)| match piece {
        Piece::Load(offset) => Some(load(*offset)),
        Piece::And(mask) => Some(Instruction {
            code: (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16,
            if_true: 0,
            if_false: 0,
            operand: *mask,
        }),
        Piece::Test(test, value, yes, no) => {
            Some(jump_if(*test, *value, distance(at, *yes), distance(at, *no)))
        }
        Piece::Passed => None,
    });
    code.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::interpreter::verdict_of, *};

    fn rule(names: &[&str], answer: Answer, conditions: Vec<Vec<Condition>>) -> Rule {
        Rule {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            answer,
            conditions,
            needs: CapSet::EMPTY,
            excluded_by: CapSet::EMPTY,
        }
    }

    fn profile(default: Answer, rules: Vec<Rule>) -> Profile {
        let conventions = vec![Convention::Native, Convention::Compatible];
        Profile { default, conventions, rules, flags: FilterFlags::default() }
    }

    fn ask(profile: &Profile, capabilities: CapSet, name: &str, arguments: [u64; 6]) -> u32 {
        let code = profile.program([Architecture::X86_64, Architecture::I386].into_iter(), capabilities);
        let number = number(name, Architecture::X86_64).unwrap();
        verdict_of(&code, (Architecture::X86_64, number), arguments).0
    }

    #[test]
    fn conditions_compare_all_64_bits() {
        use Comparison::{AtLeast, AtMost, Equal, EqualIn, Greater, Less, NotEqual};
        let interesting =
            [0, 1, 5, 0xffff_ffff, 1 << 32, (1 << 32) + 5, (5 << 32) + 1, u64::MAX - 1, u64::MAX];
        for value in interesting {
            for comparison in [Equal, NotEqual, Less, AtMost, Greater, AtLeast, EqualIn(0xff00_0000_00ff)] {
                let condition = Condition { argument: 3, comparison, value };
                let tested =
                    profile(Answer::Fail(1), vec![rule(&["read"], Answer::Allow, vec![vec![condition]])]);
                for given in interesting {
                    let holds = match comparison {
                        Equal => given == value,
                        NotEqual => given != value,
                        Less => given < value,
                        AtMost => given <= value,
                        Greater => given > value,
                        AtLeast => given >= value,
                        EqualIn(mask) => given & mask == value,
                    };
                    let found = ask(&tested, CapSet::EMPTY, "read", [9, 9, 9, given, 9, 9]);
                    assert_eq!(found == Answer::Allow.value(), holds, "{given:#x} {comparison:?} {value:#x}");
                }
            }
        }
    }

    #[test]
    fn conditions_of_one_list_hold_together_and_one_list_suffices() {
        let is = |argument, value| Condition { argument, comparison: Comparison::Equal, value };
        let lists = vec![vec![is(0, 1), is(1, 2), is(5, 6)], vec![is(0, 7)]];
        let tested = profile(
            Answer::Fail(1),
            vec![rule(&["ioctl"], Answer::Log, lists), rule(&["write"], Answer::Allow, Vec::new())],
        );
        let ask = |arguments| ask(&tested, CapSet::EMPTY, "ioctl", arguments);
        assert_eq!(ask([1, 2, 0, 0, 0, 6]), Answer::Log.value());
        assert_eq!(ask([7, 0, 0, 0, 0, 0]), Answer::Log.value());
        assert_eq!(ask([1, 2, 0, 0, 0, 7]), Answer::Fail(1).value());
        assert_eq!(ask([1, 3, 0, 0, 0, 6]), Answer::Fail(1).value());
    }

    #[test]
    fn rules_go_by_capabilities_and_one_without_conditions_wins() {
        let admin = CapSet::by_name("SYS_ADMIN").unwrap();
        let zero = Condition { argument: 0, comparison: Comparison::Equal, value: 0 };
        let rules = vec![
            rule(&["mount", "made_up"], Answer::Allow, vec![vec![zero]]),
            Rule { needs: admin, ..rule(&["mount"], Answer::Allow, Vec::new()) },
            Rule { excluded_by: admin, ..rule(&["clone3"], Answer::Fail(38), Vec::new()) },
            rule(&["mseal"], Answer::Allow, Vec::new()),
        ];
        let tested = profile(Answer::Fail(1), rules);
        let asked = |capabilities, name, first| ask(&tested, capabilities, name, [first, 0, 0, 0, 0, 0]);
        assert_eq!(asked(CapSet::EMPTY, "mount", 0), Answer::Allow.value());
        assert_eq!(asked(CapSet::EMPTY, "mount", 1), Answer::Fail(1).value());
        assert_eq!(asked(admin, "mount", 1), Answer::Allow.value());
        assert_eq!(asked(CapSet::EMPTY, "clone3", 0), Answer::Fail(38).value());
        assert_eq!(asked(admin, "clone3", 0), Answer::Fail(1).value());
    }

    #[test]
    fn newer_calls_and_foreign_conventions_do_not_exist() {
        let refusing = profile(Answer::Fail(1), vec![rule(&["clone3"], Answer::Allow, Vec::new())]);
        let allowing = profile(Answer::Allow, vec![rule(&["mount"], Answer::Fail(1), Vec::new())]);
        let ask = |profile: &Profile, architecture, number| {
            let code = profile.program([Architecture::X86_64, Architecture::I386].into_iter(), CapSet::EMPTY);
            verdict_of(&code, (architecture, number), [0; 6]).0
        };
        let (missing, x86) = (Answer::Fail(38).value(), Architecture::X86_64);
        assert_eq!(ask(&refusing, x86, 434), Answer::Fail(1).value());
        assert_eq!(ask(&refusing, x86, 435), Answer::Allow.value());
        assert_eq!([436, 500, 0x4000_0000 + 435].map(|number| ask(&refusing, x86, number)), [missing; 3]);
        assert_eq!(ask(&allowing, x86, 500), Answer::Allow.value());
        assert_eq!(ask(&allowing, x86, 165), Answer::Fail(1).value());
        assert_eq!(ask(&allowing, Architecture::I386, 21), Answer::Fail(1).value());
        assert_eq!(ask(&allowing, x86, 0x4000_0000 + 165), missing, "x32 is no way around");
        assert_eq!(ask(&allowing, Architecture::Arm, 3), Answer::KillProcess.value());
    }

    #[test]
    fn a_profile_that_is_too_long_is_refused() {
        let list: Vec<Vec<Condition>> = (0..2000)
            .map(|value| vec![Condition { argument: 0, comparison: Comparison::Equal, value }])
            .collect();
        let tested = profile(Answer::Fail(1), vec![rule(&["read"], Answer::Allow, list)]);
        assert!(tested.filter(CapSet::EMPTY).is_err());
    }
}
