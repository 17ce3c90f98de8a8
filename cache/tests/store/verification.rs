//! What `verify` makes of answers about layers.

use crate::fixture::{layer, store};
use rbuild_cache::{Fault, FaultState, LayerFiles, Repair};

#[test]
fn what_could_not_be_looked_at_is_reported_and_stays() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let [whole, unseen] = ["whole", "unseen"].map(|text| layer(&store, &lease, text));
    drop(lease);
    let answer = |files: LayerFiles| {
        move |layer: &_, _| if *layer == unseen { files.clone() } else { LayerFiles::Sound }
    };
    let looked = store.verify(&answer(LayerFiles::Unseen("no permission".to_owned())), Repair::Yes).unwrap();
    let [found] = &looked.faults[..] else { panic!("{:?}", looked.faults) };
    assert!(matches!(&found.fault, Fault::UnseenLayer { layer, .. } if *layer == unseen), "{found:?}");
    assert!(matches!(found.state, FaultState::Kept(_)), "{found:?}");
    assert!(found.fault.to_string().ends_with("could not be looked at: no permission"));
    assert!(store.has_layer(&unseen) && store.has_layer(&whole));

    let looked = store.verify(&answer(LayerFiles::Damaged("cut".to_owned())), Repair::Yes).unwrap();
    assert!(looked.faults.iter().all(|found| found.is_repaired()), "{:?}", looked.faults);
    assert!(!store.has_layer(&unseen) && store.has_layer(&whole));
}
