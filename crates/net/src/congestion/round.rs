//! What quinn tells packet by packet, summed up round trip by round trip. A round ends when a packet
//! is acknowledged that was sent after it began: what the window of one round did shows in the next.

use std::time::Instant;

/// Acknowledgements that a round needs to count: the least round trip of fewer says little.
const BATCHES_MIN: u32 = 8;
/// Packets whose least round trip shows how long packets wait just now. HyStart++ has eight
/// acknowledgements (RFC 9406, section 4.3), which are for two packets each. They are counted here,
/// because quinn sends no acknowledgement while its own window is full, and then one for many.
const SAMPLE_PACKETS: u32 = 16;
/// Round trips after which it counts all the same: a path may carry no more.
const LENGTH_MAX: f64 = 4.0;
/// What a clock may not tell from nothing, in seconds. Rates are shares of times, so none is 0.
const SECONDS_MIN: f64 = 1e-6;

/// What one acknowledgement brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Batch {
    /// Bytes that it is the first to acknowledge.
    pub(super) bytes: f64,
    /// Round trip of its last packet, in seconds.
    pub(super) rtt: f64,
    /// Least round trip of the last [`SAMPLE_PACKETS`], after each so many.
    pub(super) rtt_of_sample: Option<f64>,
    /// Whether the window was what held the sender.
    pub(super) is_full: bool,
}

/// What happened in about one round trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Round {
    /// When it ended, in seconds.
    pub(super) now: f64,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
    /// Bytes acknowledged.
    pub(super) delivered: f64,
    /// Bytes found lost.
    pub(super) lost: f64,
    /// The least round trip, in seconds.
    pub(super) rtt: f64,
    /// Whether the window was what held the sender, for most of it.
    pub(super) is_full: bool,
}

/// Sums up.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    epoch: Instant,
    began: Instant,
    delivered: u64,
    full: u64,
    lost: u64,
    rtt_min: f64,
    batches: u32,
    batch_bytes: u64,
    batch_full: u64,
    batch_rtt: f64,
    sample_rtt: f64,
    sample_packets: u32,
    is_over: bool,
}

impl Meter {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            began: now,
            delivered: 0,
            full: 0,
            lost: 0,
            rtt_min: f64::INFINITY,
            batches: 0,
            batch_bytes: 0,
            batch_full: 0,
            batch_rtt: f64::INFINITY,
            sample_rtt: f64::INFINITY,
            sample_packets: 0,
            is_over: false,
        }
    }

    /// Seconds since the path is in use.
    pub(super) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.epoch).as_secs_f64()
    }

    /// A packet was acknowledged.
    pub(super) fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, is_app_limited: bool) {
        self.batch_bytes += bytes;
        self.sample_packets += 1;
        if !is_app_limited {
            self.batch_full += bytes;
        }
        // The last packet of a batch was held back the least by the peer.
        let rtt = now.saturating_duration_since(sent).as_secs_f64().max(SECONDS_MIN);
        self.batch_rtt = self.batch_rtt.min(rtt);
        self.is_over |= sent >= self.began;
    }

    /// So many bytes were found lost.
    pub(super) const fn on_loss(&mut self, bytes: u64) {
        self.lost += bytes;
    }

    /// All packets of an acknowledgement have been told. `None` if none of them counts.
    pub(super) fn end_batch(&mut self) -> Option<Batch> {
        if self.batch_bytes == 0 {
            return None;
        }
        let (bytes, full, rtt) = (self.batch_bytes, self.batch_full, self.batch_rtt);
        (self.batch_bytes, self.batch_full, self.batch_rtt) = (0, 0, f64::INFINITY);
        self.batches += 1;
        self.delivered += bytes;
        self.full += full;
        self.rtt_min = self.rtt_min.min(rtt);
        self.sample_rtt = self.sample_rtt.min(rtt);
        let rtt_of_sample = (self.sample_packets >= SAMPLE_PACKETS).then_some(self.sample_rtt);
        if rtt_of_sample.is_some() {
            (self.sample_packets, self.sample_rtt) = (0, f64::INFINITY);
        }
        Some(Batch { bytes: bytes as f64, rtt, rtt_of_sample, is_full: full > 0 })
    }

    /// The round that has just ended, if one has.
    pub(super) fn end_round(&mut self, now: Instant) -> Option<Round> {
        let seconds = now.saturating_duration_since(self.began).as_secs_f64().max(SECONDS_MIN);
        let is_long = seconds > LENGTH_MAX * self.rtt_min;
        if !self.is_over || (self.batches < BATCHES_MIN && !is_long) {
            return None;
        }
        let round = Round {
            now: self.seconds(now),
            seconds,
            delivered: self.delivered as f64,
            lost: self.lost as f64,
            rtt: self.rtt_min,
            is_full: 2 * self.full > self.delivered,
        };
        let (sample_packets, sample_rtt) = (self.sample_packets, self.sample_rtt);
        *self = Self { epoch: self.epoch, sample_packets, sample_rtt, ..Self::new(now) };
        Some(round)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_round_is_a_round_trip_of_enough_acknowledgements() {
        let epoch = Instant::now();
        let at = |millis| epoch + Duration::from_millis(millis);
        let mut meter = Meter::new(epoch);
        for packet in 0..20 {
            let now = at(50 + packet);
            meter.on_ack(now, at(packet), 1_000, packet < 5);
            let batch = meter.end_batch().unwrap();
            assert_eq!(batch.bytes, 1_000.0);
            assert!((batch.rtt - 0.05).abs() < 1e-9);
            assert_eq!(batch.rtt_of_sample, None);
            if packet < 7 {
                assert_eq!(meter.end_round(now), None, "packet {packet}");
                continue;
            }
            let round = meter.end_round(now).unwrap();
            assert_eq!((round.delivered, round.lost, round.is_full), (8_000.0, 0.0, false));
            assert!((round.seconds - 0.057).abs() < 1e-9);
            break;
        }
        // Packets from before the new round do not end it, however many they are.
        for packet in 8..30 {
            meter.on_ack(at(58 + packet), at(packet), 1_000, false);
            meter.on_loss(500);
            assert!(meter.end_batch().is_some());
            assert_eq!(meter.end_round(at(58 + packet)), None);
        }
        meter.on_ack(at(108), at(58), 1_000, false);
        assert!(meter.end_batch().is_some());
        let round = meter.end_round(at(108)).unwrap();
        assert_eq!((round.delivered, round.lost, round.is_full), (23_000.0, 11_000.0, true));
    }

    #[test]
    fn a_round_that_takes_no_time_has_a_rate_all_the_same() {
        let epoch = Instant::now();
        let mut meter = Meter::new(epoch);
        let mut rounds = 0;
        for _ in 0..100 {
            meter.on_ack(epoch, epoch, 1_000, false);
            assert!(meter.end_batch().unwrap().rtt > 0.0);
            if let Some(round) = meter.end_round(epoch) {
                rounds += 1;
                assert!((round.delivered / round.seconds).is_finite());
            }
        }
        assert!(rounds > 0);
    }

    #[test]
    fn a_sample_is_the_least_of_sixteen_packets() {
        let epoch = Instant::now();
        let at = |millis| epoch + Duration::from_millis(millis);
        let mut meter = Meter::new(epoch);
        let mut samples = Vec::new();
        for (packets, rtt) in [(10, 70), (5, 60), (1, 80), (40, 90), (2, 50), (14, 100)] {
            for _ in 0..packets {
                meter.on_ack(at(200), at(200 - rtt), 1_000, false);
            }
            samples.extend(meter.end_batch().unwrap().rtt_of_sample);
        }
        let millis: Vec<_> = samples.iter().map(|seconds| (seconds * 1e3).round()).collect();
        assert_eq!(millis, [60.0, 90.0, 50.0]);
    }

    #[test]
    fn a_round_of_few_packets_ends_after_some_round_trips() {
        let epoch = Instant::now();
        let at = |millis| epoch + Duration::from_millis(millis);
        let mut meter = Meter::new(epoch);
        meter.on_ack(at(50), at(0), 1_000, false);
        assert!(meter.end_batch().is_some());
        assert_eq!(meter.end_round(at(50)), None);
        meter.on_ack(at(210), at(150), 1_000, false);
        assert!(meter.end_batch().is_some());
        assert!(meter.end_round(at(210)).is_some());
        assert_eq!(meter.end_batch(), None);
    }
}
