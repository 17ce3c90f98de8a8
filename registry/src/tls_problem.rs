//! Why a TLS connection is not trusted, in words that say what to do.

use rustls::{AlertDescription, CertificateError, Error};

/// The kind of a failed TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// The certificate is signed by nobody whom this machine trusts.
    UnknownAuthority,
    /// The certificate has expired.
    Expired,
    /// The certificate begins in the future.
    NotYetValid,
    /// The certificate is for another host.
    OtherName,
    /// The registry wants a certificate of the client.
    WantsCertificate,
    /// The other side speaks plain HTTP.
    PlainHttp,
    /// Anything else.
    Other,
}

impl TlsProblem {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::OtherName
                }
                _ => Self::Other,
            },
            Error::AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
            ) => Self::WantsCertificate,
            Error::InvalidMessage(_) => Self::PlainHttp,
            _ => Self::Other,
        }
    }

    /// The problem with `host`, and what to do about it.
    pub(crate) fn advice(self, host: &str) -> String {
        match self {
            Self::UnknownAuthority => format!(
                "this machine does not know the authority of its certificate; if the registry has its own \
                 certificate authority, put its certificate in certs.d/{host}/ca.crt"
            ),
            Self::Expired => "its certificate has expired, or the clock of this machine is wrong".to_owned(),
            Self::NotYetValid => {
                "its certificate is not valid yet, or the clock of this machine is wrong".to_owned()
            }
            Self::OtherName => format!("its certificate is for another name than {host}"),
            Self::WantsCertificate => format!(
                "it wants a certificate of the client; put it in certs.d/{host}/client.cert and its key in \
                 client.key beside it"
            ),
            Self::PlainHttp => {
                "it speaks plain HTTP; if that is meant, call it insecure in registries.conf or in \
                 daemon.json (insecure-registries)"
                    .to_owned()
            }
            Self::Other => "the handshake failed".to_owned(),
        }
    }
}
