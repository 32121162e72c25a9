//! The listener for operators: `/metrics` in the text format of Prometheus, `/healthz` (the process
//! answers) and `/readyz` (it can do its work). It has no authentication and tells nothing about
//! people: bind it where only operators reach it.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use skein_core::refusal::Code;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::{health::Health, lifecycle::Shutdown, process};

/// How often old observations are folded into the histograms, which would grow without end.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Upper bounds of the buckets of durations.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of the buckets of sizes.
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 8388608.0];
/// Upper bounds of the buckets of everything else, which are counts.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What this process has used of processors.
const CPU_SECONDS: &str = "process_cpu_seconds_total";
/// The memory that it holds.
const RESIDENT_BYTES: &str = "process_resident_memory_bytes";
/// The files that it has open.
const OPEN_FILES: &str = "process_open_fds";
/// The version that it is.
const BUILD_INFO: &str = "skein_build_info";
/// Requests that were refused, by role and code.
const ERRORS: &str = "skein_errors_total";

/// The one recorder of the process; the crate `metrics` has a global one.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Where operators look.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen for HTTP; port 0 picks one. Off if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

/// The listener for operators cannot be had.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// The address is taken or not this machine's.
    #[error("observe.listen: cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another part of the process collects metrics in its own way.
    #[error("metrics are collected by something else in this process already")]
    Recorder,
}

/// Starts to collect metrics and to answer, if configured. Describe the metrics after that. Answers
/// where it listens.
///
/// # Errors
/// [`ObserveError`].
pub async fn start(
    config: &Config,
    health: Health,
    shutdown: &Shutdown,
) -> Result<Option<SocketAddr>, ObserveError> {
    let Some(address) = config.listen else { return Ok(None) };
    let bind = |source| ObserveError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let handle = recorder()?.clone();
    let upkeep = handle.clone();
    // It answers until everything else has ended: during a drain it is looked at most.
    let ended = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = ended.forced() => return,
                () = tokio::time::sleep(UPKEEP_INTERVAL) => upkeep.run_upkeep(),
            }
        }
    });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(handle)
        .route("/healthz", get(|| async { "ok" }))
        .merge(Router::new().route("/readyz", get(ready)).with_state(health));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the listener for operators has ended");
        }
    });
    Ok(Some(address))
}

/// Counts an answer that was an error: `role` says who answered.
pub fn count_error(role: &'static str, code: Code) {
    counter!(ERRORS, "role" => role, "code" => code.name()).increment(1);
}

/// The process's recorder, installed with the first call.
fn recorder() -> Result<&'static PrometheusHandle, ObserveError> {
    if let Some(handle) = RECORDER.get() {
        return Ok(handle);
    }
    let builder = PrometheusBuilder::new()
        .set_buckets(COUNTS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        })
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)
        })
        .expect("the buckets are not empty");
    let handle = builder.install_recorder().map_err(|_| ObserveError::Recorder)?;
    describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(RECORDER.get_or_init(|| handle))
}

fn describe() {
    describe_counter!(CPU_SECONDS, Unit::Seconds, "Time on a processor, user and system.");
    describe_gauge!(RESIDENT_BYTES, Unit::Bytes, "Memory that is resident.");
    describe_gauge!(OPEN_FILES, Unit::Count, "Open file descriptors.");
    describe_counter!(ERRORS, Unit::Count, "Requests that were refused, by role and code.");
    describe_gauge!(BUILD_INFO, Unit::Count, "Always 1; the label says which version runs.");
}

async fn metrics(State(handle): State<PrometheusHandle>) -> impl IntoResponse {
    let usage = process::usage();
    counter!(CPU_SECONDS).absolute(usage.cpu.as_secs());
    gauge!(RESIDENT_BYTES).set(usage.resident_bytes as f64);
    gauge!(OPEN_FILES).set(usage.open_files as f64);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render())
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let findings = health.findings().await;
    let status = if findings.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(findings))
}

#[cfg(test)]
mod tests {
    use metrics::{describe_histogram, histogram};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn shows_metrics_with_help_and_the_truth_about_readiness() {
        let shutdown = Shutdown::new();
        let config = Config { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))) };
        let health = Health::default();
        health.advise("verify", || async { Err("refused".to_owned()) });
        let address = start(&config, health, &shutdown).await.unwrap().unwrap();
        describe_histogram!("skein_test_seconds", Unit::Seconds, "How long a test takes.");
        histogram!("skein_test_seconds").record(0.002);

        let metrics = ask(address, "/metrics").await;
        for line in [
            "# HELP skein_test_seconds How long a test takes.",
            "# TYPE skein_test_seconds histogram",
            r#"skein_test_seconds_bucket{le="0.001"} 0"#,
            r#"skein_test_seconds_bucket{le="0.0025"} 1"#,
            "# HELP process_resident_memory_bytes Memory that is resident.",
        ] {
            assert!(metrics.contains(line), "{line} is missing in {metrics}");
        }
        assert!(ask(address, "/healthz").await.ends_with("ok"));
        let ready = ask(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        let body = r#"{"ready":true,"degraded":["verify"],"checks":{"verify":"refused"}}"#;
        assert!(ready.ends_with(body), "{ready}");
        shutdown.force();
    }

    #[tokio::test]
    async fn is_red_without_what_is_needed() {
        let shutdown = Shutdown::new();
        let config = Config { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))) };
        let health = Health::default();
        health.register("store", || async { Err("it is away".to_owned()) });
        let address = start(&config, health, &shutdown).await.unwrap().unwrap();
        let ready = ask(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        let body = r#"{"ready":false,"degraded":[],"checks":{"store":"it is away"}}"#;
        assert!(ready.ends_with(body), "{ready}");
        shutdown.force();
    }

    #[tokio::test]
    async fn is_off_unless_configured() {
        let address = start(&Config::default(), Health::default(), &Shutdown::new()).await;
        assert_eq!(address.unwrap(), None);
    }
}
