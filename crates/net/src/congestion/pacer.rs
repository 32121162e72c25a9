//! An even pace on a narrow path. quinn lets ten packets out at once, or more. On 10 Mbit/s these
//! take 12 ms, for which a message waits behind them, and so do the acknowledgements of the other
//! direction: they come in clumps then, and become bursts in turn (Zhang, Shenker and Clark, SIGCOMM
//! 1991). So a bucket of tokens holds the window closed between smaller bursts.
//!
//! A controller is only asked when something is to be sent, and has no timer to say when the next
//! packet may go. So there is a pace only while somebody beats the time, as a
//! [`Metronome`](crate::metronome::Metronome) does.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Windows in a round trip: a little more than one, so that the window is what holds the sender
/// (RFC 9002, section 7.7).
const WINDOWS: f64 = 1.25;
/// Packets that may leave at once.
const BURST_PACKETS: f64 = 4.0;
/// The same in seconds: less than timers may be late would leave the path idle.
const BURST_SECONDS: f64 = 0.004;
/// Bytes a second from which on quinn's own pace is even enough: ten packets take 4 ms.
const RATE_MAX: f64 = 4e6;
/// Packets between two beats, which come twice a burst so that none is missed.
const BEAT_PACKETS: f64 = 2.0;
/// Time between two beats at least. Timers are no finer.
const BEAT_MIN: Duration = Duration::from_millis(2);
/// Time between two beats at most, and while there is no pace to keep.
const BEAT_MAX: Duration = Duration::from_millis(50);
/// After how many such times without a beat nobody beats any more.
const BEATS_MISSED: u32 = 4;

/// What came of a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Whether something was held back that may leave now: the connection is to look again.
    pub wakes: bool,
    /// In what time the next beat is due.
    pub next: Duration,
}

impl Default for Beat {
    fn default() -> Self {
        Self { wakes: false, next: BEAT_MAX }
    }
}

/// The bucket of one path. The copies of its controller share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pacer(Arc<Mutex<Bucket>>);

#[derive(Debug, Default)]
struct Bucket {
    /// Bytes a second; `None` while there is no pace to keep.
    rate: Option<f64>,
    packet: f64,
    /// Bytes that may leave. A debt after a packet that had to leave all the same.
    tokens: f64,
    /// When tokens were last added.
    filled_at: Option<Instant>,
    /// Until when the next beat may be late.
    beaten_until: Option<Instant>,
    /// Whether something was held back since the last beat.
    holds_back: bool,
}

impl Pacer {
    /// The window, and the round trip in seconds that it is for; `None` where no pace helps.
    pub(super) fn set(&self, now: Instant, packet: u16, window: Option<(u64, f64)>) {
        let mut bucket = self.lock();
        bucket.fill(now);
        bucket.packet = packet.into();
        let is_beaten = bucket.beaten_until.is_some_and(|until| now < until);
        let rate = window.map(|(bytes, seconds)| WINDOWS * bytes as f64 / seconds);
        bucket.rate = rate.filter(|rate| is_beaten && *rate > 0.0 && *rate < RATE_MAX);
    }

    /// So many bytes have left.
    pub(super) fn spend(&self, bytes: u64) {
        let mut bucket = self.lock();
        bucket.tokens = (bucket.tokens - bytes as f64).max(-BURST_PACKETS * bucket.packet);
    }

    /// Bytes that may leave now, if there is a pace to keep.
    pub(super) fn free(&self) -> Option<u64> {
        let mut bucket = self.lock();
        bucket.rate?;
        bucket.holds_back |= bucket.tokens <= bucket.packet;
        Some(bucket.tokens.max(0.0) as u64)
    }

    /// Time has gone on.
    pub(super) fn beat(&self, now: Instant) -> Beat {
        let mut bucket = self.lock();
        bucket.fill(now);
        bucket.beaten_until = Some(now + BEATS_MISSED * BEAT_MAX);
        let next = bucket.rate.map(|rate| BEAT_PACKETS * bucket.packet / rate);
        let next = next.map_or(BEAT_MAX, |seconds| {
            Duration::from_secs_f64(seconds.min(BEAT_MAX.as_secs_f64())).max(BEAT_MIN)
        });
        let wakes = bucket.holds_back && (bucket.rate.is_none() || bucket.tokens > bucket.packet);
        bucket.holds_back &= !wakes;
        Beat { wakes, next }
    }

    /// Somebody beats the time no more. If others do, they will have said so with their next beat.
    pub(super) fn rest(&self) {
        *self.lock() = Bucket::default();
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let burst = BURST_PACKETS * self.packet;
        if let (Some(rate), Some(filled_at)) = (self.rate, self.filled_at) {
            let seconds = now.saturating_duration_since(filled_at).as_secs_f64();
            let most = burst.max(rate * BURST_SECONDS);
            self.tokens = (self.tokens + rate * seconds).min(most);
        } else {
            self.tokens = burst;
        }
        self.filled_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u16 = 1_000;
    /// 80 packets in 100 ms: 1 MB a second with what the pace adds.
    const WINDOW: (u64, f64) = (80_000, 0.1);

    /// Sends as many packets as may go.
    fn send(pacer: &Pacer) -> u64 {
        let mut sent = 0;
        while pacer.free().is_some_and(|free| free > u64::from(PACKET)) && sent < 1_000 {
            pacer.spend(PACKET.into());
            sent += 1;
        }
        sent
    }

    #[test]
    fn packets_leave_in_small_bursts_at_the_rate_of_the_window() {
        let (pacer, start) = (Pacer::default(), Instant::now());
        pacer.beat(start);
        pacer.set(start, PACKET, Some(WINDOW));
        pacer.beat(start);
        let (mut now, mut sent, mut most) = (start, 0, 0);
        while now < start + Duration::from_secs(1) {
            let burst = send(&pacer);
            assert!(pacer.beat(now).next == BEAT_MIN, "two packets take 2 ms");
            sent += burst;
            most = most.max(burst);
            now += BEAT_MIN;
            // A window that is acknowledged changes nothing.
            pacer.set(now, PACKET, Some(WINDOW));
        }
        assert!((990..=1_010).contains(&sent), "{sent}");
        assert!(most <= 4, "{most}");
    }

    #[test]
    fn who_is_held_back_is_woken_once_there_is_room() {
        let (pacer, start) = (Pacer::default(), Instant::now());
        pacer.beat(start);
        pacer.set(start, PACKET, Some((800, 0.1)));
        send(&pacer);
        let wakes: Vec<_> = (0..30).map(|beat| pacer.beat(start + beat * BEAT_MAX).wakes).collect();
        // A packet takes 100 ms.
        assert_eq!(wakes.iter().filter(|wakes| **wakes).count(), 1);
        assert!(!wakes[0] && !wakes[1], "{wakes:?}");
    }

    #[test]
    fn there_is_no_pace_on_a_wide_path_or_while_nobody_beats_the_time() {
        let (pacer, start) = (Pacer::default(), Instant::now());
        pacer.set(start, PACKET, Some(WINDOW));
        assert_eq!(pacer.free(), None, "nobody beats");
        pacer.beat(start);
        pacer.set(start, PACKET, Some((1_000_000, 0.1)));
        assert_eq!(pacer.free(), None, "10 MB a second");
        pacer.set(start, PACKET, Some(WINDOW));
        assert!(pacer.free().is_some());
        pacer.set(start + BEATS_MISSED * BEAT_MAX, PACKET, Some(WINDOW));
        assert_eq!(pacer.free(), None, "nobody beats any more");
        pacer.beat(start);
        pacer.set(start, PACKET, Some(WINDOW));
        assert!(pacer.free().is_some());
        pacer.rest();
        assert_eq!(pacer.free(), None);
        pacer.set(start, PACKET, Some(WINDOW));
        assert_eq!(pacer.free(), None);
    }

    #[test]
    fn what_cannot_be_computed_is_no_pace() {
        let (pacer, start) = (Pacer::default(), Instant::now());
        pacer.beat(start);
        for window in [(0, 0.0), (1_000, 0.0), (0, 0.1)] {
            pacer.set(start, PACKET, Some(window));
            assert_eq!(pacer.free(), None, "{window:?}");
        }
    }
}
