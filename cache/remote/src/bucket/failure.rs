//! What a service of buckets answers when it does not do what it was asked for.

use object_store::Error as ServiceError;
use rbuild_oci::FailureClass;
use std::error::Error;

/// The longest text of a service that is shown.
const SHOWN: usize = 300;

/// A failure of a service of buckets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketFailure {
    /// The object, or the bucket, is not there.
    #[error("it is not there")]
    Missing,
    /// The service refuses, or is not reached.
    #[error("{0}")]
    Refused(String),
    /// Nothing came for this many seconds.
    #[error("nothing came for {0} seconds")]
    Stalled(u64),
    /// What came has another length than the description says.
    #[error("it has {found} bytes and should have {expected}")]
    Length {
        /// The expected length.
        expected: u64,
        /// The length that was announced or came.
        found: u64,
    },
    /// What came is longer than anything that is read into memory.
    #[error("it has {size} bytes, more than {limit}")]
    TooLong {
        /// Its length.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

impl BucketFailure {
    /// Who has to act on the failure.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Refused(_) | Self::Stalled(_) => FailureClass::Environment,
            Self::Missing | Self::Length { .. } | Self::TooLong { .. } => FailureClass::Input,
        }
    }

    /// What `error` says, in the service's own words where it has some.
    pub(super) fn of(error: &ServiceError) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = error.to_string();
            cause = error.source();
        }
        let said = ["Code", "Message"].map(|name| element(&text, name));
        match (error, said) {
            (ServiceError::NotFound { .. }, [None | Some("NoSuchKey" | "BlobNotFound"), _]) => Self::Missing,
            (_, [Some(code), Some(message)]) => Self::Refused(shown(&format!("{code}: {message}"))),
            (_, [Some(code), None]) => Self::Refused(shown(code)),
            (_, [None, _]) => Self::Refused(shown(&text)),
        }
    }
}

/// The text of the first element `name` of an answer in XML.
fn element<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim()).filter(|text| !text.is_empty())
}

/// A text of a stranger, as one line of bounded length.
fn shown(text: &str) -> String {
    let clean = text.split_whitespace().collect::<Vec<_>>().join(" ");
    clean.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> BucketFailure {
        BucketFailure::of(&ServiceError::Generic { store: "S3", source: body.into() })
    }

    #[test]
    fn the_service_is_heard_and_no_more_of_it_than_a_line() {
        let xml = "status 403: <Error><Code>AccessDenied</Code><Message>not\n yours</Message></Error>";
        assert_eq!(refused(xml), BucketFailure::Refused("AccessDenied: not yours".to_owned()));
        let BucketFailure::Refused(long) = refused(&"\u{1b}[31mx\n".repeat(1 << 20)) else { panic!() };
        assert!(long.len() <= SHOWN && !long.contains(['\u{1b}', '\n']), "{long:?}");
        let missing = |body: &str| {
            BucketFailure::of(&ServiceError::NotFound { path: "x".to_owned(), source: body.into() })
        };
        assert_eq!(missing(""), BucketFailure::Missing);
        assert_eq!(missing("<Code>NoSuchKey</Code>"), BucketFailure::Missing);
        let gone = "<Code>NoSuchBucket</Code><Message>no such bucket</Message>";
        assert_eq!(missing(gone), BucketFailure::Refused("NoSuchBucket: no such bucket".to_owned()));
    }
}
