//! What is kept of a container's output.

use super::size;
use crate::error::UsageError;
use rbuild::ContainerLog;

/// What Docker's driver `local` keeps: five files of 20 MB.
const LOCAL: ContainerLog = ContainerLog { is_kept: true, max_size: Some(20 << 20), max_files: Some(5) };

/// Reads `--log-driver` and `--log-opt`s.
pub(super) fn log(driver: Option<&str>, options: &[String]) -> Result<ContainerLog, UsageError> {
    let mut log = match driver.unwrap_or_default() {
        "" | "json-file" => ContainerLog::default(),
        "local" => LOCAL,
        "none" => ContainerLog { is_kept: false, ..ContainerLog::default() },
        other => return Err(UsageError::unsupported(format_args!("--log-driver {other}"))),
    };
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "max-size" => {
                let bytes = size::bytes("log-opt", value)?;
                if bytes == 0 {
                    return Err(UsageError::new("max-size should be a positive number"));
                }
                log.max_size = Some(bytes);
            }
            "max-file" => {
                let files = value.parse().ok().filter(|files| (1..=1000).contains(files));
                let wrong =
                    || UsageError::new(format!("max-file is a number from 1 to 1000, and not {value:?}"));
                log.max_files = Some(files.ok_or_else(wrong)?);
            }
            "mode" | "max-buffer-size" | "compress" => {
                return Err(UsageError::unsupported(format_args!("--log-opt {name}")));
            }
            name => {
                return Err(UsageError::new(format!("unknown log opt '{name}' for json-file log driver")));
            }
        }
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_of_files_are_read() {
        let read = |driver, options: &[&str]| {
            let options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
            log(driver, &options).map_err(|error| error.to_string())
        };
        let found = read(None, &["max-size=10k", "max-file=3"]).unwrap();
        assert_eq!((found.is_kept, found.max_size, found.max_files), (true, Some(10 << 10), Some(3)));
        assert_eq!(read(Some("local"), &["max-file=2"]).unwrap().max_files, Some(2));
        assert!(!read(Some("none"), &[]).unwrap().is_kept);
        for (driver, option, said) in [
            (Some("syslog"), "max-size=1m", "--log-driver syslog is not supported"),
            (None, "max-size=x", "invalid size"),
            (None, "max-size=0", "positive"),
            (None, "max-file=0", "1 to 1000"),
            (None, "tag=x", "unknown log opt 'tag'"),
        ] {
            let error = read(driver, &[option]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
