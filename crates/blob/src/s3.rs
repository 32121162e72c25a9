//! An object store that speaks S3, and how it is asked: with a deadline for every request and few
//! repetitions, since whoever uploads tries again anyway.
//!
//! Unfinished objects are always known to the store of records before they have a part, and are
//! given up with their upload. Should a crash come between those two, its parts would stay, seen by
//! nobody: so give the bucket a lifecycle rule that aborts incomplete multipart uploads after seven
//! days, longer than any upload takes.

use std::{fmt, fs, path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};

use crate::depot::{Depot, DepotError};

/// Until a connection counts as refused.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a request is repeated within its deadline, after errors that ask for it.
const RETRIES_MAX: usize = 2;
/// No repetition begins later than this after the first try.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Before the first repetition.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
/// Before later ones.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// Which bucket, and how to get there.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The server's URL, without the bucket: `https://s3.example.org`.
    pub endpoint: String,
    /// The bucket, which must exist. It is addressed in the path.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Who asks.
    pub access_key: String,
    /// What proves it. Never printed.
    pub secret_key: String,
    /// Whether the endpoint may be an `http://` one.
    pub allow_http: bool,
    /// A PEM file with authorities to trust beside those of the system.
    pub tls_ca: Option<PathBuf>,
    /// How long a small request may take; a part has three times as long.
    pub request_timeout: Duration,
}

impl Depot {
    /// Keeps blobs in the bucket. Connects to nothing yet.
    ///
    /// # Errors
    /// [`DepotError::Unusable`] if the configuration cannot be used, with a sentence that says why.
    pub fn s3(config: &Config) -> Result<Self, DepotError> {
        let store = client(config)?;
        Ok(Self::remote(Arc::new(store), config.request_timeout))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, bucket, region, allow_http, .. } = self;
        f.debug_struct("Config")
            .field("endpoint", endpoint)
            .field("bucket", bucket)
            .field("region", region)
            .field("allow_http", allow_http)
            .finish_non_exhaustive()
    }
}

fn client(config: &Config) -> Result<AmazonS3, DepotError> {
    let unusable = |problem: String| DepotError::Unusable(problem);
    if !config.allow_http && !config.endpoint.starts_with("https://") {
        return Err(unusable(format!(
            "the endpoint {} does not begin with https://, and allow_http is not set",
            config.endpoint
        )));
    }
    // The deadlines are this crate's: the library's own covers a whole download, however long.
    let mut options = ClientOptions::new()
        .with_allow_http(config.allow_http)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout_disabled();
    if let Some(path) = &config.tls_ca {
        let shown = path.display();
        let pem = fs::read(path).map_err(|error| unusable(format!("tls_ca {shown}: {error}")))?;
        let found = Certificate::from_pem_bundle(&pem)
            .map_err(|error| unusable(format!("tls_ca {shown}: {error}")))?;
        options = found.into_iter().fold(options, ClientOptions::with_root_certificate);
    }
    let backoff = BackoffConfig {
        init_backoff: RETRY_DELAY_MIN,
        max_backoff: RETRY_DELAY_MAX,
        ..BackoffConfig::default()
    };
    let retry = RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT };
    AmazonS3Builder::new()
        .with_endpoint(config.endpoint.trim_end_matches('/'))
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_access_key_id(&config.access_key)
        .with_secret_access_key(&config.secret_key)
        .with_virtual_hosted_style_request(false)
        .with_client_options(options)
        .with_retry(retry)
        .build()
        .map_err(|error| unusable(format!("the object store cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use skein_core::id::BlobId;

    use super::*;

    fn config(endpoint: &str, allow_http: bool) -> Config {
        Config {
            endpoint: endpoint.into(),
            bucket: "skein".into(),
            region: "us-east-1".into(),
            access_key: "somebody".into(),
            secret_key: "hunter2".into(),
            allow_http,
            tls_ca: None,
            request_timeout: Duration::from_millis(300),
        }
    }

    #[test]
    fn plain_http_must_be_allowed_and_nothing_shows_a_key() {
        let refused = Depot::s3(&config("http://127.0.0.1:1", false)).unwrap_err();
        assert!(refused.to_string().contains("allow_http"), "{refused}");
        let shown = format!("{:?}", config("http://127.0.0.1:1", true));
        assert!(!shown.contains("hunter2") && !shown.contains("somebody"), "{shown}");
        let mut authority = config("https://127.0.0.1:1", false);
        authority.tls_ca = Some("/nonexistent.pem".into());
        assert!(matches!(Depot::s3(&authority), Err(DepotError::Unusable(_))));
    }

    #[tokio::test]
    async fn a_store_that_hangs_or_refuses_is_unavailable() {
        // It accepts connections, by the kernel, and never says a word.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let hanging = format!("http://{}", silent.local_addr().unwrap());
        for endpoint in [hanging.as_str(), "http://127.0.0.1:1"] {
            let depot = Depot::s3(&config(endpoint, true)).unwrap();
            let size = depot.size(BlobId([1; 16]), skein_core::port::resource::Variant::Original);
            assert!(size.await.unwrap_err().is_transient(), "{endpoint}");
            let begun = depot.multipart().unwrap().begin(BlobId([1; 16])).await;
            assert!(begun.unwrap_err().is_transient(), "{endpoint}");
        }
    }
}
