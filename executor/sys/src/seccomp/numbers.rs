//! Names of system calls, and their numbers on each architecture.

use super::Architecture;
use std::{collections::BTreeMap, sync::LazyLock};

/// A call a line: its name, then its number on each architecture in the order of [`Architecture::column`], `-` where there is no
/// such call.
const TABLE: &str = include_str!("numbers.txt");

static NUMBERS: LazyLock<BTreeMap<&str, [Option<u32>; 4]>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let calls = lines.filter_map(|line| {
        let mut words = line.split(' ');
        let name = words.next()?;
        Some((name, [(); 4].map(|()| words.next().and_then(|number| number.parse().ok()))))
    });
    calls.collect()
});

/// The number of a call; `None` where there is no such call, or none that is known.
pub(super) fn number(name: &str, architecture: Architecture) -> Option<u32> {
    NUMBERS.get(name)?[architecture.column()]
}

#[cfg(test)]
mod tests {
    use super::{super::table::DENIED, *};

    #[test]
    fn numbers_are_those_of_the_kernel() {
        for (name, native) in [
            ("read", libc::SYS_read),
            ("mount", libc::SYS_mount),
            ("clone3", libc::SYS_clone3),
            ("mseal", libc::SYS_mseal),
            ("execveat", libc::SYS_execveat),
        ] {
            assert_eq!(number(name, super::super::NATIVE[0]).map(i64::from), Some(native), "{name}");
        }
        assert_eq!(number("no_such_call", Architecture::X86_64), None);
    }

    #[test]
    fn both_tables_agree() {
        for call in DENIED {
            for architecture in
                [Architecture::X86_64, Architecture::I386, Architecture::Aarch64, Architecture::Arm]
            {
                assert_eq!(number(call.name, architecture), call.number(architecture), "{}", call.name);
            }
        }
    }
}
