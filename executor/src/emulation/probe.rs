//! Programs of a few bytes for every processor, given to the kernel to find out whether it runs them.

use nix::{
    sys::memfd::{MFdFlags, memfd_create},
    unistd::dup,
};
use std::{
    fs::File,
    io::Write as _,
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
};

/// `MFD_EXEC` (Linux 6.3): the file may be executed whatever `vm.memfd_noexec=1` makes the default.
const MFD_EXEC: u32 = 0x10;

/// True if the kernel runs `program` and it ends as it should.
pub(super) fn runs(program: &[u8]) -> std::io::Result<bool> {
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

/// The processors for which there are programs, and what QEMU calls its emulators of them.
pub(super) const EMULATORS: [(&str, &str); 9] = [
    ("amd64", "x86_64"),
    ("386", "i386"),
    ("arm64", "aarch64"),
    ("arm", "arm"),
    ("riscv64", "riscv64"),
    ("ppc64le", "ppc64le"),
    ("mips64le", "mips64el"),
    ("loong64", "loongarch64"),
    ("s390x", "s390x"),
];

/// A program for `architecture` that does nothing but end well.
pub(super) fn program(architecture: &str) -> Option<Vec<u8>> {
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
        "mips64le" => {
            elf(Class::Bits64, Order::Little, 8, 0x8000_0007, b"\xc2\x13\x02\x24\0\0\x04\x24\x0c\0\0\0")
        }
        "loong64" => elf(Class::Bits64, Order::Little, 258, 0x43, b"\x0b\x74\x81\x03\x04\0\x15\0\0\0\x2b\0"),
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
    use rbuild_oci::Platform;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_machine_runs_the_program_for_its_own_processor() {
        let own = program(&Platform::host().architecture).expect("a program for this processor");
        assert!(runs(&own).unwrap());
        assert!(!runs(b"\x7fELF and nothing that is a program").unwrap_or(false));
    }

    /// Where Debian's emulators are installed, each is given the program for its processor.
    #[test]
    fn emulators_run_the_programs_for_their_processors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        for (architecture, name) in EMULATORS {
            let emulator = format!("/usr/bin/qemu-{name}-static");
            if std::path::Path::new(&emulator).exists() {
                std::fs::write(&path, program(architecture).expect("a program for each")).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
                let status = Command::new(&emulator).arg(&path).status().unwrap();
                assert!(status.success(), "{architecture}: {status}");
            }
        }
    }
}
