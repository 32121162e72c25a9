//! How the resource role is configured, and where blobs are kept.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use skein_blob::s3;
use skein_ops::{config::positive, secret::Secret};
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

/// An object store that speaks S3, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// The server's URL, without the bucket: `https://s3.example.org`.
    pub endpoint: String,
    /// The bucket, which must exist. It is addressed in the path.
    pub bucket: String,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// Who asks.
    pub access_key: Secret,
    /// What proves it.
    pub secret_key: Secret,
    /// Whether the endpoint may be an `http://` one.
    #[serde(default)]
    pub allow_http: bool,
    /// A PEM file with authorities to trust beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Milliseconds that a small request may take. A part of 8 MiB has three times as long.
    #[serde(default = "default_request_timeout_ms", deserialize_with = "positive")]
    pub request_timeout_ms: u64,
}

/// Where blobs are kept, and where uploads lie until they are blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
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

impl From<&S3> for s3::Config {
    fn from(config: &S3) -> Self {
        Self {
            endpoint: config.endpoint.clone(),
            bucket: config.bucket.clone(),
            region: config.region.clone(),
            access_key: config.access_key.expose().to_owned(),
            secret_key: config.secret_key.expose().to_owned(),
            allow_http: config.allow_http,
            tls_ca: config.tls_ca.clone(),
            request_timeout: Duration::from_millis(config.request_timeout_ms),
        }
    }
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

const fn default_request_timeout_ms() -> u64 {
    10_000
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

    #[test]
    fn keys_of_a_bucket_are_taken_and_not_shown() {
        let given = r#"{"endpoint": "https://s3.example.org", "bucket": "skein",
                        "access_key": "somebody", "secret_key": "hunter2"}"#;
        let s3: S3 = serde_json::from_str(given).unwrap();
        let used = s3::Config::from(&s3);
        assert_eq!((&*used.region, &*used.secret_key), ("us-east-1", "hunter2"));
        assert_eq!((used.allow_http, used.request_timeout), (false, Duration::from_secs(10)));
        let shown = format!("{s3:?} {used:?} {}", serde_json::to_string(&s3).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("somebody"), "{shown}");
        let unknown = given.replace("bucket", "buckets");
        assert!(serde_json::from_str::<S3>(&unknown).is_err());
    }
}
