//! Classic BPF: an instruction, and those that filters are made of.

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;

/// One instruction of classic BPF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) operand: u32,
}

impl Instruction {
    /// As `struct sock_filter` lays it out.
    pub(super) fn word(self) -> u64 {
        let [code_low, code_high] = self.code.to_ne_bytes();
        let [a, b, c, d] = self.operand.to_ne_bytes();
        u64::from_ne_bytes([code_low, code_high, self.if_true, self.if_false, a, b, c, d])
    }
}

/// Loads a word of `struct seccomp_data`.
pub(super) fn load(offset: u32) -> Instruction {
    Instruction {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        if_true: 0,
        if_false: 0,
        operand: offset,
    }
}

/// Skips one number of instructions or another.
pub(super) fn jump_if(test: u32, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, if_true, if_false, operand }
}

/// Ends the filter.
pub(super) fn answer(value: u32) -> Instruction {
    Instruction { code: (libc::BPF_RET | libc::BPF_K) as u16, if_true: 0, if_false: 0, operand: value }
}

/// Skips `distance` instructions.
pub(super) fn jump(distance: usize) -> Instruction {
    Instruction {
        code: (libc::BPF_JMP | libc::BPF_JA | libc::BPF_K) as u16,
        if_true: 0,
        if_false: 0,
        operand: u32::try_from(distance).expect("a filter has few instructions"),
    }
}
