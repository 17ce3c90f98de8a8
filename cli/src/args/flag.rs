//! Switches in Docker's manner: `--pull`, `--pull=true`, `--pull=0`.

/// Reads the value of a switch as Go's `strconv.ParseBool` does.
pub(super) fn parse(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}
