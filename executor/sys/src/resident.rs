//! The memory of a process that stays for long and does little.

use crate::read_proc;

/// Gives back the pages of this program's code and constants, which are mapped from its file: what is used again is mapped again.
/// Nothing happens where the kernel does not say where they are.
pub fn give_code_back() {
    let maps = read_proc("/proc/self/maps").unwrap_or_default();
    let own = give_code_back as *const () as usize;
    for (start, end) in constant_mappings(&maps, own) {
        // SAFETY: the range is a mapping of this program's file, private and never written to, so the kernel reads the same bytes
        // again when one of its pages is touched.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// The mappings in the text of `/proc/self/maps` (proc_pid_maps(5)) of the file whose code has `address`: its code, and its
/// beginning with the constants. What the dynamic linker has changed and then protected begins elsewhere in the file.
fn constant_mappings(maps: &str, address: usize) -> Vec<(usize, usize)> {
    let mappings: Vec<Mapping<'_>> = maps.lines().filter_map(Mapping::parse).collect();
    let is_own =
        |mapping: &&Mapping<'_>| mapping.is_code() && (mapping.start..mapping.end).contains(&address);
    let Some(own) = mappings.iter().find(is_own) else { return Vec::new() };
    let of_file =
        mappings.iter().filter(|mapping| mapping.inode == own.inode && mapping.device == own.device);
    let constant = of_file.filter(|mapping| mapping.is_code() || mapping.is_beginning());
    constant.map(|mapping| (mapping.start, mapping.end)).collect()
}

struct Mapping<'a> {
    start: usize,
    end: usize,
    permissions: &'a str,
    offset: &'a str,
    device: &'a str,
    inode: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (range, permissions, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let (device, inode) = (fields.next()?, fields.next().filter(|inode| *inode != "0")?);
        let (start, end) = range.split_once('-')?;
        let hexadecimal = |text| usize::from_str_radix(text, 16).ok();
        Some(Self { start: hexadecimal(start)?, end: hexadecimal(end)?, permissions, offset, device, inode })
    }

    fn is_code(&self) -> bool {
        self.permissions == "r-xp"
    }

    fn is_beginning(&self) -> bool {
        self.permissions == "r--p" && self.offset.bytes().all(|digit| digit == b'0')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_never_written_to_is_given_back() {
        let maps = "1000-2000 r--p 00000000 08:01 77 /bin/rbuild\n\
                    2000-3000 r-xp 00001000 08:01 77 /bin/rbuild\n\
                    3000-4000 r--p 00002000 08:01 77 /bin/rbuild\n\
                    4000-5000 rw-p 00003000 08:01 77 /bin/rbuild\n\
                    5000-6000 rw-p 00000000 00:00 0 [heap]\n\
                    6000-7000 r-xp 00000000 08:01 78 /lib/c\n";
        assert_eq!(constant_mappings(maps, 0x2800), [(0x1000, 0x2000), (0x2000, 0x3000)]);
        assert_eq!(constant_mappings(maps, 0x3800), [], "of something else");
        assert_eq!(constant_mappings(&maps.replace("r-xp", "rwxp"), 0x2800), [], "written to");
        // and this test goes on
        give_code_back();
    }
}
