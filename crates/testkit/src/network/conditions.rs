//! What a link does to what is sent over it: the knobs of the laboratory, as plain values.

use std::time::Duration;

/// Nanoseconds in a second.
const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Bits in a byte.
const BITS_PER_BYTE: u128 = 8;

/// What one direction of a path does to each datagram. The default is a wire that does nothing.
///
/// Sizes are those of IP packets, headers included, as a router sees them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Conditions {
    /// How likely a datagram is lost by itself: 0 to 1.
    pub loss: f64,
    /// Losses that come in bursts, beside `loss`.
    pub burst: Option<Burst>,
    /// How long each takes, beside the time in the queue.
    pub delay: Duration,
    /// How much longer it takes at most: uniform, and drawn anew each time so much time has
    /// passed. Order is kept, as in the queue of a radio link: what would overtake waits.
    pub jitter: Duration,
    /// Some are late, so that those behind overtake them.
    pub reordering: Option<Reordering>,
    /// How likely a datagram arrives twice: 0 to 1. The copy takes no bandwidth.
    pub duplication: f64,
    /// How fast the link is, and how long its queue. `None`: without limit and without queue.
    pub rate: Option<Rate>,
    /// Bytes of the largest packet that gets through. Larger ones vanish without a word, as behind
    /// a router whose ICMP messages are filtered.
    pub mtu: Option<usize>,
    /// A blackout: nothing gets in. What is on the way still arrives.
    pub cut: bool,
}

/// Losses in bursts: a chain of two states that takes a step with every datagram.
///
/// E. N. Gilbert, "Capacity of a Burst-Noise Channel", 1960; E. O. Elliott, "Estimates of Error
/// Rates for Codes on Burst-Noise Channels", 1963. As there, a burst lasts a number of datagrams and
/// no time: who sends seldom meets the same burst for long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// How likely a burst begins, with each datagram: 0 to 1.
    pub begins: f64,
    /// How likely a burst ends, with each datagram: 0 to 1. Its mean length is the reciprocal.
    pub ends: f64,
    /// How likely a datagram in a burst is lost: 0 to 1.
    pub loss: f64,
}

/// Datagrams that are late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reordering {
    /// How likely a datagram is: 0 to 1.
    pub probability: f64,
    /// By how much.
    pub late: Duration,
}

/// How fast a link takes datagrams off its queue, whose end drops what finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits in a second. Zero is taken for one.
    pub bits_per_second: u64,
    /// How much may wait.
    pub queue: Queue,
}

/// How much may wait for a link, what is being sent included. One datagram always has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// So many bytes.
    Bytes(u64),
    /// As many bytes as leave within this time.
    Time(Duration),
}

impl Conditions {
    /// A wire that only takes this long.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// These, with random loss of so much (0 to 1).
    #[must_use]
    pub const fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// These, at so many bits in a second, with a queue that is empty after at most `queue`.
    #[must_use]
    pub const fn with_rate(self, bits_per_second: u64, queue: Duration) -> Self {
        Self { rate: Some(Rate { bits_per_second, queue: Queue::Time(queue) }), ..self }
    }
}

impl Burst {
    /// Bursts in which everything is lost: `loss` of all datagrams (0 to less than 1), in bursts of
    /// `length` datagrams on average (1 or more).
    #[must_use]
    pub fn of(loss: f64, length: f64) -> Self {
        let ends = 1.0 / length.max(1.0);
        // In the long run the chain is in a burst for begins / (begins + ends) of its steps.
        let begins = (ends * loss / (1.0 - loss)).clamp(0.0, 1.0);
        Self { begins, ends, loss: 1.0 }
    }
}

impl Rate {
    /// How long so many bytes take.
    #[must_use]
    pub fn time(&self, bytes: u64) -> Duration {
        let bits = u128::from(bytes) * BITS_PER_BYTE;
        let nanos = (bits * NANOS_PER_SECOND).div_ceil(u128::from(self.bits_per_second.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many bytes leave within this time.
    #[must_use]
    pub fn bytes(&self, time: Duration) -> u64 {
        let bits = time.as_nanos() * u128::from(self.bits_per_second.max(1)) / NANOS_PER_SECOND;
        u64::try_from(bits / BITS_PER_BYTE).unwrap_or(u64::MAX)
    }

    /// How long the last in a full queue waits until it has left.
    #[must_use]
    pub fn depth(&self) -> Duration {
        match self.queue {
            Queue::Bytes(bytes) => self.time(bytes),
            Queue::Time(time) => time,
        }
    }
}
