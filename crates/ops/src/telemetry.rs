//! Logs: a readable sentence and dotted fields, to standard error.

use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How logs are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is logged, as in `info` or `info,skein_chat=debug`.
    pub filter: String,
    /// For people or for machines.
    pub format: Format,
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

impl Default for Config {
    fn default() -> Self {
        Self { filter: "info".into(), format: Format::Text }
    }
}

impl Config {
    /// Sends the process's logs where the configuration says. Call once.
    ///
    /// # Errors
    /// If the filter is not of the accepted form.
    pub fn install(&self) -> Result<(), BadFilter> {
        let filter =
            EnvFilter::try_new(&self.filter).map_err(|_| BadFilter(self.filter.clone()))?;
        let registry = tracing_subscriber::registry().with(filter);
        let colours = io::stderr().is_terminal();
        let layer = fmt::layer().with_writer(io::stderr).with_ansi(colours);
        match self.format {
            Format::Text => registry.with(layer.with_target(false)).init(),
            Format::Json => registry.with(layer.json()).init(),
        }
        Ok(())
    }
}

/// The log filter is not of the accepted form.
#[derive(Debug, thiserror::Error)]
#[error("log.filter: expected something like `info` or `info,skein_chat=debug`, got `{0}`")]
pub struct BadFilter(String);
