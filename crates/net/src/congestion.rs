//! Congestion control for phones: how much may be under way at a time.
//!
//! Loss says little on a radio link, and a full queue is what makes a message late. So the window
//! follows the **delay**: it grows until packets begin to wait, then gives back what waits, many
//! times a minute, so that the queue empties again and again (`cruise`). Loss by chance changes
//! nothing; loss that comes from sending more does (`loss`). Where somebody else keeps the queue
//! full all the same, as CUBIC does, yielding would end with nothing: then the window follows
//! CUBIC's rules (RFC 9438) until the queue has been seen empty (`contend`).
//!
//! quinn paces at 5/4 of a window each round trip and offers no other control of the pace, so a
//! model that needs a pace of its own, as BBR does, has nothing to hold its queue down here; the
//! window alone must. docs/adr/0008 compares what there is.

mod contend;
mod cruise;
mod cubic;
mod least;
mod loss;
mod noise;
mod pilot;
mod ramp;
mod round;

use std::{any::Any, sync::Arc, time::Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

use self::{pilot::Pilot, round::Meter};

/// Makes the controller of each new path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Factory;

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(DelayController { pilot: Pilot::new(current_mtu.into()), meter: Meter::new(now) })
    }
}

/// What quinn drives: it measures round trips and asks the pilot after each.
#[derive(Debug, Clone)]
struct DelayController {
    pilot: Pilot,
    meter: Meter,
}

impl Controller for DelayController {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        self.meter.on_ack(now, sent, bytes, app_limited);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        _in_flight: u64,
        _app_limited: bool,
        _largest: Option<u64>,
    ) {
        let Some(batch) = self.meter.end_batch() else { return };
        self.pilot.on_batch(self.meter.seconds(now), &batch);
        if let Some(round) = self.meter.end_round(now) {
            self.pilot.on_round(&round);
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.meter.on_loss(lost_bytes);
        let (now, sent) = (self.meter.seconds(now), self.meter.seconds(sent));
        if is_persistent_congestion {
            self.pilot.on_blackout();
        } else if lost_bytes == 0 {
            self.pilot.on_mark(now, sent);
        } else {
            self.pilot.on_loss(now, sent);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.pilot.on_mtu(new_mtu.into());
    }

    fn window(&self) -> u64 {
        self.pilot.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.pilot.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
