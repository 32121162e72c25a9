//! The two sides of a handshake: what rustls verifies, and a clear line in the log, with name and
//! date, when a peer's certificate is not accepted.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use skein_core::time::Timestamp;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::access::Roles;

/// What a certificate says that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Its DNS names.
    pub(crate) names: Vec<String>,
    /// The first moment at which it is good for nothing.
    pub(crate) not_after: Timestamp,
}

/// The crypto provider of everything that Skein encrypts.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Reads a certificate; `None` if it is none.
pub(crate) fn claims(certificate: &CertificateDer<'_>) -> Option<Claims> {
    let (_, parsed) = parse_x509_certificate(certificate.as_ref()).ok()?;
    let names = parsed.subject_alternative_name().ok()?.map(|names| {
        let dns = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        dns.collect()
    });
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Some(Claims {
        names: names.unwrap_or_default(),
        not_after: Timestamp(seconds.saturating_mul(1000)),
    })
}

/// The date and time for people, in UTC.
pub(crate) fn date(at: Timestamp) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "a date beyond all calendars".to_owned(), |at| at.to_string())
}

impl Claims {
    /// The roles that it speaks for.
    pub(crate) fn roles(&self) -> Roles {
        Roles::of_names(self.names.iter().map(String::as_str))
    }
}

/// What a server makes sure of: that a client's certificate comes from one of the authorities.
pub(crate) fn of_clients(
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let inner = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
    Ok(Arc::new(Clients(inner)))
}

/// What a client makes sure of: that the server's certificate comes from one of the authorities and
/// is made out to the role.
pub(crate) fn of_servers(
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    Ok(Arc::new(Servers(WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?)))
}

/// Why a certificate is not accepted, for the log.
fn tell(whose: &str, certificate: &CertificateDer<'_>, error: &Error) {
    let claims = claims(certificate);
    let names = claims.as_ref().map(|claims| claims.names.join(", ")).unwrap_or_default();
    let until = claims.map(|claims| date(claims.not_after)).unwrap_or_default();
    if let Error::InvalidCertificate(
        CertificateError::Expired | CertificateError::ExpiredContext { .. },
    ) = error
    {
        tracing::error!(
            peer.names = %names,
            certificate.not_after = %until,
            "the certificate of {whose}, {names}, expired on {until}: renew it, see certs/README.md",
        );
    } else {
        tracing::warn!(
            peer.names = %names,
            error.cause = %error,
            "the certificate of {whose} is not accepted",
        );
    }
}

#[derive(Debug)]
struct Clients(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now);
        verified.inspect_err(|error| tell("a calling peer", end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Servers(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.inspect_err(|error| tell("a called peer", end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
