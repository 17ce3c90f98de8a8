//! Laws that hold for every tar.

use crate::{entries, tar_laws};
use proptest::prelude::*;
use rbuild_archive::{END, EntryKind, TarHeader, padding};
use rbuild_testkit::hostile_archives;

fn kinds() -> impl Strategy<Value = EntryKind> {
    prop::sample::select(vec![
        EntryKind::File,
        EntryKind::HardLink,
        EntryKind::Symlink,
        EntryKind::CharDevice,
        EntryKind::BlockDevice,
        EntryKind::Directory,
        EntryKind::Fifo,
    ])
}

/// Bytes without NUL, of which some are long.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255_u8, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The values of a header are read as they were written.
    #[test]
    fn headers_are_read_as_written(
        kind in kinds(),
        name in name(),
        link in name(),
        numbers in (0..0o10000_u32, any::<u32>(), any::<u32>(), -(1_i64 << 40)..1 << 40, 0..1_u32 << 12, 0..1_u32 << 20),
        content in prop::collection::vec(any::<u8>(), 0..2000),
        capability in prop::option::of(prop::collection::vec(any::<u8>(), 0..24)),
    ) {
        let (mode, uid, gid, mtime, major, minor) = numbers;
        let name = if kind == EntryKind::Directory { [&name[..], b"/"].concat() } else { name };
        prop_assume!(kind != EntryKind::File || !name.ends_with(b"/"));
        let is_link = matches!(kind, EntryKind::HardLink | EntryKind::Symlink);
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let content = if kind == EntryKind::File { content } else { Vec::new() };
        let header = TarHeader {
            kind,
            name: &name,
            link: if is_link { &link } else { b"" },
            mode,
            uid,
            gid,
            size: content.len() as u64,
            mtime,
            major: if is_device { major } else { 0 },
            minor: if is_device { minor } else { 0 },
            capability: capability.as_deref(),
        };
        let mut tar = Vec::new();
        header.write(&mut tar);
        tar.extend_from_slice(&content);
        tar.resize(tar.len() + padding(content.len() as u64), 0);
        tar.extend_from_slice(&END);
        let found = entries(&*tar).unwrap();
        let [(entry, read)] = &found[..] else { panic!("{} entries", found.len()) };
        prop_assert_eq!((entry.kind, &entry.name, &entry.link[..]), (kind, &name, header.link));
        prop_assert_eq!((entry.mode, entry.uid, entry.gid), (mode, uid, gid));
        prop_assert_eq!((entry.mtime.seconds, entry.mtime.nanoseconds), (mtime, 0));
        prop_assert_eq!(entry.device, (header.major, header.minor));
        prop_assert_eq!(read, &content);
        let capabilities = entry.attributes.iter().map(|(_, value)| value.as_slice());
        prop_assert_eq!(capabilities.collect::<Vec<_>>(), header.capability.into_iter().collect::<Vec<_>>());
    }

    /// Archives that try to do harm, with a byte changed.
    #[test]
    fn the_laws_hold_for_damaged_archives(
        which in any::<prop::sample::Index>(),
        change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let archives = hostile_archives();
        let mut tar = which.get(&archives).bytes.clone();
        if let Some((at, byte)) = change {
            let at = at.index(tar.len());
            tar[at] = byte;
        }
        tar_laws::check(&tar);
    }
}
