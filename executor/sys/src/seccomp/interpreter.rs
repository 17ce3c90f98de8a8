//! Executes a filter as the kernel does, for tests.

use super::{
    Architecture, Instruction,
    instruction::{ARCHITECTURE, NUMBER},
};

/// The answer of a filter to a call, and how many instructions led to it.
pub(super) fn verdict_of(
    code: &[Instruction],
    (architecture, number): (Architecture, u32),
    arguments: [u64; 6],
) -> (u32, usize) {
    let (mut at, mut loaded, mut steps) = (0, 0, 0);
    loop {
        let Instruction { code: operation, if_true, if_false, operand } = code[at];
        let operation = u32::from(operation);
        at += 1;
        steps += 1;
        match operation & 7 {
            libc::BPF_LD => {
                loaded = match operand {
                    NUMBER => number,
                    ARCHITECTURE => architecture.audit(),
                    half => (arguments[(half as usize - 16) / 8] >> (half % 8 * 8)) as u32,
                }
            }
            libc::BPF_ALU => loaded &= operand,
            libc::BPF_RET => return (operand, steps),
            libc::BPF_JMP => {
                let distance = match operation & 0xf0 {
                    libc::BPF_JA => operand as usize,
                    test => {
                        let holds = match test {
                            libc::BPF_JEQ => loaded == operand,
                            libc::BPF_JGT => loaded > operand,
                            libc::BPF_JGE => loaded >= operand,
                            _ => loaded & operand != 0,
                        };
                        usize::from(if holds { if_true } else { if_false })
                    }
                };
                at += distance;
            }
            other => panic!("class {other}"),
        }
    }
}
