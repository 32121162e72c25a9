//! The roles that one process can have, and what of the configuration each of them cannot do
//! without.

use std::fmt;

use thiserror::Error;

use crate::Config;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything: the one process of the embedded form, which can use external parts too.
    All,
    /// The HTTP API.
    Gate,
    /// Verification codes.
    Verify,
    /// The directory of chat nodes.
    Status,
    /// A chat node.
    Chat,
    /// Uploads and blobs.
    Resource,
}

/// A role by itself lacks something that the roles of a cluster share.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`skeind {role}` needs {key} in its configuration, {purpose}; `skeind` without a role does \
     without"
)]
pub struct Missing {
    role: Role,
    key: &'static str,
    purpose: &'static str,
}

/// The sentences for what can be missing: the key, and what the role wants with it.
const STORE: (&str, &str) =
    ("`[store] url` (PostgreSQL)", "because other processes cannot share an SQLite file");
const BUS: (&str, &str) =
    ("`[bus] url` (Redis)", "because what is kept in one process does not reach the others");
const BLOBS: (&str, &str) =
    ("`[blobs]` (S3)", "because other processes would not find files in a folder of its own");
const SMTP: (&str, &str) =
    ("`[verify.smtp]`", "because nobody reads the mails in a folder of its own");
const LISTEN: (&str, &str) = ("`[rpc] listen` with its certificates", "where other roles call it");
const CALLS_VERIFY: (&str, &str) = ("`[rpc] verify`", "the addresses of the verify processes");
const CALLS_STATUS: (&str, &str) = ("`[rpc] status`", "the addresses of the status processes");
const CALLS_RESOURCE: (&str, &str) =
    ("`[rpc] resource`", "the addresses of the resource processes");

impl Role {
    /// The role's name on the command line and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Gate => "gate",
            Self::Verify => "verify",
            Self::Status => "status",
            Self::Chat => "chat",
            Self::Resource => "resource",
        }
    }

    /// Whether a process with this role does the work of `part`.
    #[must_use]
    pub fn does(self, part: Self) -> bool {
        self == Self::All || self == part
    }

    /// Whether it reads or writes accounts, logs or records of files.
    pub(crate) const fn uses_store(self) -> bool {
        matches!(self, Self::All | Self::Gate | Self::Chat | Self::Resource)
    }

    /// Whether it uses hints, leases or expiring keys.
    pub(crate) const fn uses_bus(self) -> bool {
        !matches!(self, Self::Resource)
    }

    /// Whether other roles call it.
    pub(crate) const fn is_called(self) -> bool {
        matches!(self, Self::Verify | Self::Status | Self::Resource)
    }

    /// Whether it keeps something in the data folder, which it then has for itself.
    pub(crate) const fn keeps_data(self, config: &Config) -> bool {
        match self {
            Self::All | Self::Chat | Self::Resource => true,
            Self::Verify => config.verify.smtp.is_none(),
            Self::Gate | Self::Status => false,
        }
    }

    /// Whether the configuration has what a role by itself needs.
    ///
    /// # Errors
    /// [`Missing`] names the first key that it has not.
    pub fn check(self, config: &Config) -> Result<(), Missing> {
        if self == Self::All {
            return Ok(());
        }
        let rpc = config.rpc.as_ref();
        let calls = |peers: fn(&skein_rpc::config::Config) -> &Vec<String>| {
            rpc.is_some_and(|rpc| !peers(rpc).is_empty())
        };
        let checks = [
            (self.uses_store(), config.store.is_some(), STORE),
            (self.uses_bus(), config.bus.is_some(), BUS),
            (self == Self::Resource, config.blobs.is_some(), BLOBS),
            (self == Self::Verify, config.verify.smtp.is_some(), SMTP),
            (self.is_called(), rpc.is_some_and(|rpc| rpc.listen.is_some()), LISTEN),
            (self == Self::Gate, calls(|rpc| &rpc.verify), CALLS_VERIFY),
            (matches!(self, Self::Gate | Self::Chat), calls(|rpc| &rpc.status), CALLS_STATUS),
            (self == Self::Chat, calls(|rpc| &rpc.resource), CALLS_RESOURCE),
        ];
        let missing = checks.into_iter().find(|(needed, there, _)| *needed && !there);
        missing.map_or(Ok(()), |(_, _, (key, purpose))| Err(Missing { role: self, key, purpose }))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: &str = r#"
        [store]
        url = "postgres://skein@localhost/skein"
        [bus]
        url = "redis://localhost"
        [blobs]
        endpoint = "http://localhost:9000"
        bucket = "skein"
        access_key = "a"
        secret_key = "b"
        allow_http = true
        [verify.smtp]
        host = "localhost"
        from = "skein@example.org"
        [rpc]
        listen = "127.0.0.1:0"
        ca = "ca.pem"
        cert = "a.pem"
        key = "a.key"
        verify = ["localhost:1"]
        status = ["localhost:2"]
        resource = ["localhost:3"]
    "#;

    #[test]
    fn a_role_alone_says_what_it_needs() {
        const EACH: [Role; 5] =
            [Role::Gate, Role::Verify, Role::Status, Role::Chat, Role::Resource];
        let embedded = Config::default();
        assert_eq!(Role::All.check(&embedded), Ok(()));
        let full: Config = toml::from_str(EVERYTHING).expect("a configuration");
        for role in EACH {
            assert_eq!(role.check(&full), Ok(()));
            let error = role.check(&embedded).expect_err("embedded").to_string();
            assert!(error.starts_with(&format!("`skeind {role}` needs `[")), "{error}");
        }
        for (role, lacking, key) in [
            (Role::Chat, "store", "[store] url"),
            (Role::Status, "bus", "[bus] url"),
            (Role::Resource, "blobs", "[blobs]"),
            (Role::Verify, "rpc", "[rpc] listen"),
            (Role::Verify, "smtp", "[verify.smtp]"),
            (Role::Gate, "rpc", "[rpc] verify"),
            (Role::Chat, "rpc", "[rpc] status"),
        ] {
            let mut config = full.clone();
            match lacking {
                "store" => config.store = None,
                "bus" => config.bus = None,
                "blobs" => config.blobs = None,
                "smtp" => config.verify.smtp = None,
                _ => config.rpc = None,
            }
            let error = role.check(&config).expect_err(lacking).to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
