//! How layers are compressed on their way out.

use crate::error::UsageError;
use rbuild::{GzipLevel, LayerCompression, Packing, PulledLayers, ZstdLevel};

/// Reads a format and a level, which may be left out, and the wish to have pulled layers in that format too.
pub(crate) fn packing(format: Option<&str>, level: Option<&str>, force: bool) -> Result<Packing, UsageError> {
    let pulled = if force { PulledLayers::Converted } else { PulledLayers::AsTheyCame };
    Ok(Packing { compression: compression(format.unwrap_or("gzip"), level)?, pulled })
}

fn compression(format: &str, level: Option<&str>) -> Result<LayerCompression, UsageError> {
    let bad_level = |text: &str, most: u8| {
        UsageError::new(format!("invalid compression level {text:?} for {format}: give 0 to {most}"))
    };
    match format {
        "gzip" => {
            let read = |text: &str| {
                let level = text.parse().ok().and_then(GzipLevel::new);
                level.ok_or_else(|| bad_level(text, GzipLevel::MOST))
            };
            Ok(LayerCompression::Gzip(level.map(read).transpose()?.unwrap_or_default()))
        }
        "zstd" => {
            let read = |text: &str| {
                let level = text.parse().ok().and_then(ZstdLevel::new);
                level.ok_or_else(|| bad_level(text, ZstdLevel::MOST))
            };
            Ok(LayerCompression::Zstd(level.map(read).transpose()?.unwrap_or_default()))
        }
        "uncompressed" => match level {
            None => Ok(LayerCompression::Uncompressed),
            Some(_) => Err(UsageError::new("a compression level needs a compression: gzip or zstd")),
        },
        "zstd:chunked" => Err(UsageError::unsupported(format_args!("compression format zstd:chunked"))),
        other => Err(UsageError::new(format!(
            "unknown compression format {other:?}: give gzip, zstd or uncompressed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_levels_are_read() {
        let gzip = |level| LayerCompression::Gzip(GzipLevel::new(level).unwrap());
        let zstd = |level| LayerCompression::Zstd(ZstdLevel::new(level).unwrap());
        for (format, level, expected) in [
            (None, None, LayerCompression::default()),
            (None, Some("9"), gzip(9)),
            (Some("gzip"), Some("0"), gzip(0)),
            (Some("zstd"), Some("22"), zstd(22)),
            (Some("uncompressed"), None, LayerCompression::Uncompressed),
        ] {
            let read = packing(format, level, false).unwrap();
            assert_eq!(
                read,
                Packing { compression: expected, pulled: PulledLayers::AsTheyCame },
                "{format:?}"
            );
        }
        assert_eq!(packing(None, None, true).unwrap().pulled, PulledLayers::Converted);
    }

    #[test]
    fn what_is_none_is_said() {
        for (format, level, message) in [
            ("gzip", Some("10"), "invalid compression level \"10\" for gzip: give 0 to 9"),
            ("zstd", Some("23"), "invalid compression level \"23\" for zstd: give 0 to 22"),
            ("gzip", Some("-1"), "invalid compression level \"-1\" for gzip: give 0 to 9"),
            ("uncompressed", Some("1"), "a compression level needs a compression: gzip or zstd"),
            ("xz", None, "unknown compression format \"xz\": give gzip, zstd or uncompressed"),
        ] {
            assert_eq!(packing(Some(format), level, false).unwrap_err().to_string(), message);
        }
    }
}
