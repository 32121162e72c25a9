//! Where the database is, and how patient this process is with it.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use tokio_postgres::config::{Host, SslMode};

use super::ConnectError;

/// What is shown in place of the URL, which holds a password.
const REDACTED: &str = "[redacted]";
/// How the server names this program's connections.
const APPLICATION_NAME: &str = "skein";
/// Until the network has answered a connection attempt, for each address of the host.
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Until unacknowledged data ends a connection, on both sides.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which either side asks whether the other is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Such questions without an answer after which the connection is over.
const KEEPALIVE_TRIES: u32 = 3;
/// How long a transaction may wait for its client: a node that froze in the middle of one holds its
/// locks no longer than that.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that a pool needs at least: one for appends and one for all else.
pub(super) const POOL_MIN: usize = 2;

/// How to reach the database, as the section `[store]` says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `postgres://user:password@host:port/database?options`, as libpq takes it. To a host that is
    /// not this machine, only `sslmode=disable` allows plain text.
    pub url: Url,
    /// The certificates (PEM) that vouch for the server; unset, those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Connections of this process at most; at least two.
    #[serde(default = "default_pool_max")]
    pub pool_max: usize,
    /// How long an operation waits for one of them to become free, in milliseconds.
    #[serde(default = "default_pool_wait_ms")]
    pub pool_wait_ms: u64,
    /// How long a statement may take, in milliseconds.
    #[serde(default = "default_statement_timeout_ms")]
    pub statement_timeout_ms: u64,
    /// How long a statement may wait for a row that another transaction holds, in milliseconds.
    #[serde(default = "default_lock_timeout_ms")]
    pub lock_timeout_ms: u64,
}

const fn default_pool_max() -> usize {
    16
}

const fn default_pool_wait_ms() -> u64 {
    2_000
}

const fn default_statement_timeout_ms() -> u64 {
    5_000
}

const fn default_lock_timeout_ms() -> u64 {
    2_000
}

impl Config {
    /// The database at `url`, with the defaults for all else.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Url::new(url),
            tls_ca: None,
            pool_max: default_pool_max(),
            pool_wait_ms: default_pool_wait_ms(),
            statement_timeout_ms: default_statement_timeout_ms(),
            lock_timeout_ms: default_lock_timeout_ms(),
        }
    }

    /// The configuration of the driver, with every limit set, and whether connections use TLS.
    pub(super) fn driver(&self) -> Result<(tokio_postgres::Config, bool), ConnectError> {
        if self.pool_max < POOL_MIN {
            let problem = format!("pool_max is {}; at least {POOL_MIN} are needed", self.pool_max);
            return Err(ConnectError::Config(problem));
        }
        // To PostgreSQL, zero is no limit.
        if self.statement_timeout_ms == 0 || self.lock_timeout_ms == 0 {
            let problem = "statement_timeout_ms and lock_timeout_ms are above zero";
            return Err(ConnectError::Config(problem.into()));
        }
        // What libpq calls full verification is the only kind that there is here.
        let url = self.url.0.replace("sslmode=verify-full", "sslmode=require");
        let mut driver: tokio_postgres::Config = url.parse().map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            ConnectError::Config(format!("the url is not accepted{}", cause.unwrap_or_default()))
        })?;
        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
            return Err(ConnectError::Config("the url names no host".into()));
        }
        let encrypted = match driver.get_ssl_mode() {
            SslMode::Disable => false,
            SslMode::Require => true,
            _ => self.tls_ca.is_some() || !is_this_machine(&driver),
        };
        driver.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        if driver.get_application_name().is_none() {
            driver.application_name(APPLICATION_NAME);
        }
        driver
            .connect_timeout(TCP_CONNECT_TIMEOUT)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_TRIES);
        let options = format!("{} {}", driver.get_options().unwrap_or_default(), self.session());
        driver.options(options.trim());
        Ok((driver, encrypted))
    }

    /// How long a try of an operation waits for the server: a little more than the server allows
    /// itself, so that a server which answers at all says what is wrong.
    pub(super) fn try_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms) + Duration::from_secs(1)
    }

    /// What each session asks of the server.
    fn session(&self) -> String {
        let settings = [
            ("statement_timeout", self.statement_timeout_ms.to_string()),
            ("lock_timeout", self.lock_timeout_ms.to_string()),
            ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION_TIMEOUT)),
            ("tcp_user_timeout", millis(TCP_USER_TIMEOUT)),
            ("tcp_keepalives_idle", KEEPALIVE_IDLE.as_secs().to_string()),
            ("tcp_keepalives_interval", KEEPALIVE_INTERVAL.as_secs().to_string()),
            ("tcp_keepalives_count", KEEPALIVE_TRIES.to_string()),
            // Every statement of this crate reads few rows by an index. Plans are kept with the
            // connection; one made while the tables were still empty would scan them ever after.
            ("jit", "off".into()),
            ("enable_seqscan", "off".into()),
            ("enable_hashjoin", "off".into()),
            ("enable_mergejoin", "off".into()),
            ("enable_material", "off".into()),
        ];
        settings.map(|(name, value)| format!("-c {name}={value}")).join(" ")
    }
}

fn millis(span: Duration) -> String {
    span.as_millis().to_string()
}

/// Whether all hosts are the loopback or a socket in the file system.
fn is_this_machine(driver: &tokio_postgres::Config) -> bool {
    let addresses = driver.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(IpAddr::is_loopback);
    }
    driver.get_hosts().iter().all(|host| match host {
        #[cfg(unix)]
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    })
}

/// A connection URL: read like any text, never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Url(String);

impl Url {
    /// Keeps `text` from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The URL itself, for whoever has to use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_leaves_the_machine_only_when_told_to() {
        for (url, encrypted) in [
            ("postgres://a@127.0.0.1/skein", false),
            ("postgres://a@localhost/skein", false),
            ("postgres://a@[::1]/skein", false),
            ("postgres://a@%2Frun%2Fpostgresql/skein", false),
            ("postgres://a@localhost/skein?sslmode=require", true),
            ("postgres://a@localhost,db.example.org/skein", true),
            ("postgres://a@db.example.org/skein", true),
            ("postgres://a@db.example.org/skein?sslmode=prefer", true),
            ("postgres://a@db.example.org/skein?sslmode=verify-full", true),
            ("postgres://a@localhost/skein?hostaddr=192.0.2.1", true),
            ("postgres://a@db.example.org/skein?sslmode=disable", false),
        ] {
            let (driver, tls) = Config::new(url).driver().unwrap();
            assert_eq!(tls, encrypted, "{url}");
            let mode = if encrypted { SslMode::Require } else { SslMode::Disable };
            assert_eq!(driver.get_ssl_mode(), mode, "{url}");
        }
        let with_ca =
            Config { tls_ca: Some("ca.pem".into()), ..Config::new("postgres://a@localhost/skein") };
        assert!(with_ca.driver().unwrap().1);
    }

    #[test]
    fn keeps_the_url_to_itself() {
        let config = Config::new("postgres://alice:hunter2@localhost/skein");
        assert!(!format!("{config:?}").contains("hunter2"));
        for bad in ["postgres://a:hunter2@localhost:port/skein", "hunter2", "postgres:///skein"] {
            let error = Config::new(bad).driver().unwrap_err();
            assert!(matches!(error, ConnectError::Config(_)), "{error:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let small = Config { pool_max: 1, ..config };
        assert!(small.driver().unwrap_err().to_string().contains("at least 2"));
        let endless = Config { lock_timeout_ms: 0, ..Config::new("postgres://a@localhost/skein") };
        assert!(endless.driver().unwrap_err().to_string().contains("above zero"));
    }

    #[test]
    fn asks_the_session_for_its_limits_and_keeps_other_options() {
        let url = "postgres://a@localhost/skein?options=-csearch_path%3Dskein";
        let (driver, _) = Config::new(url).driver().unwrap();
        let options = driver.get_options().unwrap();
        for expected in [
            "-csearch_path=skein",
            "-c statement_timeout=5000",
            "-c lock_timeout=2000",
            "-c idle_in_transaction_session_timeout=5000",
        ] {
            assert!(options.contains(expected), "{options}");
        }
    }
}
