//! Laws: applying is the inverse of writing, and damage does no harm.

use crate::layers::fixture::Fixture;
use proptest::prelude::*;
use rbuild_cache::LayerSource;
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

/// A node of a file tree.
#[derive(Clone, Debug)]
enum Node {
    File { content: Vec<u8>, mode: u32, owner: u32 },
    Directory { mode: u32, opaque: bool },
    Symlink(String),
    Whiteout,
    Fifo,
    HardLink(String),
}

fn node() -> impl Strategy<Value = Node> {
    let owner = prop_oneof![Just(0), Just(1000), Just(3_000_000_000u32)];
    prop_oneof![
        4 => (proptest::collection::vec(any::<u8>(), 0..2000), 0u32..0o10000, owner)
            .prop_map(|(content, mode, owner)| Node::File { content, mode, owner }),
        3 => (0u32..0o10000, any::<bool>()).prop_map(|(mode, opaque)| Node::Directory { mode, opaque }),
        1 => "[a-z/.ü]{1,130}".prop_map(Node::Symlink),
        1 => Just(Node::Whiteout),
        1 => Just(Node::Fifo),
        1 => "[a-c]".prop_map(Node::HardLink),
    ]
}

fn tree() -> impl Strategy<Value = BTreeMap<String, Node>> {
    let name = prop_oneof!["[a-c]", "[a-c]/[a-c]", "[a-c]/[a-c]/[a-z]{1,40}ü?", "[a-c]/[x-z]{90,120}"];
    proptest::collection::btree_map(name, node(), 0..20)
}

fn make(root: &Path, tree: &BTreeMap<String, Node>) {
    for (name, node) in tree {
        let path = root.join(name);
        let Some(parent) = path.parent() else { continue };
        if fs::symlink_metadata(parent).map_or_else(|_| fs::create_dir_all(parent).is_err(), |m| !m.is_dir())
        {
            continue;
        }
        if fs::symlink_metadata(&path).is_ok() {
            // a link earlier in the tree led here already
            continue;
        }
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let node_of = |kind| {
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::empty(), 0).unwrap();
        };
        match node {
            Node::File { content, mode, owner } => {
                fs::write(&path, content).unwrap();
                std::os::unix::fs::chown(&path, Some(*owner), Some(*owner)).unwrap();
                set(*mode);
            }
            Node::Directory { mode, opaque } => {
                fs::create_dir_all(&path).unwrap();
                set(*mode);
                if *opaque {
                    let flags = rustix::fs::XattrFlags::empty();
                    rustix::fs::setxattr(&path, "trusted.overlay.opaque", b"y", flags).unwrap();
                }
            }
            Node::Symlink(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
            Node::Whiteout => node_of(rustix::fs::FileType::CharacterDevice),
            Node::Fifo => node_of(rustix::fs::FileType::Fifo),
            Node::HardLink(to) => {
                let to = root.join(to);
                if fs::symlink_metadata(&to).is_ok_and(|m| m.is_file()) {
                    fs::hard_link(to, &path).unwrap();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Applying what was written gives the same tree, which writes the same bytes: by recipe and from the directory.
    #[test]
    fn apply_is_the_inverse_of_write(tree in tree()) {
        if !rbuild_testkit::has_root() {
            return Ok(());
        }
        let fixture = Fixture::new();
        let own = fixture.own(|draft| make(draft.fs(), &tree));
        let tar = fixture.tar(&own);
        prop_assert_eq!(tar.len() % 512, 0);
        let applied = fixture.apply(&tar).unwrap();
        prop_assert!(fixture.tar(&applied) == tar, "the recipe gives other bytes");
        let mut meta = fixture.store.layer_meta(&applied).unwrap();
        meta.source = LayerSource::Own;
        fixture.store.update_layer_meta(&applied, &meta).unwrap();
        prop_assert!(fixture.tar(&applied) == tar, "the applied tree is another");
    }

    /// Whatever stands in the headers, nothing panics, nothing gets out, and what is accepted is made again exactly.
    #[test]
    fn damaged_headers_do_no_harm(
        tree in tree(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..345, any::<u8>()), 1..6),
    ) {
        if !rbuild_testkit::has_root() {
            return Ok(());
        }
        let fixture = Fixture::new();
        let mut tar = fixture.tar(&fixture.own(|draft| make(draft.fs(), &tree)));
        for (at, offset, value) in changes {
            let block = at.index(tar.len() / 512) * 512;
            tar[block + offset] = value;
            let mut header = tar::Header::from_byte_slice(&tar[block..block + 512]).clone();
            header.set_cksum();
            tar[block..block + 512].copy_from_slice(header.as_bytes());
        }
        // a header may say that terabytes follow, but they do not
        if let Ok(layer) = fixture.apply(&tar) {
            prop_assert!(fixture.tar(&layer) == tar, "the recipe gives other bytes");
        }
    }
}
