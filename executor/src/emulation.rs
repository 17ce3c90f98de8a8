//! Whether this machine runs the programs of a platform: by its own processor, or by an emulator that the kernel starts for them
//! (binfmt_misc). The answer comes from the kernel, which is given a program of a few bytes.

use nix::{
    sys::memfd::{MFdFlags, memfd_create},
    unistd::dup,
};
use rbuild_oci::Platform;
use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Where the kernel lists what it starts emulators for.
const REGISTRATIONS: &str = "/proc/sys/fs/binfmt_misc";

/// `MFD_EXEC` (Linux 6.3): the file may be executed whatever `vm.memfd_noexec=1` makes the default.
const MFD_EXEC: u32 = 0x10;

/// What this machine makes of the programs of a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// They run, or there is no telling beforehand.
    Runs,
    /// They run, but in containers only if those have this emulator: the kernel opens it anew for each program, because it was
    /// registered without the flag `F`.
    NotFixed(PathBuf),
    /// They do not run.
    Missing,
}

/// Finds out whether programs for `platform` run here.
#[must_use]
pub fn emulation(platform: &Platform) -> Emulation {
    let host = Platform::host();
    if platform.os != host.os {
        return Emulation::Missing;
    }
    if platform.architecture == host.architecture {
        return Emulation::Runs;
    }
    let Some(program) = program(&platform.architecture) else { return Emulation::Runs };
    if let Some(interpreter) = unfixed_interpreter(&program) {
        return Emulation::NotFixed(interpreter);
    }
    match runs(&program) {
        Ok(true) => Emulation::Runs,
        Ok(false) | Err(_) => Emulation::Missing,
    }
}

/// True if the kernel runs `program` and it ends as it should.
fn runs(program: &[u8]) -> std::io::Result<bool> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::from_bits_retain(MFD_EXEC);
    let mut written = File::from(memfd_create(c"rbuild-probe", flags)?);
    written.write_all(program)?;
    // a file that is open for writing cannot be executed, and an emulator opens the program after the exec
    let readable = dup(File::open(format!("/proc/self/fd/{}", written.as_raw_fd()))?)?;
    drop(written);
    let path = format!("/proc/self/fd/{}", readable.as_raw_fd());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status()?.success())
}

/// The emulator that is registered for programs that begin as `program` does, if containers have to bring it.
fn unfixed_interpreter(program: &[u8]) -> Option<PathBuf> {
    let entries = fs::read_dir(REGISTRATIONS).ok()?.flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| Registration::parse(&text)).find(|found| found.matches(program))?.unfixed()
}

/// What the kernel says of an emulator, in the words of its documentation (admin-guide/binfmt-misc).
#[derive(Debug, Default, PartialEq, Eq)]
struct Registration {
    interpreter: PathBuf,
    flags: String,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Registration {
    /// `None` for one that is switched off, or goes by the ends of names.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let mut found = Self::default();
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

    fn matches(&self, program: &[u8]) -> bool {
        let Some(beginning) = program.get(self.offset..self.offset + self.magic.len()) else { return false };
        let mask = self.mask.iter().chain(std::iter::repeat(&0xff));
        beginning.iter().zip(&self.magic).zip(mask).all(|((byte, magic), mask)| byte & mask == magic & mask)
    }

    fn unfixed(self) -> Option<PathBuf> {
        (!self.flags.contains('F')).then_some(self.interpreter)
    }
}

/// The bytes of hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// A program for `architecture` that does nothing but end well.
fn program(architecture: &str) -> Option<Vec<u8>> {
    let elf =
        |class, order, machine, flags, code: &[u8]| Some(Elf { class, order, machine, flags }.file(code));
    match architecture {
        "amd64" => elf(Class::Bits64, Order::Little, 62, 0, b"\xb8\x3c\0\0\0\x31\xff\x0f\x05"),
        "386" => elf(Class::Bits32, Order::Little, 3, 0, b"\xb8\x01\0\0\0\x31\xdb\xcd\x80"),
        "arm64" => elf(Class::Bits64, Order::Little, 183, 0, b"\xa8\x0b\x80\xd2\0\0\x80\xd2\x01\0\0\xd4"),
        "arm" => {
            elf(Class::Bits32, Order::Little, 40, 0x0500_0000, b"\x01\x70\xa0\xe3\0\0\xa0\xe3\0\0\0\xef")
        }
        "riscv64" => elf(Class::Bits64, Order::Little, 243, 0, b"\x93\x08\xd0\x05\x13\x05\0\0\x73\0\0\0"),
        "ppc64le" => elf(Class::Bits64, Order::Little, 21, 2, b"\x01\0\0\x38\0\0\x60\x38\x02\0\0\x44"),
        "s390x" => elf(Class::Bits64, Order::Big, 22, 0, b"\xa7\x29\0\0\x0a\x01"),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Bits32,
    Bits64,
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// What distinguishes the smallest programs of two processors.
struct Elf {
    class: Class,
    order: Order,
    machine: u16,
    flags: u32,
}

impl Elf {
    /// A file with a header, one segment, and `code` in it (System V ABI, chapters 4 and 5).
    fn file(&self, code: &[u8]) -> Vec<u8> {
        const ADDRESS: u64 = 0x0040_0000;
        const READ_AND_EXECUTE: u32 = 5;
        let (class, header, segment) = match self.class {
            Class::Bits32 => (1, 52_u16, 32_u16),
            Class::Bits64 => (2, 64, 56),
        };
        let order = match self.order {
            Order::Little => 1,
            Order::Big => 2,
        };
        let begin = u64::from(header + segment);
        let size = begin + code.len() as u64;
        let mut out = vec![0x7f, b'E', b'L', b'F', class, order, 1, 0];
        out.resize(16, 0);
        // an executable file, its processor, the version of the format
        self.halves(&mut out, &[2, self.machine]);
        self.word(&mut out, 1);
        self.address(&mut out, &[ADDRESS + begin, header.into(), 0]);
        self.word(&mut out, self.flags);
        self.halves(&mut out, &[header, segment, 1, 0, 0, 0]);
        // the segment to load: the whole file
        self.word(&mut out, 1);
        if self.class == Class::Bits64 {
            self.word(&mut out, READ_AND_EXECUTE);
        }
        self.address(&mut out, &[0, ADDRESS, ADDRESS, size, size]);
        if self.class == Class::Bits32 {
            self.word(&mut out, READ_AND_EXECUTE);
        }
        self.address(&mut out, &[0x1000]);
        out.extend(code);
        out
    }

    fn halves(&self, out: &mut Vec<u8>, values: &[u16]) {
        for value in values {
            out.extend(match self.order {
                Order::Little => value.to_le_bytes(),
                Order::Big => value.to_be_bytes(),
            });
        }
    }

    fn word(&self, out: &mut Vec<u8>, value: u32) {
        out.extend(match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        });
    }

    fn address(&self, out: &mut Vec<u8>, values: &[u64]) {
        for value in values {
            match (self.class, self.order) {
                // the addresses of these programs are small
                (Class::Bits32, _) => self.word(out, *value as u32),
                (Class::Bits64, Order::Little) => out.extend(value.to_le_bytes()),
                (Class::Bits64, Order::Big) => out.extend(value.to_be_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_runs_the_program_for_its_own_processor() {
        let own = program(&Platform::host().architecture).expect("a program for this processor");
        assert!(runs(&own).unwrap());
        assert!(!runs(b"\x7fELF and nothing that is a program").unwrap_or(false));
        assert_eq!(emulation(&"windows/amd64".parse().unwrap()), Emulation::Missing);
    }

    #[test]
    fn a_registration_is_for_the_programs_it_names() {
        let arm64 = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
            magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
        let found = Registration::parse(arm64).unwrap();
        assert!(found.matches(&program("arm64").unwrap()));
        assert!(["arm", "riscv64", "s390x"].iter().all(|other| !found.matches(&program(other).unwrap())));
        assert_eq!(found.unfixed(), None);
        let unfixed = Registration::parse(&arm64.replace("POCF", "POC")).unwrap();
        assert_eq!(unfixed.unfixed(), Some("/usr/libexec/qemu-binfmt/aarch64-binfmt-P".into()));
        assert_eq!(Registration::parse(&arm64.replace("enabled", "disabled")), None);
        assert_eq!(Registration::parse("enabled\ninterpreter /x\nflags: \nextension .py\n"), None);
    }
}
