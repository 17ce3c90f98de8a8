//! The comma-separated form of `--mount` values. The planner knows the meaning of the keys.

use crate::MountError;

/// The fields of a `--mount` value: key, lower-cased, and the text after its `=`, if there is one.
///
/// Fields follow the rules of CSV: one in double quotes may hold commas, and `""` in it is one quote.
///
/// # Errors
/// [`MountError`] when the value is empty, or a double quote is in the wrong place.
pub fn parse_mount(value: &str) -> Result<Vec<(String, Option<String>)>, MountError> {
    let fields = parse_fields(value)?;
    Ok(fields
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
            None => (field.to_lowercase(), None),
        })
        .collect())
}

/// Splits the value of `RUN --device` at its commas; a field in double quotes may hold some.
///
/// # Errors
/// [`MountError`] when the value is empty, or a double quote is in the wrong place.
pub fn parse_fields(line: &str) -> Result<Vec<String>, MountError> {
    if line.is_empty() {
        return Err(MountError::Empty);
    }
    let mut fields = Vec::new();
    let mut start = 0;
    loop {
        let rest = &line[start..];
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, used) = quoted_field(quoted, start + 2)?;
            fields.push(field);
            let after = start + 1 + used;
            if after == line.len() {
                return Ok(fields);
            }
            start = after + 1;
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let field = &rest[..end];
            if let Some(at) = field.find('"') {
                return Err(MountError::BareQuote { column: start + at + 1 });
            }
            fields.push(field.to_owned());
            if end == rest.len() {
                return Ok(fields);
            }
            start += end + 1;
        }
    }
}

/// The content of a field after its opening quote, and the bytes up to and including the closing one. `column` is
/// where `rest` starts.
fn quoted_field(rest: &str, column: usize) -> Result<(String, usize), MountError> {
    let mut field = String::new();
    let mut at = 0;
    while let Some(quote) = rest[at..].find('"') {
        field.push_str(&rest[at..at + quote]);
        let after = at + quote + 1;
        match rest.as_bytes().get(after) {
            None | Some(b',') => return Ok((field, after)),
            Some(b'"') => {
                field.push('"');
                at = after + 1;
            }
            Some(_) => return Err(MountError::OpenQuote { column: column + after - 1 }),
        }
    }
    Err(MountError::OpenQuote { column: column + rest.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &str) -> Vec<(String, Option<String>)> {
        parse_mount(value).unwrap()
    }

    fn pair(key: &str, value: Option<&str>) -> (String, Option<String>) {
        (key.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn keys_are_lower_cased_and_values_kept() {
        assert_eq!(
            fields("Type=cache,TARGET=/A=b,ro"),
            [pair("type", Some("cache")), pair("target", Some("/A=b")), pair("ro", None)]
        );
    }

    #[test]
    fn quotes_protect_commas_and_double_quotes() {
        assert_eq!(fields(r#""target=/a,b",id="#), [pair("target", Some("/a,b")), pair("id", Some(""))]);
        assert_eq!(fields(r#""id=a""b""#), [pair("id", Some("a\"b"))]);
        assert_eq!(fields("a,"), [pair("a", None), pair("", None)]);
        assert_eq!(parse_mount(""), Err(MountError::Empty));
    }

    #[test]
    fn misplaced_quotes_are_errors_with_their_column() {
        assert_eq!(parse_mount("id=\"a\""), Err(MountError::BareQuote { column: 4 }));
        assert!(matches!(parse_mount("\"id=a"), Err(MountError::OpenQuote { .. })));
        assert!(matches!(parse_mount("\"id=a\"b"), Err(MountError::OpenQuote { .. })));
    }
}
