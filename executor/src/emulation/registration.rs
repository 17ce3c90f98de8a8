//! The emulators that the kernel knows, in the words of its documentation (admin-guide/binfmt-misc).

use std::{fs, path::PathBuf};

/// Where the kernel lists what it starts emulators for.
pub(super) const LIST: &str = "/proc/sys/fs/binfmt_misc";

/// What the kernel says of an emulator.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) interpreter: PathBuf,
    is_enabled: bool,
    flags: String,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Registration {
    /// The one that the kernel uses for programs that begin as `program` does: the newest, which it lists first. One that is
    /// switched off counts when there is no other.
    pub(super) fn of(program: &[u8]) -> Option<(String, Self)> {
        let entries = fs::read_dir(LIST).ok()?.flatten();
        let all = entries.filter_map(|entry| {
            let found = Self::parse(&fs::read_to_string(entry.path()).ok()?)?;
            Some((entry.file_name().to_string_lossy().into_owned(), found))
        });
        let mut fitting: Vec<_> = all.filter(|(_, found)| found.matches(program)).collect();
        // the sort is stable, so the newest stays first
        fitting.sort_by_key(|(_, found)| !found.is_enabled);
        fitting.into_iter().next()
    }

    /// `None` for one that goes by the ends of names.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut found = Self { is_enabled: lines.next()? == "enabled", ..Self::default() };
        for line in lines {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            match name {
                "interpreter" => found.interpreter = value.into(),
                "flags:" => value.clone_into(&mut found.flags),
                "offset" => found.offset = value.parse().ok()?,
                "magic" => found.magic = bytes(value)?,
                "mask" => found.mask = bytes(value)?,
                _ => {}
            }
        }
        (!found.magic.is_empty()).then_some(found)
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// True if the kernel opened the emulator when it was registered, so that it is there in every container.
    pub(super) fn is_fixed(&self) -> bool {
        self.flags.contains('F')
    }

    fn matches(&self, program: &[u8]) -> bool {
        let Some(beginning) = program.get(self.offset..self.offset + self.magic.len()) else { return false };
        let mask = self.mask.iter().chain(std::iter::repeat(&0xff));
        beginning.iter().zip(&self.magic).zip(mask).all(|((byte, magic), mask)| byte & mask == magic & mask)
    }
}

/// The bytes of hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::probe::program, *};

    #[test]
    fn a_registration_is_for_the_programs_it_names() {
        let arm64 = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
            magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
        let found = Registration::parse(arm64).unwrap();
        assert!(found.matches(&program("arm64").unwrap()));
        assert!(["arm", "riscv64", "s390x"].iter().all(|other| !found.matches(&program(other).unwrap())));
        assert!(found.is_fixed() && found.is_enabled());
        assert_eq!(found.interpreter, PathBuf::from("/usr/libexec/qemu-binfmt/aarch64-binfmt-P"));
        assert!(!Registration::parse(&arm64.replace("POCF", "POC")).unwrap().is_fixed());
        assert!(!Registration::parse(&arm64.replace("enabled", "disabled")).unwrap().is_enabled());
        assert_eq!(Registration::parse("enabled\ninterpreter /x\nflags: \nextension .py\n"), None);
        assert_eq!(Registration::parse("enabled\n"), None, "the file `status`");
    }
}
