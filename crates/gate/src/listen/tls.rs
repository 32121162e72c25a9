//! TLS 1.3 with the configured certificate. The provider is named here, not taken from the process.

use std::{fs::File, io::BufReader, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::TLS13,
};

use super::BindError;

/// What ALPN calls HTTP/1.1 (RFC 7301, section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The configuration of a server with this certificate chain and key, both in PEM.
pub(super) fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, BindError> {
    let bad = |key, path: &Path, reason: String| BindError::Pem { key, path: path.into(), reason };
    let bad_cert = |reason| bad("gate.tls_cert", cert, reason);
    let bad_key = |reason| bad("gate.tls_key", key, reason);

    let file = File::open(cert).map_err(|error| bad_cert(error.to_string()))?;
    let chain: Vec<_> = CertificateDer::pem_reader_iter(BufReader::new(file))
        .collect::<Result<_, _>>()
        .map_err(|error| bad_cert(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad_cert("it holds no certificate in PEM".into()));
    }
    let file = File::open(key).map_err(|error| bad_key(error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_reader(BufReader::new(file))
        .map_err(|error| bad_key(error.to_string()))?;

    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(BindError::Tls)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(BindError::Tls)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}
