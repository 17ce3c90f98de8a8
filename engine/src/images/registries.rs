//! Questions about registries that need no store: whether a login is right, what a reference leads to and what one may do
//! there, what a search finds.

use crate::{Error, EventSink, report::reporter::Reporter};
use rbuild_oci::{Digest, Reference};
use rbuild_registry::{Client, ClientOptions, FoundRepository, LoginOrigin, Reached, RetryPolicy};

/// What was found out about the places of a reference.
#[derive(Debug)]
pub struct RegistryReport {
    /// The mirrors in the order in which a pull asks them, and last the registry.
    pub places: Vec<PlaceReport>,
    /// The right to push to the registry.
    pub push: Result<(), Error>,
}

/// What was found out about one place.
#[derive(Debug)]
pub struct PlaceReport {
    /// The image there.
    pub reference: Reference,
    /// Where the login comes from; `None` without one.
    pub login: Option<LoginOrigin>,
    /// How it is reached.
    pub reach: Result<Reached, Error>,
    /// The digest of what is there; `None` when the place cannot be reached.
    pub pull: Option<Result<Digest, Error>>,
}

/// Asks the registry `domain` whether it takes the credentials in `options`. Needs no store.
///
/// # Errors
/// [`Error::Registry`].
pub async fn check_login(options: ClientOptions, domain: &str) -> Result<(), Error> {
    Ok(Client::new(options).check_login(domain).await?)
}

/// Finds out where `reference` leads, and whether it can be pulled and pushed there. Nothing is stored anywhere.
///
/// # Errors
/// [`Error::Registry`] when the configuration closes the repository or is wrong. Other failures are in the report.
pub async fn test_registry(options: ClientOptions, reference: &Reference) -> Result<RegistryReport, Error> {
    let places = options.registries.places(reference)?;
    // the person waits for an answer, not for a success
    let retry = RetryPolicy { retries: options.retry.retries.min(1), ..options.retry };
    let client = Client::new(ClientOptions { retry, ..options });
    let mut reports = Vec::with_capacity(places.len());
    for place in places {
        let reach = client.reach(place.domain()).await.map_err(Error::from);
        let pull = match &reach {
            Ok(_) => Some(client.check_pull(&place).await.map_err(Error::from)),
            Err(_) => None,
        };
        let login = client.login_origin(&place);
        reports.push(PlaceReport { reference: place, login, reach, pull });
    }
    let push = client.check_push(reference).await.map_err(Error::from);
    Ok(RegistryReport { places: reports, push })
}

/// The repositories of the registry `domain` that `term` fits, at most `limit`. Docker Hub is `docker.io`.
///
/// # Errors
/// [`Error::Registry`].
pub async fn search_registry(
    options: ClientOptions,
    (domain, term): (&str, &str),
    limit: usize,
    events: EventSink,
) -> Result<Vec<FoundRepository>, Error> {
    let client = Client::new(options).heard_by(Reporter::new(events).listener());
    Ok(client.search(domain, term, limit).await?)
}
