//! The places that a pull asks for an image: its mirrors, one after the other, and then its registry.

use crate::{Client, Notice, RegistryError, RetryPolicy};
use rbuild_oci::Reference;
use std::{collections::VecDeque, error::Error};

/// The places that are left to be asked; there is always one.
pub(crate) struct Places {
    mirrors: VecDeque<Reference>,
    last: Reference,
}

impl Client {
    /// The places that have `reference`. A mirror that could not be reached is not asked again.
    pub(crate) fn places(&self, reference: &Reference) -> Result<Places, RegistryError> {
        let transport = self.transport.configured()?;
        let mut mirrors = VecDeque::from(transport.registries.places(reference)?);
        let last = mirrors.pop_back().unwrap_or_else(|| reference.clone());
        mirrors.retain(|mirror| !transport.is_given_up(mirror.domain()));
        Ok(Places { mirrors, last })
    }

    /// The client for the first of `places`: a mirror gets one more try at most, because there is another place.
    pub(crate) fn towards(&self, places: &Places) -> Self {
        let retries = if places.mirrors.is_empty() { self.retry.retries } else { self.retry.retries.min(1) };
        Self { retry: RetryPolicy { retries, ..self.retry }, ..self.clone() }
    }
}

impl Places {
    pub(crate) fn first(&self) -> &Reference {
        self.mirrors.front().unwrap_or(&self.last)
    }

    /// Passes over the first place, which failed with `error`. Returns the error when it was the last.
    pub(crate) fn pass_over(&mut self, client: &Client, error: RegistryError) -> Result<(), RegistryError> {
        let Some(mirror) = self.mirrors.pop_front() else { return Err(error) };
        let lacks = matches!(error, RegistryError::NotFound { .. } | RegistryError::BlobNotFound { .. });
        // a mirror need not have everything
        if !lacks {
            client.transport.configured()?.give_up_on(mirror.domain());
            let mirror = format!("{}/{}", mirror.domain(), mirror.path());
            client.listener.tell(Notice::MirrorFailed { mirror, reason: with_causes(&error) });
        }
        Ok(())
    }
}

fn with_causes(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
