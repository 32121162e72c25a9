//! What an operator says about the calls between roles.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Where this process is called, whom it calls, and what it shows to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to be called; port 0 picks one. Roles that nobody calls need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Certificates of the authorities that sign those of the roles, in PEM. While one authority
    /// takes the place of another, both.
    pub ca: PathBuf,
    /// The certificate chain of this role, in PEM.
    pub cert: PathBuf,
    /// The certificate's private key, in PEM.
    pub key: PathBuf,
    /// `host:port` of each verify process, the preferred first.
    #[serde(default)]
    pub verify: Vec<String>,
    /// `host:port` of each status process, the preferred first.
    #[serde(default)]
    pub status: Vec<String>,
    /// `host:port` of each resource process. All chat nodes must write them alike, because these
    /// words decide which process gets an upload; their order does not matter.
    #[serde(default)]
    pub resource: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_an_operator_writes_and_nothing_else() {
        let text = r#"
            listen = "127.0.0.1:7001"
            ca = "ca.crt"
            cert = "chat.crt"
            key = "chat.key"
            status = ["10.0.0.3:7001", "status.example.org:7001"]
        "#;
        let config: Config = toml::from_str(text).expect("as in certs/README.md");
        assert_eq!(config.listen, Some(SocketAddr::from(([127, 0, 0, 1], 7001))));
        assert_eq!((config.status.len(), config.verify.len()), (2, 0));
        let written = toml::to_string(&config).expect("TOML");
        assert_eq!(toml::from_str(&written), Ok(config));
        assert!(toml::from_str::<Config>(&text.replace("status", "statuses")).is_err());
        assert!(toml::from_str::<Config>(&text.replace("ca = \"ca.crt\"", "")).is_err());
    }
}
