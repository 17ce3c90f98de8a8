//! Laws of manifests, indexes and configs.

use rbuild_oci::{ImageConfig, ManifestOrIndex, MediaType};

/// Checks the laws on bytes, and says what they are: `manifest`, `index`, `config` or `nothing`.
pub(crate) fn check(bytes: &[u8]) -> &'static str {
    let config = check_config(bytes);
    let known = ManifestOrIndex::from_json(bytes, None);
    for stated in [
        MediaType::OciManifest,
        MediaType::DockerManifest,
        MediaType::OciIndex,
        MediaType::DockerManifestList,
        MediaType::Other("text/plain".to_owned()),
    ] {
        match (ManifestOrIndex::from_json(bytes, Some(&stated)), &known) {
            (Ok(ManifestOrIndex::Manifest(_)), Ok(ManifestOrIndex::Manifest(_))) => {
                assert!(!stated.is_index());
            }
            (Ok(ManifestOrIndex::Index(_)), Ok(ManifestOrIndex::Index(_))) => assert!(!stated.is_manifest()),
            (Ok(found), _) => panic!("{stated} makes it {found:?}"),
            (Err(error), _) => assert!(!error.to_string().is_empty()),
        }
    }
    match known {
        Ok(ManifestOrIndex::Manifest(manifest)) => {
            let read = ManifestOrIndex::from_json(&manifest.to_json(), None);
            let _ = manifest.check_image();
            assert_eq!(read, Ok(ManifestOrIndex::Manifest(manifest)));
            "manifest"
        }
        Ok(ManifestOrIndex::Index(index)) => {
            let read = ManifestOrIndex::from_json(&index.to_json(), None);
            assert_eq!(read, Ok(ManifestOrIndex::Index(index)));
            "index"
        }
        Err(_) if config => "config",
        Err(_) => "nothing",
    }
}

fn check_config(bytes: &[u8]) -> bool {
    let Ok(config) = ImageConfig::from_json(bytes) else { return false };
    let written = config.to_json();
    let read = ImageConfig::from_json(&written).expect("what is written can be read");
    assert_eq!(read.to_json(), written);
    assert_eq!(read.platform(), config.platform());
    true
}
