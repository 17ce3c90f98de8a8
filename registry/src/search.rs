//! Searching for repositories. Docker Hub and some other registries answer docker's first protocol (`v1/search`); of the
//! others that list their repositories (`v2/_catalog`), those whose name contains the term are found.

use crate::{
    Client, RegistryError,
    failure::{self, Subject, protocol, read_limited},
    host::DOCKER_HUB,
    request::{Call, RequestScope, Target},
};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

const ANSWER_LIMIT: usize = 4 << 20;
/// The server of Docker Hub that searches, which is not the one that has the images.
const HUB_INDEX: &str = "index.docker.io";
/// The number of repositories that are looked through in a registry that only lists them.
const CATALOG: u32 = 10_000;

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
        let subject = Subject::Login { domain: server };
        let (status, body) = match self.ask(server, path, &subject).await {
            // a registry that wants a login says so of paths that it does not have, too
            Err(RegistryError::Unauthorized { .. }) if server != HUB_INDEX => {
                (StatusCode::NOT_FOUND, Vec::new())
            }
            asked => asked?,
        };
        let misread = |_| protocol(server, "the answer to a search is not understood");
        let mut found = if status == StatusCode::NOT_FOUND {
            let path = with_query("v2/_catalog", &[("n", &CATALOG.to_string())]);
            let (status, body) = self.ask(server, path, &subject).await?;
            if status == StatusCode::NOT_FOUND {
                let message = "this registry neither searches nor lists its repositories".to_owned();
                let (host, status) = (server.to_owned(), status.as_u16());
                return Err(RegistryError::Server { host, status, code: String::new(), message });
            }
            let catalog: Catalog = serde_json::from_slice(&body).map_err(misread)?;
            let names = catalog.repositories.into_iter().filter(|name| name.contains(term));
            names.map(|name| FoundRepository { name, ..FoundRepository::default() }).collect()
        } else {
            serde_json::from_slice::<Answer>(&body).map_err(misread)?.results
        };
        found.truncate(limit);
        Ok(found)
    }

    /// The answer of `server` for `path`, which is there or not.
    async fn ask(
        &self,
        server: &str,
        path: String,
        subject: &Subject<'_>,
    ) -> Result<(StatusCode, Vec<u8>), RegistryError> {
        let call = Call::new(Method::GET, Target::Path(path), RequestScope::registry());
        let response = self.send_to(server, &call).await?;
        match response.status() {
            StatusCode::OK => Ok((StatusCode::OK, read_limited(response, ANSWER_LIMIT, server).await?)),
            StatusCode::NOT_FOUND => Ok((StatusCode::NOT_FOUND, Vec::new())),
            _ => Err(failure::of_answer(response, subject).await),
        }
    }
}

/// `path` with an escaped query.
fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://any/").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(pairs);
    format!("{path}?{}", url.query().unwrap_or_default())
}
