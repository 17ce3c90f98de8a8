//! A token server as the distribution specification describes it, whose tokens the real registry believes.
//!
//! Tokens are JWTs signed with RS256 by `openssl`; the certificate travels in `x5c` and is the registry's trust.

use crate::{HttpReply, HttpRequest, HttpServer, certificates::openssl};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

pub(crate) const SERVICE: &str = "rbuild-test-registry";
pub(crate) const ISSUER: &str = "rbuild-test-issuer";
/// The refresh token that stands for the login.
pub const IDENTITY_TOKEN: &str = "rbuild-test-identity";

pub(crate) struct TokenServer {
    pub(crate) server: HttpServer,
    pub(crate) certificate: PathBuf,
}

struct Signer {
    directory: PathBuf,
    key: PathBuf,
    certificate_base64: String,
}

impl TokenServer {
    /// A server that gives everybody nothing, and `login` (`user:password`) all that is asked for.
    pub(crate) fn start(directory: &Path, login: &str) -> Option<Self> {
        let (key, certificate) = (directory.join("token.key"), directory.join("token.pem"));
        let (key_text, certificate_text) = (key.display().to_string(), certificate.display().to_string());
        let kind = ["req", "-x509", "-days", "2", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tokens"];
        openssl(&[&kind[..], &["-keyout", &key_text, "-out", &certificate_text]].concat())?;
        let pem = fs::read_to_string(&certificate).ok()?;
        let certificate_base64 = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let signer = Signer { directory: directory.to_owned(), key, certificate_base64 };
        let login = format!("Basic {}", BASE64_STANDARD.encode(login));
        let server = HttpServer::start(move |request| answer(&signer, &login, request));
        Some(Self { server, certificate })
    }
}

fn answer(signer: &Signer, login: &str, request: &HttpRequest) -> HttpReply {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let text = if request.method == "POST" { &form } else { query };
    let pairs: Vec<(String, String)> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let refresh = pairs.iter().any(|(name, value)| name == "refresh_token" && value == IDENTITY_TOKEN);
    let known = request.header("authorization") == Some(login) || (request.method == "POST" && refresh);
    if !known && (request.method == "POST" || request.header("authorization").is_some()) {
        return HttpReply::new(401, r#"{"details":"incorrect username or password"}"#);
    }
    let scopes = pairs.iter().filter(|(name, _)| name == "scope").flat_map(|(_, scopes)| scopes.split(' '));
    let access: Vec<String> = scopes.filter(|_| known).filter_map(access).collect();
    match signer.token(&access.join(",")) {
        Some(token) => HttpReply::new(200, format!(r#"{{"token":"{token}","expires_in":300}}"#)),
        None => HttpReply::new(500, "cannot sign"),
    }
}

/// One entry of the `access` claim for `repository:path:actions`.
fn access(scope: &str) -> Option<String> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions = actions.replace(',', r#"",""#);
    Some(format!(r#"{{"type":"{kind}","name":"{name}","actions":["{actions}"]}}"#))
}

/// Undoes percent-encoding and `+`.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.extend(u8::from_str_radix(&digits, 16));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Signer {
    fn token(&self, access: &str) -> Option<String> {
        let now = crate::now().duration_since(UNIX_EPOCH).ok()?;
        let (seconds, unique) = (now.as_secs(), now.as_nanos());
        let header = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{}"]}}"#, self.certificate_base64);
        let claims = format!(
            r#"{{"iss":"{ISSUER}","sub":"test","aud":"{SERVICE}","exp":{},"nbf":{},"iat":{seconds},"jti":"{unique}","access":[{access}]}}"#,
            seconds + 300,
            seconds - 10
        );
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let (input, output) =
            (self.directory.join(format!("{unique}.txt")), self.directory.join(format!("{unique}.sig")));
        fs::write(&input, &signed).ok()?;
        let [key, input, output] = [&self.key, &input, &output].map(|path| path.display().to_string());
        openssl(&["dgst", "-sha256", "-sign", &key, "-out", &output, &input])?;
        Some(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(fs::read(output).ok()?)))
    }
}
