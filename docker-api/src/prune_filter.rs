//! The `--filter` of every `prune`.

use crate::{FilterError, images::label, moments::moment};
use rbuild::Timestamp;
use std::collections::BTreeMap;

/// What a `prune` is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// Only what was made before this moment, or at it.
    pub until: Option<Timestamp>,
    /// Labels that must be there (true) or must not (false), with this value if there is one.
    labels: Vec<(bool, String, Option<String>)>,
}

impl PruneFilter {
    /// Reads `NAME=VALUE`s.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(texts: &[String], now: Timestamp) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for text in texts {
            let (name, value) = text.split_once('=').ok_or_else(|| FilterError::Argument(text.clone()))?;
            match name {
                "until" if filter.until.is_some() => {
                    return Err(FilterError::Invalid("more than one until filter specified".to_owned()));
                }
                "until" => {
                    let until = moment(value, now).ok_or_else(|| FilterError::Moment(value.to_owned()))?;
                    filter.until = Some(until);
                }
                "label" => filter.labels.push(label(value, |name, value| (true, name, value))),
                "label!" => filter.labels.push(label(value, |name, value| (false, name, value))),
                other => return Err(FilterError::Invalid(other.to_owned())),
            }
        }
        Ok(filter)
    }

    /// True if there is nothing that it takes out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until.is_none() && self.labels.is_empty()
    }

    /// True if it asks for labels.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// True if something made at `created`, with these labels, may go.
    #[must_use]
    pub fn admits(&self, created: Option<Timestamp>, labels: &BTreeMap<String, String>) -> bool {
        let has = |name: &String, value: &Option<String>| {
            labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.until.is_none_or(|until| created.is_none_or(|created| created <= until))
            && self.labels.iter().all(|(there, name, value)| has(name, value) == *there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_moments_are_docker_s() {
        let now: Timestamp = "2026-05-02T12:00:00Z".parse().unwrap();
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let admits = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let created = "2026-05-02T11:00:00Z".parse().ok();
            PruneFilter::parse(&texts, now).map(|filter| filter.admits(created, &labels))
        };
        for (texts, expected) in [
            (&[][..], true),
            (&["until=30m"], true),
            (&["until=2h"], false),
            (&["label=a"], true),
            (&["label=a=1", "label!=b"], true),
            (&["label=a=2"], false),
            (&["label!=a"], false),
            (&["label!=a=2"], true),
        ] {
            assert_eq!(admits(texts), Ok(expected), "{texts:?}");
        }
        assert_eq!(admits(&["until=x"]), Err(FilterError::Moment("x".to_owned())));
        assert_eq!(admits(&["before=x"]), Err(FilterError::Invalid("before".to_owned())));
    }
}
