//! The tags of a repository.

use crate::{
    Access, Client, RegistryError,
    failure::{self, Subject, protocol, read_limited},
    request::Target,
};
use rbuild_oci::{ImageName, Reference};
use reqwest::{Method, Response, StatusCode, Url, header::LINK};
use serde::Deserialize;

const PAGE_LIMIT: usize = 4 << 20;
/// The largest number of pages. A registry that sends more is assumed to repeat itself.
const PAGES_LIMIT: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of the repository of `reference` as names, in the registry's order.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::AccessDenied`], [`RegistryError::Protocol`] for what is no tag, any failure
    /// of the connection.
    pub async fn list_tags(&self, reference: &Reference) -> Result<Vec<ImageName>, RegistryError> {
        let mut places = self.places(reference)?;
        loop {
            match self.towards(&places).list_tags_at(places.first()).await {
                Ok(tags) => return tags.iter().map(|tag| named(reference, tag)).collect(),
                Err(error) => places.pass_over(self, error)?,
            }
        }
    }

    async fn list_tags_at(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let mut call = Self::call(Method::GET, reference, Access::Pull, "tags/list");
        let mut tags = Vec::new();
        for _ in 0..PAGES_LIMIT {
            let response = self.send(reference, &call).await?;
            if response.status() != StatusCode::OK {
                return Err(failure::of_answer(response, &Subject::Manifest { reference }).await);
            }
            let next = next_page(&response);
            let bytes = read_limited(response, PAGE_LIMIT, reference.domain()).await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|_| protocol(reference.domain(), "the list of tags is not understood"))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(url) => call.target = Target::Location(url),
                None => return Ok(tags),
            }
        }
        Err(protocol(reference.domain(), "the list of tags has no end"))
    }
}

/// The name of `tag` in the repository of `reference`.
fn named(reference: &Reference, tag: &str) -> Result<ImageName, RegistryError> {
    let name = format!("{}/{}:{tag}", reference.domain(), reference.path()).parse::<ImageName>();
    // a colon or a slash in it would make another name
    name.ok().filter(|name| name.tag() == tag && name.as_reference().has_repository_of(reference)).ok_or_else(
        || protocol(reference.domain(), &format!("its list of tags has {tag:?}, which is not a tag")),
    )
}

/// The target of `Link: <…>; rel="next"` (RFC 8288), resolved.
pub(crate) fn next_page(response: &Response) -> Option<Url> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| response.url().join(target).ok())?
}
