//! Logs: a readable sentence and dotted fields, to standard error; and spans to OpenTelemetry, if
//! configured.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::trace::TraceLayer;

/// How long spans that wait may take to be exported when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How logs are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is logged, as in `info` or `info,skein_chat=debug`.
    pub filter: String,
    /// For people or for machines.
    pub format: Format,
    /// Where an OpenTelemetry collector takes spans (OTLP over gRPC), as in
    /// `http://127.0.0.1:4317`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Words and colours.
    Text,
    /// One JSON object a line.
    Json,
}

/// Keeps telemetry going. Dropping it exports what waits, for which it has two seconds.
#[must_use]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Why telemetry did not start.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The log filter is not of the accepted form.
    #[error("log.filter: expected something like `info` or `info,skein_chat=debug`, got `{0}`")]
    Filter(String),
    /// The collector's address is not of the accepted form.
    #[error("log.otlp: expected something like `http://127.0.0.1:4317`, got `{0}`")]
    Otlp(String, #[source] opentelemetry_otlp::ExporterBuildError),
}

impl Default for Config {
    fn default() -> Self {
        Self { filter: "info".into(), format: Format::Text, otlp: None }
    }
}

impl Config {
    /// Sends the process's logs where the configuration says, in the name of `service`. Call once,
    /// within a tokio runtime if spans are exported.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub fn install(&self, service: &str) -> Result<Telemetry, TelemetryError> {
        let filter = EnvFilter::try_new(&self.filter)
            .map_err(|_| TelemetryError::Filter(self.filter.clone()))?;
        let provider = self.provider(service)?;
        let spans = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer().with_tracer(provider.tracer("skein")).with_filter(ours())
        });
        let layer = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match self.format {
            Format::Text => layer.with_target(false).with_filter(filter).boxed(),
            Format::Json => layer.json().with_filter(filter).boxed(),
        };
        let traces = TraceLayer.with_filter(ours());
        tracing_subscriber::registry().with(lines).with(traces).with(spans).init();
        Ok(Telemetry(provider))
    }

    fn provider(&self, service: &str) -> Result<Option<SdkTracerProvider>, TelemetryError> {
        let Some(address) = &self.otlp else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(address)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| TelemetryError::Otlp(address.clone(), error))?;
        let resource = Resource::builder().with_service_name(service.to_owned()).build();
        let provider =
            SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter);
        Ok(Some(provider.build()))
    }
}

/// The spans of these crates. Those of the libraries are many; and the exporter's own work must not
/// be exported, or it would never be done.
fn ours() -> Targets {
    Targets::new().with_target("skein", LevelFilter::INFO)
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "some spans were not exported");
        }
    }
}
