//! From the configuration to a client that knows where to connect, and with which limits.

use std::time::Duration;

use fred::{
    clients::Client,
    types::{
        RespVersion,
        config::{Config, ConnectionConfig, PerformanceConfig, TlsConnector},
    },
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{ConnectError, words::words};

/// How long one command may take. Redis answers within a millisecond or is in trouble.
pub(super) const COMMAND_MAX: Duration = Duration::from_secs(2);
/// How long it may take to make a connection, its TLS handshake included.
const HANDSHAKE_MAX: Duration = Duration::from_secs(3);
/// Commands that wait to be written to a connection. Who wants one more is refused.
const WAITING_COMMANDS_MAX: usize = 16 * 1024;
/// Messages that came in and were not yet handed on. Whoever falls further behind missed some.
const WAITING_MESSAGES_MAX: usize = 4 * 1024;

/// How to make a client.
pub(super) struct Recipe {
    config: Config,
    connection: ConnectionConfig,
    performance: PerformanceConfig,
}

impl Recipe {
    pub(super) fn new(config: &super::Config) -> Result<Self, ConnectError> {
        let url = Url::parse(&config.url)?;
        // The library would read the system's certificates even if others are named.
        let mut parsed = Config::from_url(&url.without_tls).map_err(|_| Url::unexpected())?;
        let here = parsed.server.hosts().iter().all(|server| is_loopback(&server.host));
        if !url.tls && !here && !config.allow_plain {
            return Err(ConnectError::Config(
                "`url` names a server on another machine without TLS: use rediss:// or \
                 rediss-cluster://, or set `allow_plain = true` if the network is private"
                    .into(),
            ));
        }
        parsed.version = RespVersion::RESP3;
        parsed.fail_fast = true;
        if url.tls {
            parsed.tls = Some(connector(config)?.into());
        }
        let connection = ConnectionConfig {
            connection_timeout: HANDSHAKE_MAX,
            internal_command_timeout: COMMAND_MAX,
            max_command_attempts: 1,
            max_command_buffer_len: WAITING_COMMANDS_MAX,
            ..ConnectionConfig::default()
        };
        let performance = PerformanceConfig {
            default_command_timeout: COMMAND_MAX,
            broadcast_channel_capacity: WAITING_MESSAGES_MAX,
            ..PerformanceConfig::default()
        };
        Ok(Self { config: parsed, connection, performance })
    }

    /// A client that is not yet connected. It makes no connection anew: that is what a
    /// [`Link`](super::link::Link) is for, which then starts from nothing.
    pub(super) fn client(&self) -> Client {
        let (config, connection) = (self.config.clone(), self.connection.clone());
        Client::new(config, Some(self.performance.clone()), Some(connection), None)
    }
}

/// Whether the name can only stand for this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The URL, less the letter that asks for TLS.
struct Url {
    without_tls: String,
    tls: bool,
}

impl Url {
    fn parse(url: &str) -> Result<Self, ConnectError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(Self::unexpected)?;
        let (scheme, tls) = match scheme {
            "redis" => ("redis", false),
            "rediss" => ("redis", true),
            "redis-cluster" => ("redis-cluster", false),
            "rediss-cluster" => ("redis-cluster", true),
            _ => return Err(Self::unexpected()),
        };
        Ok(Self { without_tls: format!("{scheme}://{rest}"), tls })
    }

    /// Says nothing of the URL itself, which may hold a password.
    fn unexpected() -> ConnectError {
        ConnectError::Config(
            "`url` should be redis://[user:password@]host[:port][/database] or \
             redis-cluster://[user:password@]host:port[?node=host:port], with rediss for TLS"
                .into(),
        )
    }
}

/// The URL as it may be printed.
pub(super) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // The last @ ends the password; what follows is no secret.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => url.to_owned(),
    }
}

fn connector(config: &super::Config) -> Result<TlsConnector, ConnectError> {
    let Some(path) = &config.tls_ca else {
        return TlsConnector::default_rustls().map_err(|error| {
            let why = words(&error);
            ConnectError::Config(format!("the system's certificates cannot be read: {why}"))
        });
    };
    let unreadable = |error: &dyn std::fmt::Display| {
        ConnectError::Config(format!("`tls_ca` {}: {error}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"there is no certificate in it"));
    }
    let provider = aws_lc_rs::default_provider().into();
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unreadable(&error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(url: &str) -> Result<Recipe, ConnectError> {
        let allow_plain = true;
        Recipe::new(&super::super::Config { url: url.into(), allow_plain, ..Default::default() })
    }

    #[test]
    fn a_url_names_one_server_or_a_cluster() {
        assert!(!recipe("redis://host").unwrap().config.server.is_clustered());
        let recipe = recipe("redis-cluster://me:pass%40word@a:1?node=b:2&node=c:3").unwrap();
        assert!(recipe.config.server.is_clustered());
        assert_eq!(recipe.config.server.hosts().len(), 3);
        assert_eq!(recipe.config.password.as_deref(), Some("pass@word"));
    }

    #[test]
    fn plain_text_stays_on_this_machine_unless_it_is_allowed() {
        for (url, good) in [
            ("redis://localhost", true),
            ("redis://127.0.0.1:1", true),
            ("redis://host", false),
            ("redis-cluster://127.0.0.1:1?node=10.0.0.1:2", false),
            ("rediss://host", true),
        ] {
            let config = super::super::Config { url: url.into(), ..Default::default() };
            let tried = Recipe::new(&config).err().map(|error| error.to_string());
            assert_eq!(tried.is_none(), good, "{url}");
            assert!(tried.is_none_or(|error| error.contains("allow_plain")), "{url}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        for url in ["redis://me:secret@host/1", "secret://me:secret@host", "redis://:secret@"] {
            let config = super::super::Config { url: url.into(), ..Default::default() };
            assert!(!format!("{config:?}").contains(":secret"), "{config:?}");
        }
        for url in ["redis://me:secret@host:port", "secret", "http://me:secret@host", "redis://:s"]
        {
            let error = recipe(url).err().unwrap().to_string();
            assert!(!error.contains("secret") && error.contains("`url`"), "{error}");
        }
    }
}
