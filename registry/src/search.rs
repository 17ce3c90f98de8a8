//! Searching for repositories. Docker Hub and some other registries answer docker's first protocol (`v1/search`); of the
//! others that list their repositories (`v2/_catalog`), those whose name contains the term are found.

use crate::{
    Client, RegistryError,
    failure::{self, Subject, protocol, read_limited},
    host::DOCKER_HUB,
    request::{Call, RequestScope, Target},
    tags::next_page,
};
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};

const ANSWER_LIMIT: usize = 4 << 20;
/// The server of Docker Hub that searches, which is not the one that has the images.
const HUB_INDEX: &str = "index.docker.io";
/// The repositories of one page of a list; registries refuse to give more.
const PAGE: usize = 1000;
/// The pages that are looked through in a registry that only lists its repositories.
const PAGES: usize = 20;

/// A repository that a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FoundRepository {
    /// Its name, as one pulls it, without the registry.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// The number of people who marked it.
    pub star_count: u64,
    /// True if Docker keeps it.
    pub is_official: bool,
    /// True if it is built from its source automatically.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<FoundRepository>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

impl Client {
    /// The repositories of the registry `domain` that `term` fits, at most `limit`, in the registry's order.
    ///
    /// # Errors
    /// [`RegistryError::Server`] when the registry does not search, [`RegistryError::Unauthorized`], any failure of the
    /// connection.
    pub async fn search(
        &self,
        domain: &str,
        term: &str,
        limit: usize,
    ) -> Result<Vec<FoundRepository>, RegistryError> {
        let server = if domain == DOCKER_HUB { HUB_INDEX } else { domain };
        let path = with_query("v1/search", &[("q", term), ("n", &limit.to_string())]);
        let mut found = match self.ask::<Answer>(server, Target::Path(path)).await {
            Ok(Some((answer, _))) => answer.results,
            Ok(None) => self.listed(server, term, limit).await?,
            // a registry that wants a login says so of paths that it does not have, too
            Err(RegistryError::Unauthorized { .. }) if server != HUB_INDEX => {
                self.listed(server, term, limit).await?
            }
            Err(error) => return Err(error),
        };
        found.truncate(limit);
        Ok(found)
    }

    /// The repositories in the list of `server` whose names contain `term`.
    async fn listed(
        &self,
        server: &str,
        term: &str,
        limit: usize,
    ) -> Result<Vec<FoundRepository>, RegistryError> {
        let mut target = Target::Path(with_query("v2/_catalog", &[("n", &PAGE.to_string())]));
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let Some((catalog, next)) = self.ask::<Catalog>(server, target).await? else {
                let message = "this registry neither searches nor lists its repositories".to_owned();
                let (host, status, code) = (server.to_owned(), 404, String::new());
                return Err(RegistryError::Server { host, status, code, message });
            };
            let names = catalog.repositories.into_iter().filter(|name| name.contains(term));
            found.extend(names.map(|name| FoundRepository { name, ..FoundRepository::default() }));
            match next.filter(|_| found.len() < limit) {
                Some(next) => target = Target::Location(next),
                None => break,
            }
        }
        Ok(found)
    }

    /// The answer of `server`, with the place of the next page; `None` when it does not have what is asked for.
    async fn ask<T: DeserializeOwned>(
        &self,
        server: &str,
        target: Target,
    ) -> Result<Option<(T, Option<Url>)>, RegistryError> {
        let call = Call::new(Method::GET, target, RequestScope::registry());
        let response = self.send_to(server, &call).await?;
        match response.status() {
            StatusCode::OK => {
                let next = next_page(&response);
                let body = read_limited(response, ANSWER_LIMIT, server).await?;
                let misread = |_| protocol(server, "the answer to a search is not understood");
                Ok(Some((serde_json::from_slice(&body).map_err(misread)?, next)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(failure::of_answer(response, &Subject::Login { domain: server }).await),
        }
    }
}

/// `path` with an escaped query.
fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://any/").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(pairs);
    format!("{path}?{}", url.query().unwrap_or_default())
}
