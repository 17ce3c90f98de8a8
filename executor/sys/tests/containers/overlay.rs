//! Overlays through their descriptors. Needs root.

use crate::world::{World, can_mount};
use rbuild_sys::{
    SysError,
    fs::{open_in_root, stat_at},
    overlay::{OverlaySpec, XattrNamespace, mount_overlay},
};
use std::{
    fs::{self, File},
    io::Read,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

fn layers(world: &World, count: usize, prefix: &str) -> Vec<PathBuf> {
    let layer = |number: usize| {
        let path = world.directory.path().join(format!("{prefix}{number}"));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("top"), number.to_string()).unwrap();
        fs::write(path.join(format!("file{number}")), "").unwrap();
        path
    };
    (0..count).map(layer).collect()
}

fn content(root: impl AsFd, path: &str) -> String {
    let flags = nix::fcntl::OFlag::O_RDONLY;
    let file = open_in_root(root.as_fd(), Path::new(path), flags, nix::sys::stat::Mode::empty()).unwrap();
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn two_hundred_layers_stack_in_order() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let layers = layers(&world, 200, "layer");
    let (root, upper) = world.root(&layers.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert_eq!(content(&root, "top"), "199");
    assert!(stat_at(root.as_fd(), Path::new("file0")).unwrap().is_regular());
    nix::sys::stat::mkdirat(&root, "made", nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(upper.join("made").is_dir(), "written without being attached anywhere");
}

#[test]
fn long_paths_and_few_layers_work() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let long = format!("{}/{}/", "a".repeat(200), "b".repeat(200));
    let layers = layers(&world, 2, &long);
    let empty = world.directory.path().join("empty");
    for count in 0..=2 {
        let lowers: Vec<&Path> = layers[..count].iter().map(PathBuf::as_path).collect();
        let spec =
            OverlaySpec { lowers: &lowers, upper: None, empty: &empty, xattr: XattrNamespace::Trusted };
        let view = mount_overlay(&spec).unwrap();
        match count {
            0 => assert!(stat_at(view.as_fd(), Path::new("top")).is_err()),
            _ => assert_eq!(content(&view, "top"), (count - 1).to_string()),
        }
        let made = nix::sys::stat::mkdirat(&view, "x", nix::sys::stat::Mode::S_IRWXU);
        assert_eq!(made, Err(nix::errno::Errno::EROFS));
    }
}

#[test]
fn errors_name_the_option_and_the_limit() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let empty = world.directory.path().join("empty");
    let missing = [Path::new("/nowhere/at/all")];
    let spec = OverlaySpec { lowers: &missing, upper: None, empty: &empty, xattr: XattrNamespace::Trusted };
    let error = mount_overlay(&spec).unwrap_err().to_string();
    assert!(error.contains("lowerdir+ = /nowhere/at/all"), "{error}");
    let many = vec![empty.as_path(); 501];
    let error = mount_overlay(&OverlaySpec { lowers: &many, ..spec }).unwrap_err();
    assert!(matches!(error, SysError::TooManyLayers { found: 501, limit: 500 }));
}
