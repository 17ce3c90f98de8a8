//! The requests.

use crate::{
    Cause, DaemonAddress, DaemonError, TlsFiles,
    answer::{PATIENCE, Subject},
};
use bytes::Bytes;
use futures_util::stream;
use rbuild_oci::ImageName;
use reqwest::{
    Body, Certificate, ClientBuilder, Identity, Method, RequestBuilder, Response, StatusCode, Url, redirect,
};
use serde::Deserialize;
use std::{error::Error as _, fs, io, path::Path, time::Duration};
use tokio::{sync::mpsc, time};

const USER_AGENT: &str = concat!("rbuild/", env!("CARGO_PKG_VERSION"));
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// A daemon that answers.
#[derive(Clone, Debug)]
pub struct Daemon {
    http: reqwest::Client,
    base: Url,
    address: String,
    kind: DaemonKind,
}

/// The daemon's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonKind {
    /// Docker Engine.
    Docker,
    /// Podman's service.
    Podman,
}

/// An image that a daemon has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonImage {
    /// The daemon's id: the config's digest, or in docker's containerd store the manifest's.
    pub id: String,
    /// Its names, as the daemon writes them.
    pub names: Vec<String>,
    /// The digests of its layers' tars, lowest first.
    pub layers: Vec<String>,
}

/// An entry of a daemon's list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedImage {
    /// The daemon's id.
    pub id: String,
    /// Its names, as the daemon writes them.
    pub names: Vec<String>,
    /// Docker's containerd store alone: the manifests of which it has every blob. `None` from the other stores.
    pub manifests: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default, rename = "RootFS")]
    root_fs: InspectedLayers,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedLayers {
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    manifests: Option<Vec<ListedManifest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct System {
    #[serde(default)]
    driver_status: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedManifest {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    available: bool,
}

impl Daemon {
    /// Connects to the daemon at `address` and asks what it is.
    ///
    /// # Errors
    /// [`DaemonError`] when none answers there.
    pub async fn connect(address: &DaemonAddress) -> Result<Self, DaemonError> {
        let shown = address.to_string();
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .tls_built_in_root_certs(false)
            .no_proxy();
        let (builder, base) = match address {
            DaemonAddress::Unix(path) => (builder.unix_socket(path.as_path()), "http://daemon/".to_owned()),
            DaemonAddress::Tcp { authority, tls: None } => (builder, format!("http://{authority}/")),
            DaemonAddress::Tcp { authority, tls: Some(files) } => {
                (with_tls(builder, files)?, format!("https://{authority}/"))
            }
        };
        let not_an_address = |_| DaemonError::Address { text: shown.clone(), problem: "it makes no URL" };
        let base = Url::parse(&base).map_err(not_an_address)?;
        let http = builder
            .build()
            .map_err(|source| DaemonError::Connection { address: shown.clone(), source: Box::new(source) })?;
        let mut daemon = Self { http, base, address: shown, kind: DaemonKind::Docker };
        let subject = daemon.subject("a ping");
        let answer = daemon.send(subject, daemon.request(Method::GET, &["_ping"])).await?;
        if !answer.status().is_success() {
            return Err(subject.refusal(answer).await);
        }
        if answer.headers().contains_key("libpod-api-version") {
            daemon.kind = DaemonKind::Podman;
        }
        Ok(daemon)
    }

    /// The daemon's program.
    #[must_use]
    pub fn kind(&self) -> DaemonKind {
        self.kind
    }

    /// The daemon's address, to be shown.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sees that the daemon keeps images for several platforms: docker with its containerd store does.
    ///
    /// # Errors
    /// [`DaemonError::OnePlatform`] when it does not; another one when it does not answer the question.
    pub async fn require_platforms(&self) -> Result<(), DaemonError> {
        let address = self.address.clone();
        let kept_by = match self.kind {
            DaemonKind::Podman => "podman",
            DaemonKind::Docker => {
                "docker without its containerd image store, which its daemon.json turns on,"
            }
        };
        if self.kind == DaemonKind::Docker {
            let subject = self.subject("a question for its stores");
            let answer = self.send(subject, self.request(Method::GET, &["info"])).await?;
            if !answer.status().is_success() {
                return Err(subject.refusal(answer).await);
            }
            let System { driver_status } = subject.document(answer).await?;
            let containerd = ["driver-type", "io.containerd.snapshotter.v1"];
            if driver_status.iter().flatten().any(|pair| *pair == containerd) {
                return Ok(());
            }
        }
        Err(DaemonError::OnePlatform { address, kept_by })
    }

    /// The image that the daemon knows by this name or id.
    ///
    /// # Errors
    /// [`DaemonError`] when the daemon does not answer the question.
    pub async fn image(&self, name: &str) -> Result<Option<DaemonImage>, DaemonError> {
        let subject = self.subject("a question for an image");
        let answer = self.send(subject, self.request(Method::GET, &["images", name, "json"])).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let Inspected { id, repo_tags, root_fs } = subject.document(answer).await?;
                let (names, layers) = (repo_tags.unwrap_or_default(), root_fs.layers.unwrap_or_default());
                Ok(Some(DaemonImage { id, names, layers }))
            }
            _ => Err(subject.refusal(answer).await),
        }
    }

    /// All images of the daemon.
    ///
    /// # Errors
    /// [`DaemonError`] when the daemon does not answer the question.
    pub async fn images(&self) -> Result<Vec<ListedImage>, DaemonError> {
        let subject = self.subject("a question for its images");
        // a daemon older than its containerd store does not know the question and leaves it out
        let query = [("all", "1"), ("manifests", "1")];
        let answer = self.send(subject, self.request(Method::GET, &["images", "json"]).query(&query)).await?;
        if !answer.status().is_success() {
            return Err(subject.refusal(answer).await);
        }
        let listed: Vec<Listed> = subject.document(answer).await?;
        let whole = |manifests: Vec<ListedManifest>| {
            manifests.into_iter().filter(|manifest| manifest.available).map(|manifest| manifest.id).collect()
        };
        Ok(listed
            .into_iter()
            .map(|image| ListedImage {
                id: image.id,
                names: image.repo_tags.unwrap_or_default(),
                manifests: image.manifests.map(whole),
            })
            .collect())
    }

    /// Gives the daemon's image `image`, a name or id, the name `name` as well.
    ///
    /// # Errors
    /// [`DaemonError`] when the daemon does not.
    pub async fn tag(&self, image: &str, name: &ImageName) -> Result<(), DaemonError> {
        let subject = self.subject("a request to name an image");
        // Podman resolves what looks like a short name, so the name is given in full
        let reference = name.as_reference();
        let repository = format!("{}/{}", reference.domain(), reference.path());
        let request = self
            .request(Method::POST, &["images", image, "tag"])
            .query(&[("repo", repository.as_str()), ("tag", name.tag())]);
        let answer = self.send(subject, request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(subject.refusal(answer).await) }
    }

    /// Sends an archive as `docker save` writes them, in pieces that a thread sends with `blocking_send` until it drops its
    /// end, and waits until the daemon has loaded it.
    ///
    /// # Errors
    /// [`DaemonError::Load`] with the daemon's words, or another [`DaemonError`].
    pub async fn load(&self, archive: mpsc::Receiver<io::Result<Bytes>>) -> Result<(), DaemonError> {
        let subject = self.subject("an image");
        let pieces = stream::unfold(archive, |mut archive| async move {
            archive.recv().await.map(|piece| (piece, archive))
        });
        let request = self
            .request(Method::POST, &["images", "load"])
            .query(&[("quiet", "1")])
            .header("content-type", "application/x-tar")
            .body(Body::wrap_stream(pieces));
        let answer = request.send().await.map_err(|error| self.unanswered(error))?;
        if !answer.status().is_success() {
            return Err(subject.refusal(answer).await);
        }
        subject.loaded(answer).await
    }

    /// The image called `name` as `docker save` writes it: a body to be read piece by piece.
    ///
    /// # Errors
    /// [`DaemonError`] when the daemon does not give it, or ends before its end.
    pub async fn save(&self, name: &str) -> Result<SavedImage, DaemonError> {
        let subject = self.subject("a request for an image");
        let answer = self.send(subject, self.request(Method::GET, &["images", name, "get"])).await?;
        if !answer.status().is_success() {
            return Err(subject.refusal(answer).await);
        }
        Ok(SavedImage { answer, address: self.address.clone() })
    }

    fn subject(&self, request: &'static str) -> Subject<'_> {
        Subject { address: &self.address, request }
    }

    /// A request for the path of these segments, each of which may hold any character.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        self.http.request(method, url)
    }

    async fn send(&self, subject: Subject<'_>, request: RequestBuilder) -> Result<Response, DaemonError> {
        match time::timeout(PATIENCE, request.send()).await {
            Err(_) => Err(subject.stalled()),
            Ok(answer) => answer.map_err(|error| self.unanswered(error)),
        }
    }

    /// The error for a request that got no answer.
    fn unanswered(&self, error: reqwest::Error) -> DaemonError {
        let address = self.address.clone();
        let kind = io_error(&error).map(io::Error::kind);
        let source: Cause = Box::new(error.without_url());
        match kind {
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                DaemonError::NotRunning { address, source }
            }
            Some(io::ErrorKind::PermissionDenied) => DaemonError::Denied { address, source },
            Some(_) | None => DaemonError::Connection { address, source },
        }
    }
}

/// An image that a daemon is sending.
pub struct SavedImage {
    answer: Response,
    address: String,
}

impl SavedImage {
    /// The next piece of the archive; `None` at its end.
    ///
    /// # Errors
    /// [`DaemonError`] when the connection breaks, or brings nothing for a minute.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DaemonError> {
        let subject = Subject { address: &self.address, request: "a request for an image" };
        let piece = time::timeout(PATIENCE, self.answer.chunk()).await.map_err(|_| subject.stalled())?;
        piece.map_err(|error| subject.broken(error))
    }
}

/// The system's error behind `error`.
fn io_error(error: &reqwest::Error) -> Option<&io::Error> {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(found) = source.downcast_ref::<io::Error>() {
            return Some(found);
        }
        next = source.source();
    }
    None
}

/// Adds what the directory's files say of trust and identity.
fn with_tls(builder: ClientBuilder, files: &TlsFiles) -> Result<ClientBuilder, DaemonError> {
    let unusable = |path: &Path, source: Cause| DaemonError::Certificate { path: path.to_owned(), source };
    let read = |name: &str| {
        let path = files.directory.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some((path, bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&path, error.into())),
        }
    };
    let mut builder = builder.danger_accept_invalid_certs(!files.verify);
    match read("ca.pem")? {
        Some((path, pem)) => {
            let roots = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&path, error.into()))?;
            builder = roots.into_iter().fold(builder, ClientBuilder::add_root_certificate);
        }
        None => builder = builder.tls_built_in_root_certs(true),
    }
    if let (Some((path, mut pem)), Some((_, key))) = (read("cert.pem")?, read("key.pem")?) {
        pem.push(b'\n');
        pem.extend(key);
        builder = builder.identity(Identity::from_pem(&pem).map_err(|error| unusable(&path, error.into()))?);
    }
    Ok(builder)
}
