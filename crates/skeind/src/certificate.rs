//! Which certificate the chat role shows.

use std::{net::SocketAddr, path::Path};

use skein_chat::config::Config;
use skein_net::identity::Certificate;

/// The three keys of the configuration that make an issued certificate go together.
#[derive(Debug, thiserror::Error)]
#[error("chat.tls_cert, chat.tls_key and chat.server_name go together: set all three or none")]
pub struct Incomplete;

/// The configured certificate, or one that the server makes for itself in `folder`.
pub(crate) fn certificate(
    config: &Config,
    quic: SocketAddr,
    folder: &Path,
) -> Result<Certificate, Incomplete> {
    match (&config.tls_cert, &config.tls_key, &config.server_name) {
        (None, None, None) => {
            let names = vec!["localhost".to_owned(), quic.ip().to_string()];
            Ok(Certificate::SelfSigned { folder: folder.to_owned(), names })
        }
        (Some(certificate), Some(key), Some(server_name)) => Ok(Certificate::Issued {
            certificate: certificate.clone(),
            key: key.clone(),
            server_name: server_name.clone(),
        }),
        _ => Err(Incomplete),
    }
}
