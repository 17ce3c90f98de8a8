//! Files of variables and of labels, read as docker's `--env-file` and `--label-file`: a name and a value a line, blanks before them
//! and lines that begin with `#` left out, and everything behind the first `=` the value as it is.

use crate::{environment::Environment, error::CliError};
use std::{fs, path::Path};

/// The variables of a file as `NAME=VALUE`; a name alone takes its value from the environment, if it has one there.
pub(super) fn variables(path: &Path, environment: &Environment) -> Result<Vec<String>, CliError> {
    let value = |name: &str| environment.variable(name).map(str::to_owned);
    let pairs = pairs(path, "env", value)?;
    Ok(pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// The labels of a file. As with docker, a name alone is none.
pub(super) fn labels(path: &Path) -> Result<Vec<(String, String)>, CliError> {
    pairs(path, "label", |_| None)
}

fn pairs(
    path: &Path,
    kind: &str,
    value_of: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, CliError> {
    let bytes = fs::read(path).map_err(CliError::file("open", path))?;
    let wrong = |why: String| CliError::Refused(format!("invalid {kind} file ({}): {why}", path.display()));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut pairs = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line))
            .map_err(|_| wrong(format!("invalid utf8 bytes at line {}", index + 1)))?;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        if name.is_empty() {
            return Err(wrong(format!("no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(wrong(format!("variable '{name}' contains whitespaces")));
        }
        let value = value.map(str::to_owned).or_else(|| value_of(name));
        pairs.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(pairs)
}
