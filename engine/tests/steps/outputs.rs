//! What outputs make a build do.

use super::world::World;
use crate::{Exported, Output};

#[test]
fn nothing_is_hashed_that_no_output_needs() {
    if !rbuild_testkit::has_root() {
        return;
    }
    let mut world = World::new("FROM scratch\nCOPY f0 /\n");
    world.write("f0", "0");
    world.request.outputs.clear();
    let built = world.run();
    assert_eq!((built.target.outputs.as_slice(), built.image(), built.executed), (&[][..], None, 1));
    let layers = world.layers();
    assert_eq!(layers.len(), 1);
    assert!(rbuild_image::known_layer_diff(world.store(), &layers[0]).unwrap().is_none());

    let names: Vec<_> = ["one", "two:2"].map(|name| name.parse().unwrap()).into();
    world.request.outputs = vec![Output::Store { names }, Output::Store { names: Vec::new() }];
    let built = world.run();
    let image = built.image().unwrap();
    let stored = Exported::Store { image, platforms: Vec::new() };
    assert_eq!(built.target.outputs, [stored.clone(), stored]);
    assert_eq!((built.cached, built.executed), (1, 0));
    assert!(rbuild_image::known_layer_diff(world.store(), &layers[0]).unwrap().is_some());
}
