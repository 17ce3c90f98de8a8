//! `--chmod`: octal modes and symbolic clauses, evaluated against each entry's own mode, with umask 0.

use crate::ExecutorError;
use rbuild_planner::Chmod;

/// A mode, or changes to one.
#[derive(Debug)]
pub(crate) enum ModeChange {
    /// Replaces the mode.
    Octal(u32),
    /// Applied one after the other.
    Symbolic(Vec<Change>),
}

/// One operator with its operands.
#[derive(Debug)]
pub(crate) struct Change {
    /// Bits of the classes it is about.
    who: u32,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug)]
enum Permissions {
    /// `rwxst`, for all classes, and whether `X` was there.
    Bits(u32, ExecuteIfAny),
    /// `u`, `g` or `o`: shift of the class whose bits are copied.
    Of(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExecuteIfAny {
    Asked,
    Not,
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o1007;

impl ModeChange {
    /// Reads what the planner checked.
    pub(crate) fn new(chmod: &Chmod) -> Result<Self, ExecutorError> {
        match chmod {
            Chmod::Octal(mode) => Ok(Self::Octal(mode & 0o7777)),
            Chmod::Symbolic(text) => {
                let mut changes = Vec::new();
                for clause in text.split(',') {
                    parse(clause, &mut changes)
                        .ok_or_else(|| ExecutorError::PatternSyntax { pattern: text.clone() })?;
                }
                Ok(Self::Symbolic(changes))
            }
        }
    }

    /// The new mode of a file that has `mode`.
    pub(crate) fn of_file(&self, mode: u32) -> u32 {
        self.change(mode, mode & 0o111)
    }

    /// The new mode of a directory that has `mode`.
    pub(crate) fn of_directory(&self, mode: u32) -> u32 {
        self.change(mode, 0o111)
    }

    fn change(&self, mode: u32, executable: u32) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => {
                changes.iter().fold(mode, |mode, change| change.apply(mode, executable))
            }
        }
    }
}

impl Change {
    fn apply(&self, mode: u32, executable: u32) -> u32 {
        let bits = match self.permissions {
            Permissions::Bits(bits, ExecuteIfAny::Asked) if executable & 0o111 != 0 => bits | 0o111,
            Permissions::Bits(bits, _) => bits,
            Permissions::Of(shift) => (mode >> shift & 7) * 0o111,
        };
        let bits = bits & self.who;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => mode & !self.who | bits,
        }
    }
}

/// `[ugoa]*([-+=]([rwxXst]*|[ugo]))+`
fn parse(clause: &str, changes: &mut Vec<Change>) -> Option<()> {
    let operators = clause.find(['+', '-', '='])?;
    let (classes, mut rest) = clause.split_at(operators);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let who = if classes.is_empty() { 0o7777 } else { who };
    while let Some(sign) = rest.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Set,
            _ => return None,
        };
        let operands = &rest[1..];
        let end = operands.find(['+', '-', '=']).unwrap_or(operands.len());
        changes.push(Change { who, operator, permissions: permissions(&operands[..end])? });
        rest = &operands[end..];
    }
    Some(())
}

fn permissions(text: &str) -> Option<Permissions> {
    match text {
        "u" => return Some(Permissions::Of(6)),
        "g" => return Some(Permissions::Of(3)),
        "o" => return Some(Permissions::Of(0)),
        _ => {}
    }
    let (mut bits, mut execute) = (0, ExecuteIfAny::Not);
    for permission in text.chars() {
        match permission {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= 0o6000,
            't' => bits |= 0o1000,
            'X' => execute = ExecuteIfAny::Asked,
            _ => return None,
        }
    }
    Some(Permissions::Bits(bits, execute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes() {
        for (text, file, dir) in [
            ("u+x", 0o744, 0o755),
            ("go-r", 0o600, 0o711),
            ("a=rX", 0o444, 0o555),
            ("u=rwx,go=rx", 0o755, 0o755),
            ("g=u", 0o664, 0o775),
            ("+x", 0o755, 0o755),
            ("u+s,g+s,+t", 0o7644, 0o7755),
            ("u-w+x", 0o544, 0o555),
            ("o=", 0o640, 0o750),
            ("a+x,go-x,a+X", 0o744, 0o755),
        ] {
            let change = ModeChange::new(&Chmod::Symbolic(text.to_owned())).unwrap();
            assert_eq!((change.of_file(0o644), change.of_directory(0o755)), (file, dir), "{text}");
        }
        assert!(ModeChange::new(&Chmod::Symbolic("u?x".to_owned())).is_err());
    }
}
