//! Choosing the image for a platform from an index.

use crate::ImageError;
use rbuild_oci::{Descriptor, Index, Platform};

/// Indexes within indexes that are followed.
pub(crate) const DEPTH_LIMIT: usize = 4;

/// The entry of `index` for `wanted`: the same platform if there is one, otherwise the newest older variant. An entry that
/// is an index itself and names no platform is taken when nothing fits better.
///
/// # Errors
/// [`ImageError::NoPlatform`], with what there is.
pub(crate) fn choose<'a>(
    index: &'a Index,
    wanted: &Platform,
    subject: &str,
) -> Result<&'a Descriptor, ImageError> {
    let images = || index.manifests.iter().filter(|entry| entry.media_type.is_manifest());
    let compatible = images()
        .filter_map(|entry| Some((entry.platform.as_ref()?.distance(wanted)?, entry)))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, entry)) = compatible {
        return Ok(entry);
    }
    let unnamed = images().filter(|entry| entry.platform.is_none());
    let nested = index.manifests.iter().filter(|entry| entry.media_type.is_index());
    if let Some(entry) = unnamed.chain(nested).next() {
        return Ok(entry);
    }
    // attestations are listed as unknown/unknown
    let shown = images().filter_map(|entry| entry.platform.as_ref()).filter(|p| p.os != "unknown");
    Err(ImageError::NoPlatform {
        subject: subject.to_owned(),
        wanted: wanted.to_string(),
        available: shown.map(Platform::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_oci::{Digest, MediaType};

    #[test]
    fn the_best_variant_wins_and_the_rest_is_listed() {
        let entry = |platform: &str| {
            let mut entry = Descriptor::new(MediaType::OciManifest, Digest::of(platform.as_bytes()), 1);
            entry.platform = Some(platform.parse().unwrap());
            entry
        };
        let index =
            Index::new(["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64"].map(entry).to_vec());
        for (wanted, chosen) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/arm64/v8", "linux/arm64"),
        ] {
            let found = choose(&index, &wanted.parse().unwrap(), "x").unwrap();
            assert_eq!(found.digest, Digest::of(chosen.as_bytes()), "{wanted}");
        }
        let error = choose(&index, &"linux/s390x".parse().unwrap(), "debian:12").unwrap_err();
        assert_eq!(
            error.to_string(),
            "debian:12 has no image for linux/s390x: it has linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64"
        );
    }
}
