//! What the driver tells whoever listens.

use skein_core::sync::Standing;

use super::Driver;
use crate::{Event, Status};

impl Driver {
    pub(super) fn tell(&mut self, event: Event) {
        match &event {
            Event::Sent { id, seq, .. } => {
                if let Some(done) = self.sending.remove(id) {
                    done.send(Ok(*seq)).ok();
                }
            }
            Event::Rejected { id, refusal } => {
                if let Some(done) = self.sending.remove(id) {
                    done.send(Err(refusal.clone())).ok();
                }
            }
            _ => {}
        }
        // Nobody needs to listen.
        self.parts.events.send(event).ok();
    }

    pub(super) fn publish_link(&mut self) {
        let status = match self.parts.session.standing() {
            Standing::Idle => Status::not_asked(),
            Standing::Online { caught_up } => Status::Online { caught_up },
            Standing::Slow { caught_up } => Status::Slow { caught_up },
            Standing::Reconnecting { lost } => Status::Reconnecting { lost },
            Standing::Offline => Status::Offline { reason: self.trouble.clone() },
            Standing::Stopped(reason) => Status::Stopped(reason),
        };
        self.publish(status);
    }

    pub(super) fn publish(&mut self, status: Status) {
        let changed = self.status.send_if_modified(|current| {
            let changed = *current != status;
            if changed {
                current.clone_from(&status);
            }
            changed
        });
        if matches!(status, Status::Stopped(_) | Status::Broken { .. }) {
            // Nothing will become of these here. They are kept for another process.
            self.sending.clear();
        }
        if changed {
            self.parts.events.send(Event::Status(status)).ok();
        }
    }
}
