//! `--cache-mount`: what a cache mount begins with and how large it may become.

use super::size;
use crate::error::UsageError;
use rbuild::{CacheMountOptions, CacheMounts};
use std::path::PathBuf;

/// What the values of `--cache-mount` ask for.
///
/// # Errors
/// [`UsageError`].
pub(super) fn cache_mounts(values: &[String]) -> Result<CacheMounts, UsageError> {
    let by_id = values.iter().map(|text| cache_mount(text)).collect::<Result<_, _>>()?;
    Ok(CacheMounts { by_id, max_bytes: None })
}

fn cache_mount(text: &str) -> Result<(String, CacheMountOptions), UsageError> {
    let (mut id, mut options) = ("", CacheMountOptions::default());
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(UsageError::new(format!("invalid field '{field}' must be a key=value pair")));
        };
        match key.to_ascii_lowercase().as_str() {
            "id" => id = value,
            "source" | "src" => options.source = Some(PathBuf::from(value)).filter(|_| !value.is_empty()),
            "max-size" => options.max_bytes = Some(size::bytes("cache-mount", value)?),
            _ => return Err(UsageError::new(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if id.is_empty() {
        return Err(UsageError::new(format!(
            "invalid argument {text:?} for \"--cache-mount\" flag: id is missing"
        )));
    }
    Ok((id.to_owned(), options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_an_id_and_slips_are_named() {
        let read = |text: &str| cache_mounts(&[text.to_owned()]);
        let mounts = read("id=cargo,src=warm.tar.zst,max-size=2g").unwrap();
        let expected =
            CacheMountOptions { source: Some(PathBuf::from("warm.tar.zst")), max_bytes: Some(2 << 30) };
        assert_eq!(mounts.by_id["cargo"], expected);
        for (text, problem) in [
            ("src=x", "id is missing"),
            ("id=x,to=y", "unexpected key 'to'"),
            ("cargo", "must be a key=value pair"),
            ("id=x,max-size=much", "invalid size: 'much'"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }
}
