//! Laws for headers of challenges and files of configuration, for the fuzz target and the property tests alike: any text is read or
//! refused, a challenge is written as something that is read the same, and a configuration leads somewhere.

use rbuild_oci::Reference;
use rbuild_registry::{Credentials, Registries, parse_challenges};
use std::path::Path;

/// Checks the laws of one kind of text.
pub(crate) fn check(kind: u8, text: &str) {
    match kind % 5 {
        0 => challenges(text),
        1 => places(Registries::from_registries_conf(Path::new("/f"), text).ok()),
        2 => places(Registries::from_containerd_hosts("a.example", Path::new("/d/f"), text).ok()),
        3 => places(
            Registries::from_docker_daemon(Path::new("/f"), text).ok().map(|(registries, _)| registries),
        ),
        _ => {
            if let Ok(credentials) = Credentials::from_file(Path::new("/f"), text) {
                let origin = credentials.origin("r.example", "a/b");
                assert!(origin.is_none_or(|origin| origin.file == Path::new("/f")));
            }
        }
    }
}

fn challenges(text: &str) {
    let found = parse_challenges(text);
    let written = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(parse_challenges(&written).len(), found.len(), "{text:?}");
}

/// There is always a place, or a reason why not.
fn places(registries: Option<Registries>) {
    let Some(registries) = registries else { return };
    for name in ["debian", "a.example/b/c:1", "x.y.example:5000/z"] {
        let reference: Reference = name.parse().expect("a name");
        if let Ok(places) = registries.places(&reference) {
            let last = places.last().expect("the registry itself");
            assert_eq!(last.tag(), reference.tag(), "{name}");
        }
    }
}
