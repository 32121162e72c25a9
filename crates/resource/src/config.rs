//! How the resource role is configured, and where blobs are kept.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use skein_blob::s3;
use skein_ops::config::positive;
use skein_store::upload::Quota;

const GIB: u64 = 1024 * 1024 * 1024;

/// The `resource` part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of all blobs and open uploads of one account; each counts as 4096 at least.
    pub account_bytes_max: u64,
    /// Open uploads of one account.
    pub open_uploads_max: u64,
    /// Seconds without a byte after which an upload is thrown away.
    #[serde(deserialize_with = "positive")]
    pub upload_expiry_seconds: u64,
    /// Seconds for which a complete blob may be without a message that refers to it: longer than a
    /// client with such a message in its outbox is likely to be away.
    #[serde(deserialize_with = "positive")]
    pub blob_grace_seconds: u64,
    /// Seconds between two rounds of throwing away.
    #[serde(deserialize_with = "positive")]
    pub sweep_interval_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file_bytes_max: 4 * GIB,
            account_bytes_max: 20 * GIB,
            open_uploads_max: 32,
            upload_expiry_seconds: 24 * 60 * 60,
            blob_grace_seconds: 7 * 24 * 60 * 60,
            sweep_interval_seconds: 60,
        }
    }
}

/// Where blobs are kept, and where uploads lie until they are blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blobs {
    /// Both in this folder.
    Folder(PathBuf),
    /// In an object store.
    S3 {
        /// Which.
        config: s3::Config,
        /// The folder for uploads under way, of this node alone.
        staging: PathBuf,
    },
}

impl Config {
    pub(crate) const fn quota(&self) -> Quota {
        Quota { bytes: self.account_bytes_max, open_uploads: self.open_uploads_max }
    }

    pub(crate) const fn upload_expiry(&self) -> Duration {
        Duration::from_secs(self.upload_expiry_seconds)
    }

    pub(crate) const fn blob_grace(&self) -> Duration {
        Duration::from_secs(self.blob_grace_seconds)
    }

    pub(crate) const fn sweep_interval(&self) -> Duration {
        Duration::from_secs(self.sweep_interval_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_part_and_refuses_unknown_keys() {
        let part: Config = serde_json::from_str(r#"{"file_bytes_max": 5}"#).unwrap();
        assert_eq!(part, Config { file_bytes_max: 5, ..Config::default() });
        assert!(serde_json::from_str::<Config>(r#"{"file_byte_max": 5}"#).is_err());
    }
}
