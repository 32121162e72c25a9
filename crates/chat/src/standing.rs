//! Whether a node gets sessions, for whoever asks if it can do its work.

use std::sync::Arc;

use skein_core::refusal::Code;

use crate::{hub::Hub, report::Reporter};

/// How a node stands with the directory that gives it its sessions.
#[derive(Clone)]
pub struct Standing {
    pub(crate) hub: Arc<Hub>,
    pub(crate) reporter: Arc<Reporter>,
}

impl Standing {
    /// Whether the directory knows the node, and the node lets in whom it is given.
    ///
    /// # Errors
    /// Why it gets no sessions: it drains, it is full, or it is not in the directory.
    pub fn check(&self) -> Result<(), String> {
        self.hub.is_open().map_err(|refusal| match refusal.code {
            Code::Draining => "the node drains".to_owned(),
            _ => "the node is full".to_owned(),
        })?;
        self.reporter.place()
    }
}
