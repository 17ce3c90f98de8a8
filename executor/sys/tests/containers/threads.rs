//! Spawning from a program whose other threads hold every lock there is. Needs root.

use crate::world::{Options, World, can_mount};
use std::{
    fs::File,
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

#[test]
fn five_hundred_containers_among_busy_threads() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let stop = AtomicBool::new(false);
    let null = File::create("/dev/null").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    kept.push(vec![1; 64 + kept.len() * 97 % 70_000]);
                    if kept.len() > 100 {
                        kept.clear();
                        // Takes libc's locks for directories and descriptors.
                        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() > 3);
                    }
                }
            });
        }
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for number in 0..125 {
                        let code = (number % 250).to_string();
                        let command = ["sh", "-c", &format!("exit {code}")];
                        let (mut running, _) = world.start(&command, &Options::default(), &null).unwrap();
                        assert_eq!(running.child.wait().unwrap().code(), Some(number % 250));
                        running.mount_points.remove_unused().unwrap();
                    }
                })
            })
            .collect();
        let failed =
            workers.into_iter().map(|worker| worker.join().is_err()).filter(|failed| *failed).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
}

#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_a_container() {
    if !can_mount() {
        return;
    }
    // In memory: ext4 looks long for free inodes where many were deleted in the last seconds.
    let world = World::inside(tempfile::tempdir_in("/dev/shm").unwrap());
    for name in ["proc", "dev", "sys"] {
        std::fs::create_dir(world.base.join(name)).unwrap();
    }
    let null = File::create("/dev/null").unwrap();
    let mut columns = [const { Vec::new() }; 4];
    for _ in 0..500 {
        let before = Instant::now();
        let (root, _) = world.root(&[&world.base]);
        let mounted = before.elapsed();
        let mut running = world.start_in(root.as_fd(), &["true"], &Options::default(), &null).unwrap();
        let started = before.elapsed();
        running.child.wait().unwrap();
        let ended = before.elapsed();
        running.mount_points.remove_unused().unwrap();
        drop(root);
        let parts = [mounted, started - mounted, ended - started, before.elapsed() - ended];
        columns.iter_mut().zip(parts).for_each(|(column, part)| column.push(part));
    }
    for (name, column) in
        ["overlay with its directories", "until exec", "until the end", "clean-up"].iter().zip(&mut columns)
    {
        column.sort();
        println!("{name}: best {:?}, first tenth {:?}, median {:?}", column[0], column[50], column[250]);
    }
}
