//! Whether a program needs libraries, as its headers say (elf(5)).

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// The segment with the path of the program that loads the libraries.
const PT_INTERP: u32 = 3;

/// True if the program at `path`, which is for this machine, is one that needs libraries.
///
/// # Errors
/// The system's, with the path; `InvalidData` when it is no such program.
pub(super) fn needs_libraries(path: &Path) -> io::Result<bool> {
    let fail = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    read(path).map_err(fail)
}

fn read(path: &Path) -> io::Result<bool> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it is no program for this machine");
    let file = File::open(path)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    // rbuild runs on processors of 64 bits whose numbers begin with the lowest byte
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Err(invalid());
    }
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let begin = u64::from_le_bytes(header[32..40].try_into().expect("eight bytes"));
    let (size, count) = (u64::from(half(54)), u64::from(half(56)));
    for at in 0..count {
        let mut kind = [0; 4];
        let offset = begin.checked_add(at * size).ok_or_else(invalid)?;
        file.read_exact_at(&mut kind, offset)?;
        if u32::from_le_bytes(kind) == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn programs_say_whether_they_need_libraries() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let own = super::super::probe::program(std::env::consts::ARCH.replace("x86_64", "amd64").as_str());
        fs::write(&path, own.or(super::super::probe::program("arm64")).unwrap()).unwrap();
        assert!(!needs_libraries(&path).unwrap());
        assert!(needs_libraries(Path::new("/proc/self/exe")).unwrap());
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(needs_libraries(&path).unwrap_err().to_string().starts_with(path.to_str().unwrap()));
        assert!(needs_libraries(&directory.path().join("none")).is_err());
    }
}
