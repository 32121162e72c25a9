//! How the verify role is configured.

use std::{net::IpAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};
use skein_ops::secret::Secret;

/// The `verify` part of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The mail server. Without one, mails become files in the outbox folder.
    pub smtp: Option<Smtp>,
    /// Codes mailed to one address in an hour at the wish of one network.
    pub codes_per_email_and_network_per_hour: u32,
    /// Codes mailed to one address in an hour at the wish of all networks. It bounds mail that nobody
    /// asked for, but whoever has that many networks can also keep the owner from a code.
    pub codes_per_email_per_hour: u32,
    /// Codes asked for from one network (an IPv4 address, an IPv6 /64) in an hour.
    pub codes_per_network_per_hour: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            smtp: None,
            codes_per_email_and_network_per_hour: 5,
            codes_per_email_per_hour: 20,
            codes_per_network_per_hour: 20,
        }
    }
}

/// A mail server that takes mail for anyone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its name, which its certificate must bear, or its address.
    pub host: String,
    /// Its port; without it the usual one for the security.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: Security,
    /// The authority that signed its certificate, in PEM; without it, those that browsers trust.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Who logs in there; goes together with the password.
    #[serde(default)]
    pub username: Option<String>,
    /// The password for the login.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Whom mails come from, as in `Skein <skein@example.org>`. The server must accept it.
    pub from: String,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Plain at first, then TLS or nothing. Port 587 unless configured.
    #[default]
    Starttls,
    /// TLS from the first byte. Port 465 unless configured.
    Tls,
    /// No protection: only to a server on this machine. Port 25 unless configured.
    None,
}

impl Security {
    /// The usual port (RFC 8314, section 7; RFC 5321, section 4.5.4.2).
    #[must_use]
    pub const fn usual_port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

impl Smtp {
    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.security.usual_port())
    }

    /// Whether the server is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let literal = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host.eq_ignore_ascii_case("localhost")
            || IpAddr::from_str(literal).is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(host: &str, security: Security) -> Smtp {
        Smtp {
            host: host.into(),
            port: None,
            security,
            ca: None,
            username: None,
            password: None,
            from: "skein@example.org".into(),
        }
    }

    #[test]
    fn knows_this_machine() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(smtp(host, Security::None).is_loopback(), "{host}");
        }
        for host in ["localhost.example.org", "192.0.2.1", "mail", "0.0.0.0"] {
            assert!(!smtp(host, Security::None).is_loopback(), "{host}");
        }
    }

    #[test]
    fn has_usual_ports() {
        assert_eq!(smtp("mail", Security::default()).port(), 587);
        assert_eq!(smtp("mail", Security::Tls).port(), 465);
        assert_eq!(Smtp { port: Some(2525), ..smtp("mail", Security::Tls) }.port(), 2525);
    }
}
