//! The window: how it starts, and which of the rules it follows.

use super::{
    contend::{Contest, Move, Rivalry, Seen},
    cruise::{Cruise, Step},
    least::Least,
    loss::LossJudge,
    noise::Noise,
    round::{Batch, Round},
};

/// Packets of the first window (RFC 9002, section 7.2).
const PACKETS_INITIAL: f64 = 10.0;
/// Packets of the smallest window. RFC 9002 (section 7.2) asks for two; with four, one that is lost
/// is found by those after it, without a timeout.
const PACKETS_MIN: f64 = 4.0;
/// Bytes of the largest window.
const BYTES_MAX: f64 = 256.0 * 1024.0 * 1024.0;

/// Which part of the round trip packets may wait.
const TOLERATED_SHARE: f64 = 1.0 / 8.0;
/// How long they may wait at least and at most, in seconds.
const TOLERATED_SECONDS: (f64, f64) = (0.004, 0.015);
/// How many packets may wait at least, since on a slow path a single one takes long, and which part
/// of the round trip these may wait at most.
const TOLERATED_PACKETS: f64 = 3.0;
const TOLERATED_SHARE_MAX: f64 = 0.5;

/// Which part of the round trip the path may vary by itself at most.
const NOISE_SHARE_MAX: f64 = 0.0625;

/// What is left of the window at the end of the start.
const START_EXIT: f64 = 0.5;
/// By what factor the rate grows in a round of the start, if the path is not full.
const RATE_GROWS: f64 = 1.25;
/// Rounds of the start without such growth that tell that the path is full.
const ROUNDS_STALLED: u32 = 3;
/// The share lost that tells so in one round, if the rate has not grown either.
const LOST_AT_START: f64 = 0.05;

/// To what part of itself the window goes where loss says that it is too large.
const LOSS_PART: f64 = 0.85;
/// The same for congestion that the path marks (RFC 8511, section 3, for Reno 0.8; RFC 9438: 0.7).
const MARK_PART: f64 = 0.7;

/// Packets that must be tolerated in the queue for it to tell soon that a contest goes on.
const WARY_PACKETS: f64 = 10.0;

/// Seconds without a full window, after which its size is taken for outdated.
const UNUSED_SECONDS: f64 = 10.0;

/// Decides about the window of one path.
#[derive(Debug, Clone)]
pub(super) struct Pilot {
    packet: f64,
    window: f64,
    rtt: Least,
    noise: Noise,
    judge: LossJudge,
    mode: Mode,
    /// How long the last packet took, in seconds.
    rtt_last: f64,
    /// Bytes a second of the last round.
    rate: f64,
    /// Seconds that a byte takes, at the highest rate of late.
    byte_seconds: Least,
    /// When the window was last what held the sender.
    full_at: f64,
    /// When the window was last reduced for a mark.
    marked_at: f64,
    rivalry: Rivalry,
}

#[derive(Debug, Clone)]
enum Mode {
    /// Doubles each round trip, until the path is full.
    Start {
        rate: f64,
        stalled: u32,
    },
    /// The path is full; another round tells what it carries.
    Measure {
        rounds: u32,
    },
    Cruise(Cruise),
    Contend(Contest),
}

const START: Mode = Mode::Start { rate: 0.0, stalled: 0 };

impl Pilot {
    pub(super) fn new(packet: f64) -> Self {
        Self {
            packet,
            window: PACKETS_INITIAL * packet,
            rtt: Least::new(),
            noise: Noise::new(),
            judge: LossJudge::new(),
            mode: START,
            rtt_last: 0.0,
            rate: 0.0,
            byte_seconds: Least::new(),
            full_at: 0.0,
            marked_at: f64::NEG_INFINITY,
            rivalry: Rivalry::new(),
        }
    }

    /// An acknowledgement has arrived.
    pub(super) fn on_batch(&mut self, now: f64, batch: &Batch) {
        self.rtt.measure(now, batch.rtt);
        self.rtt_last = batch.rtt;
        let (base, tolerated) = (self.base(), self.tolerated());
        match &mut self.mode {
            Mode::Start { .. } => {
                if batch.rtt_of_sample.is_some_and(|rtt| rtt - base > tolerated) {
                    // What waits was sent a round trip ago, when the window was half of this.
                    self.set(START_EXIT * self.window);
                    self.mode = Mode::Measure { rounds: 1 };
                } else if batch.is_full {
                    self.set(self.window + batch.bytes);
                }
            }
            Mode::Contend(contest) => {
                if let Some(rtt) = batch.rtt_of_sample {
                    contest.on_rtt(rtt);
                }
                let packets = self.window / self.packet;
                let window = contest.on_ack(batch.bytes / self.packet, packets);
                self.set(window * self.packet);
            }
            Mode::Measure { .. } | Mode::Cruise(_) => {}
        }
    }

    /// A round trip is over.
    pub(super) fn on_round(&mut self, round: &Round) {
        let sign = self.judge.judge(round.delivered, round.lost, self.packet);
        if !round.is_full {
            self.on_unused(round);
            return;
        }
        self.full_at = round.now;
        self.rate = (round.delivered + round.lost) / round.seconds;
        self.byte_seconds.measure(round.now, 1.0 / self.rate);
        let is_ours = match &self.mode {
            Mode::Start { .. } => false,
            Mode::Cruise(cruise) => cruise.is_settling(),
            Mode::Measure { .. } | Mode::Contend(_) => true,
        };
        self.noise.measure(round.rtt, is_ours);
        match &mut self.mode {
            Mode::Start { .. } => self.start(round),
            Mode::Measure { rounds: 0 } => {
                let content = self.rate * self.base();
                self.set(self.window.min(content));
                self.mode = Mode::Cruise(Cruise::default());
            }
            Mode::Measure { rounds } => *rounds -= 1,
            Mode::Cruise(_) => self.cruise(round, sign.is_some()),
            Mode::Contend(_) => self.contend(round, sign.is_some()),
        }
    }

    /// A packet that was sent at a time was found lost.
    pub(super) fn on_loss(&mut self, now: f64, sent: f64) {
        let (rtt, base) = (self.rtt_last, self.base());
        let Mode::Contend(contest) = &mut self.mode else { return };
        let packets = self.window / self.packet;
        if let Some(packets) = contest.on_loss((now, sent), rtt, base, packets) {
            self.set(packets * self.packet);
        }
    }

    /// The path has marked a packet that was sent at a time: its queue grows (RFC 3168).
    pub(super) fn on_mark(&mut self, now: f64, sent: f64) {
        if sent > self.marked_at {
            self.marked_at = now;
            self.set(self.window * MARK_PART);
            if matches!(self.mode, Mode::Start { .. } | Mode::Measure { .. }) {
                self.mode = Mode::Cruise(Cruise::default());
            }
        }
    }

    /// Nothing went through for several timeouts (RFC 9002, section 7.6): whatever was known about
    /// the path may be wrong.
    pub(super) fn on_blackout(&mut self) {
        self.rtt = Least::new();
        self.noise = Noise::new();
        self.judge = LossJudge::new();
        self.mode = START;
        self.set(0.0);
    }

    /// Packets are of this size from now on.
    pub(super) fn on_mtu(&mut self, packet: f64) {
        self.packet = packet;
        self.set(self.window);
    }

    /// Bytes that may be under way.
    pub(super) const fn window(&self) -> u64 {
        self.window as u64
    }

    /// Whether an even pace helps. At the start it would hide what the path carries, and in a contest
    /// who sends evenly loses more than who sends in bursts.
    pub(super) const fn is_paced(&self) -> bool {
        matches!(self.mode, Mode::Cruise(_))
    }

    /// Bytes that may be under way at first.
    pub(super) const fn initial_window(&self) -> u64 {
        (PACKETS_INITIAL * self.packet) as u64
    }

    fn set(&mut self, window: f64) {
        // What cannot be computed changes nothing.
        let window = if window.is_finite() { window } else { self.window };
        self.window = window.clamp(PACKETS_MIN * self.packet, BYTES_MAX);
    }

    /// The round trip of the empty path, as far as the path lets it be known, in seconds.
    fn base(&self) -> f64 {
        self.rtt.get() + self.noise.get().min(NOISE_SHARE_MAX * self.rtt.get())
    }

    /// How long packets may wait, in seconds.
    fn tolerated(&self) -> f64 {
        let (least, most) = TOLERATED_SECONDS;
        let share = (TOLERATED_SHARE * self.base()).clamp(least, most);
        if matches!(self.mode, Mode::Start { .. }) {
            // The rate of the start says little about the path.
            return share;
        }
        let few = TOLERATED_PACKETS * self.packet * self.byte_seconds.get();
        share.max(few.min(TOLERATED_SHARE_MAX * self.base()))
    }

    /// The application sent less than it might.
    fn on_unused(&mut self, round: &Round) {
        if round.now - self.full_at > UNUSED_SECONDS {
            self.full_at = round.now;
            // As RFC 7661 has it: what is in use is known to work, twice that is worth a try.
            let known = (2.0 * round.delivered).max(PACKETS_INITIAL * self.packet);
            self.set(self.window.min(known));
            self.mode = START;
        }
    }

    fn start(&mut self, round: &Round) {
        let Mode::Start { rate, stalled } = &mut self.mode else { return };
        let delivered = round.delivered / round.seconds;
        if delivered > RATE_GROWS * *rate {
            (*rate, *stalled) = (delivered, 0);
            return;
        }
        *stalled += 1;
        let lost = round.lost / (round.delivered + round.lost);
        if *stalled == ROUNDS_STALLED || lost > LOST_AT_START + 2.0 * self.judge.by_chance() {
            self.mode = Mode::Measure { rounds: 0 };
        }
    }

    fn cruise(&mut self, round: &Round, is_loss_a_sign: bool) {
        let (base, tolerated) = (self.base(), self.tolerated());
        let Mode::Cruise(cruise) = &mut self.mode else { return };
        let packets = self.window / self.packet;
        let step = if is_loss_a_sign {
            Step::Go(cruise.reduce(packets, LOSS_PART))
        } else {
            cruise.step(packets, round.rtt, base, tolerated)
        };
        match step {
            Step::Go(packets) => self.set(packets * self.packet),
            Step::Longer(packets) => {
                self.rtt.restart(round.now, round.rtt);
                self.set(packets * self.packet);
                self.mode = START;
            }
            Step::Contended { before, is_answered } => {
                let reduced = (!is_answered).then_some(packets);
                let (contest, packets) = self.rivalry.enter(round.now, before, reduced);
                self.set(packets * self.packet);
                self.mode = Mode::Contend(contest);
            }
        }
    }

    fn contend(&mut self, round: &Round, is_loss_a_sign: bool) {
        let (wait, tolerated) = (round.rtt - self.base(), self.tolerated());
        let Mode::Contend(contest) = &mut self.mode else { return };
        let (now, rtt, rate) = (round.now, round.rtt, self.rate / self.packet);
        let seen = Seen { now, rtt, wait, tolerated, rate, is_loss_a_sign };
        match contest.step(&mut self.rivalry, &seen, self.window / self.packet) {
            Move::Go(packets) => self.set(packets * self.packet),
            Move::Over(packets) => {
                self.set(packets * self.packet);
                // A queue of few packets is as often full by chance.
                let tolerated_packets = tolerated / (self.packet * self.byte_seconds.get());
                let is_wary = tolerated_packets > WARY_PACKETS;
                self.mode = Mode::Cruise(Cruise::after_contest(is_wary));
            }
        }
    }
}

#[cfg(test)]
mod tests;
