//! `--call`: what is asked of a Dockerfile instead of building it.

use crate::error::UsageError;

/// One call, and how to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallOptions {
    /// The question that `--call` asks.
    pub(crate) call: Call,
    /// How the answer is written.
    pub(crate) format: CallFormat,
    /// The effect of findings on the exit code.
    pub(crate) status: FindingsStatus,
}

/// The question that `--call` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The mistakes in it.
    Check,
    /// The parameters that the target takes.
    Outline,
    /// The stages that can be built.
    Targets,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The effect of findings on the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindingsStatus {
    /// It is 1.
    Fails,
    /// Nothing (`ignorestatus`).
    Ignored,
}

impl CallOptions {
    /// Settles `--call=METHOD[,format=…][,ignorestatus[=…]]` and `--check`; `None` is a build.
    ///
    /// # Errors
    /// [`UsageError`] for anything else.
    pub(crate) fn new(flag: Option<&str>, check: bool) -> Result<Option<Self>, UsageError> {
        let text = if check { "check" } else { flag.filter(|text| !text.is_empty()).unwrap_or("build") };
        let invalid = || UsageError::new(format!("invalid value {text:?} for --call"));
        let (mut method, mut format, mut status) = ("", CallFormat::Text, FindingsStatus::Fails);
        for field in text.split(',') {
            match field.split_once('=') {
                None if field == "ignorestatus" => status = FindingsStatus::Ignored,
                None if method.is_empty() => method = field,
                Some(("format", "json")) => format = CallFormat::Json,
                Some(("format", "text")) => format = CallFormat::Text,
                Some(("ignorestatus", "true" | "1")) => status = FindingsStatus::Ignored,
                Some(("ignorestatus", "false" | "0")) => status = FindingsStatus::Fails,
                None | Some(_) => return Err(invalid()),
            }
        }
        let call = match method {
            "build" => return Ok(None),
            "check" | "lint" => Call::Check,
            "outline" => Call::Outline,
            "targets" => Call::Targets,
            _ => return Err(invalid()),
        };
        Ok(Some(Self { call, format, status }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_docker_reads_them() {
        let read = |flag| CallOptions::new(Some(flag), false).unwrap();
        let check =
            CallOptions { call: Call::Check, format: CallFormat::Text, status: FindingsStatus::Fails };
        assert_eq!(CallOptions::new(None, true).unwrap(), Some(check));
        assert_eq!(read("check"), Some(check));
        assert_eq!(read("check,format=json"), Some(CallOptions { format: CallFormat::Json, ..check }));
        assert_eq!(read("lint,ignorestatus=true").unwrap().status, FindingsStatus::Ignored);
        assert_eq!(read("targets").unwrap().call, Call::Targets);
        assert_eq!((read("build"), read("")), (None, None));
        for wrong in ["nothing", "check,format=xml", "check,outline", "outline,color=red"] {
            assert!(CallOptions::new(Some(wrong), false).is_err(), "{wrong:?}");
        }
    }
}
