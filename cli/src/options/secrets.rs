//! `--secret`: files and variables of the person who builds.

use crate::{environment::Environment, error::UsageError, failure::plain};
use rbuild::SecretValue;
use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

/// The secrets that `values` of `--secret` name, read.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn secrets(
    values: &[String],
    environment: &Environment,
) -> Result<BTreeMap<String, SecretValue>, UsageError> {
    values.iter().filter(|text| !text.is_empty()).map(|text| secret(text, environment)).collect()
}

fn secret(text: &str, environment: &Environment) -> Result<(String, SecretValue), UsageError> {
    let (mut id, mut file, mut variable, mut from_variable) = ("", "", "", false);
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(UsageError::new(format!("invalid field '{field}' must be a key=value pair")));
        };
        match (key.to_ascii_lowercase().as_str(), value) {
            ("id", _) => id = value,
            ("source" | "src", _) => file = value,
            ("env", _) => variable = value,
            ("type", "file") => from_variable = false,
            ("type", "env") => from_variable = true,
            ("type", _) => return Err(UsageError::new(format!("unsupported secret type {value:?}"))),
            _ => return Err(UsageError::new(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if id.is_empty() {
        return Err(UsageError::in_build("secret missing ID"));
    }
    if from_variable && variable.is_empty() {
        (variable, file) = (file, "");
    }
    if variable.is_empty() && file.is_empty() {
        if environment.variable(id).is_some() { variable = id } else { file = id }
    }
    let of_file = if file.is_empty() { None } else { Some(read(id, Path::new(file))?) };
    // a variable that is not set is an empty secret, as with Docker
    let of_variable = || environment.variable(variable).unwrap_or_default().as_bytes().to_vec();
    let value = of_file.filter(|_| variable.is_empty()).unwrap_or_else(of_variable);
    Ok((id.to_owned(), SecretValue::new(value)))
}

fn read(id: &str, path: &Path) -> Result<Vec<u8>, UsageError> {
    let mut value = Vec::new();
    let most = SecretValue::LIMIT as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut value));
    if let Err(error) = read {
        let reason = plain(&error.to_string());
        return Err(UsageError::in_build(format!(
            "failed to read secret {id}: {}: {reason}",
            path.display()
        )));
    }
    if value.len() > SecretValue::LIMIT {
        let limit = SecretValue::LIMIT >> 10;
        return Err(UsageError::in_build(format!("secret {id} too big. max size {limit}KiB")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::User;

    #[test]
    fn secrets_come_from_files_and_variables() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "in the file").unwrap();
        let file = file.to_str().unwrap();
        let environment = Environment::of(&[("V", "in V"), ("id", "in id")], User::Ordinary);
        for (text, expected) in [
            (format!("id=x,src={file}"), "in the file"),
            (format!("id=x,Source={file},type=file"), "in the file"),
            (format!("id=x,src={file},env=V"), "in V"),
            ("id=x,env=V".to_owned(), "in V"),
            ("id=x,type=env,src=V".to_owned(), "in V"),
            ("id=x,env=UNSET".to_owned(), ""),
            ("id=id".to_owned(), "in id"),
            (format!("id={file}"), "in the file"),
        ] {
            let read = secrets(&[text.clone(), String::new()], &environment).unwrap();
            assert_eq!(read.values().collect::<Vec<_>>(), [&SecretValue::new(expected.as_bytes())], "{text}");
        }
        std::fs::write(file, vec![0; SecretValue::LIMIT + 1]).unwrap();
        for (text, message) in [
            ("x", "invalid field 'x' must be a key=value pair"),
            ("id=x,", "invalid field '' must be a key=value pair"),
            ("id=x,foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("id=x,type=q", "unsupported secret type \"q\""),
            ("src=f", "failed to build: secret missing ID"),
            ("id=x,src=/nope", "failed to build: failed to read secret x: /nope: no such file or directory"),
            (&format!("id=x,src={file}"), "failed to build: secret x too big. max size 500KiB"),
        ] {
            assert_eq!(secrets(&[text.to_owned()], &environment).unwrap_err().to_string(), message, "{text}");
        }
    }
}
