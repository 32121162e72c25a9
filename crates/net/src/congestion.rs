//! Congestion control for phones: how much may be under way at a time.
//!
//! Loss says little on a radio link, and a full queue is what makes a message late. So the window
//! follows the **delay**: it grows until packets begin to wait, then gives back what waits, many
//! times a minute, so that the queue empties again and again (`cruise`). Loss by chance changes
//! nothing; loss that comes from sending more does (`loss`). Where somebody else keeps the queue
//! full all the same, as CUBIC does, yielding would end with nothing: then the window follows
//! CUBIC's rules (RFC 9438) until the queue has been seen empty (`contend`).
//!
//! quinn paces at 5/4 of a window each round trip, ten packets at a time or more, and offers no other
//! control of the pace. So a model that needs one, as BBR does, has nothing to hold its queue down
//! here; the window must. On a narrow path it also makes the bursts smaller, while somebody beats the
//! time (`pacer`). docs/adr/0008 compares what there is.

mod contend;
mod cruise;
mod cubic;
mod least;
mod loss;
mod mark;
mod noise;
mod pacer;
mod pilot;
mod ramp;
mod round;
mod wish;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

pub use self::pacer::Beat;
use self::{mark::Mark, pacer::Pacer, pilot::Pilot, round::Meter, wish::Wishes};

/// Packets by which the window is wider than what is under way, so that one more leaves: quinn sends
/// while a packet leaves room.
const PROBE_PACKETS: u64 = 2;
/// How many times as long as the last packet's round trip quinn's estimate may be. It takes in how long
/// an acknowledgement was away with the path (RFC 9002, section 5.3, has it believe no more than 25 ms
/// of that): one that was lost in a blackout and comes with the first packet after it makes 60 s of
/// 40 ms, by which quinn would pace for seconds. A queue that empties at once does not do that.
const MISLED_TIMES: f64 = 8.0;
/// A round trip that is longer than so many seconds, and as many times as long as the last, can only be
/// that of an acknowledgement that was away.
const AWAY_SECONDS: f64 = 1.0;
/// A window that quinn does not pace.
const UNPACED: u64 = u32::MAX as u64 + 1;

/// Makes the controller of each new path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Factory;

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(DelayController::new(now, current_mtu))
    }
}

/// Lets the next packet of `connection` leave although its window is full: it asks whether the path is
/// back (RFC 9002, section 7.5). quinn sends such packets by itself after timeouts that double, so
/// on a path that was away for half a minute it may look again only another half later.
pub(crate) fn permit_probe(connection: &quinn::Connection) {
    look_at(connection, |controller| controller.wishes.wish_probe());
}

/// What `connection` sends from now on takes another path, of which nothing is known (RFC 9000,
/// section 9.4). quinn notices that of a peer that moves, and not of itself.
pub(crate) fn another_path(connection: &quinn::Connection) {
    look_at(connection, |controller| controller.wishes.tell_another_path());
}

/// Time goes on for `controller`, which may be a copy, if it is one of [`Factory`]: who has bulk to send
/// calls this again and again, and wakes the connection where that is said.
#[must_use]
pub fn beat(controller: Box<dyn Controller>, now: Instant) -> Beat {
    match controller.into_any().downcast::<DelayController>() {
        Ok(controller) => controller.pacer.beat(now),
        Err(_) => Beat::default(),
    }
}

/// Nobody beats the time for `connection` any more.
pub(crate) fn rest(connection: &quinn::Connection) {
    look_at(connection, |controller| controller.pacer.rest());
}

/// How long a packet and its acknowledgement take, where quinn's estimate is misled.
pub(crate) fn round_trip(connection: &quinn::Connection) -> Option<Duration> {
    look_at(connection, |controller| {
        let rtt = controller.rtt_of_last;
        controller.is_misled().then(|| Duration::from_secs_f64(rtt))
    })?
}

/// Tells the paths apart that `connection` goes one after the other: each has a higher number than those
/// before, also where the peer comes back to an address.
pub(crate) fn path(connection: &quinn::Connection) -> Option<u64> {
    look_at(connection, |controller| controller.mark.copied())
}

/// quinn gives copies away, which share what is meant to be told.
fn look_at<T>(
    connection: &quinn::Connection,
    look: impl FnOnce(&DelayController) -> T,
) -> Option<T> {
    let controller = connection.congestion_state().into_any();
    controller.downcast::<DelayController>().ok().map(|controller| look(&controller))
}

/// What quinn drives: it measures round trips and asks the pilot after each.
#[derive(Debug, Clone)]
struct DelayController {
    mark: Mark,
    pilot: Pilot,
    meter: Meter,
    wishes: Wishes,
    pacer: Pacer,
    /// What was sent before took another path, and says nothing about this one.
    since: Instant,
    packet: u16,
    /// Bytes under way, or somewhat more: acknowledgements count until something is acknowledged.
    in_flight: u64,
    /// The round trip by quinn's estimate, in seconds; 0 before the first.
    rtt: f64,
    /// That of the last packet that was acknowledged.
    rtt_of_last: f64,
}

impl DelayController {
    fn new(now: Instant, packet: u16) -> Self {
        let (pilot, meter) = (Pilot::new(packet.into()), Meter::new(now));
        Self {
            mark: Mark::default(),
            pilot,
            meter,
            wishes: Wishes::default(),
            pacer: Pacer::default(),
            since: now,
            packet,
            in_flight: 0,
            rtt: 0.0,
            rtt_of_last: 0.0,
        }
    }

    /// Nothing is known of the path from now on, and what was sent before says nothing about it.
    fn begin_anew(&mut self, now: Instant) {
        self.pilot = Pilot::new(self.packet.into());
        self.meter = Meter::new(now);
        self.since = now;
    }

    /// Whether nothing got through for so long. quinn, which measures that by its estimate, does not see
    /// a persistent congestion there (RFC 9002, section 7.6).
    fn was_away(&self, rtt: f64) -> bool {
        self.rtt_of_last > 0.0 && rtt > AWAY_SECONDS.max(MISLED_TIMES * self.rtt_of_last)
    }

    /// Whether quinn paces by a round trip that is none.
    fn is_misled(&self) -> bool {
        self.rtt_of_last > 0.0 && self.rtt > MISLED_TIMES * self.rtt_of_last
    }

    /// A packet was acknowledged.
    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64, is_app_limited: bool) {
        if sent >= self.since {
            self.meter.on_ack(now, sent, bytes, is_app_limited);
        }
    }
}

impl Controller for DelayController {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.in_flight += bytes;
        self.pacer.spend(bytes);
        self.wishes.probed();
        if self.wishes.take_another_path() {
            self.begin_anew(now);
        }
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.rtt = rtt.get().as_secs_f64();
        self.acked(now, sent, bytes, app_limited);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        _app_limited: bool,
        _largest: Option<u64>,
    ) {
        self.in_flight = in_flight;
        let Some(batch) = self.meter.end_batch() else { return };
        let was_away = self.was_away(batch.rtt);
        self.rtt_of_last = batch.rtt;
        if was_away {
            return self.begin_anew(now);
        }
        self.pilot.on_batch(self.meter.seconds(now), &batch);
        if let Some(round) = self.meter.end_round(now) {
            self.pilot.on_round(&round);
        }
        let is_paced = self.pilot.is_paced() && !self.is_misled();
        let window = is_paced.then(|| (self.pilot.window(), self.rtt));
        self.pacer.set(now, self.packet, window);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        if sent < self.since {
            return;
        }
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
        self.packet = new_mtu;
        self.pilot.on_mtu(new_mtu.into());
    }

    fn window(&self) -> u64 {
        let mut window = self.pilot.window();
        if let Some(free) = self.pacer.free() {
            // quinn sends while a packet leaves room.
            window = window.min(self.in_flight.saturating_add(free).saturating_add(1));
        }
        if self.is_misled() && self.in_flight.saturating_add(self.packet.into()) < window {
            return UNPACED;
        }
        if !self.wishes.wants_probe() {
            return window;
        }
        let room = PROBE_PACKETS * u64::from(self.packet);
        window.max(self.in_flight.saturating_add(room))
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.pilot.window();
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

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1200;

    fn controller() -> (DelayController, Instant) {
        let now = Instant::now();
        (DelayController::new(now, 1200), now)
    }

    /// So many packets were sent at a time and are acknowledged later.
    fn send(controller: &mut DelayController, packets: u64, at: Instant) {
        for number in 0..packets {
            controller.on_sent(at, PACKET, number);
        }
    }

    fn ack(controller: &mut DelayController, packets: u64, sent: Instant, now: Instant) {
        for _ in 0..packets {
            controller.acked(now, sent, PACKET, false);
        }
        controller.on_end_acks(now, 0, false, None);
    }

    #[test]
    fn one_packet_leaves_through_a_full_window_and_the_next_waits() {
        let (mut controller, now) = controller();
        let window = controller.window();
        send(&mut controller, 50, now);
        assert_eq!(controller.window(), window);
        // As quinn has it: the wish comes by a copy.
        controller.clone().wishes.wish_probe();
        assert_eq!(controller.window(), 52 * PACKET);
        send(&mut controller, 1, now);
        assert_eq!(controller.window(), window);
    }

    #[test]
    fn an_acknowledgement_that_was_away_for_long_slows_nothing_down() {
        let (mut controller, start) = controller();
        let (trip, initial) = (Duration::from_millis(40), controller.window());
        for round in 0..3 {
            send(&mut controller, 10, start + round * trip);
            ack(&mut controller, 10, start + round * trip, start + (round + 1) * trip);
        }
        assert!(controller.window() > initial);
        send(&mut controller, 1, start + 3 * trip);
        ack(&mut controller, 1, start + 3 * trip, start + Duration::from_secs(60));
        assert_eq!(controller.window(), initial, "what was known may be wrong");
        // An eighth of it.
        controller.rtt = 7.5;
        assert!(controller.window() < UNPACED, "one alone may be so long");
        let now = start + Duration::from_secs(60);
        send(&mut controller, 1, now);
        ack(&mut controller, 1, now, now + trip);
        assert_eq!(controller.window(), UNPACED);
        // As much as ever may be under way, and no more.
        let window = controller.pilot.window();
        while controller.window() == UNPACED {
            send(&mut controller, 1, now + trip);
        }
        assert_eq!(controller.window(), window);
        assert!((window - PACKET..=window).contains(&controller.in_flight));
        controller.rtt = 0.1;
        controller.in_flight = 0;
        assert_eq!(controller.window(), window, "it has learnt");
    }

    #[test]
    fn another_path_begins_anew_and_hears_nothing_of_the_former() {
        let (mut controller, start) = controller();
        let (initial, trip) = (controller.window(), Duration::from_millis(40));
        send(&mut controller, 10, start);
        ack(&mut controller, 10, start, start + trip);
        let grown = controller.window();
        assert_eq!(grown, 2 * initial, "it doubles at the start");
        controller.clone().wishes.tell_another_path();
        assert_eq!(controller.window(), grown, "nothing was sent there yet");
        send(&mut controller, 10, start + 2 * trip);
        assert_eq!(controller.window(), initial);
        ack(&mut controller, 10, start + trip, start + 3 * trip);
        controller.on_congestion_event(start + 3 * trip, start + trip, true, PACKET);
        assert_eq!(controller.window(), initial, "that was the former path");
        ack(&mut controller, 10, start + 2 * trip, start + 3 * trip);
        assert_eq!(controller.window(), 2 * initial);
    }
}
