//! The section `[blobs]`: the bucket in which files are kept.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use skein_blob::s3;
use skein_ops::{config::positive, secret::Secret};

/// Which bucket, and how to get there. Without this section files are kept in the data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The server's URL, without the bucket.
    pub endpoint: String,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// Who asks.
    pub access_key: String,
    /// What proves it.
    pub secret_key: Secret,
    /// Whether the endpoint may be an `http://` one.
    #[serde(default)]
    pub allow_http: bool,
    /// A PEM file with authorities to trust beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// How long a small request may take; a part has three times as long.
    #[serde(default = "default_timeout", deserialize_with = "positive")]
    pub request_timeout_ms: u64,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

const fn default_timeout() -> u64 {
    10_000
}

impl Bucket {
    /// The same for the crate that asks.
    pub(crate) fn config(&self) -> s3::Config {
        s3::Config {
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.expose().to_owned(),
            allow_http: self.allow_http,
            tls_ca: self.tls_ca.clone(),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
        }
    }
}
