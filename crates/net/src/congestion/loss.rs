//! Which loss is by chance and which is our own doing. A radio link loses about the same share
//! whatever is sent; a full buffer, or a policer, loses more when more is sent. So what is always
//! lost is taken for chance, and only what goes well beyond it for a sign to send less.

/// Packets that a judgement needs: of fewer, the share lost is a matter of luck.
const PACKETS_MIN: f64 = 200.0;
/// Judgements over which the least share is kept, twice as many at most.
const REMEMBERED: u32 = 8;
/// The share lost that is never taken for a sign. BBRv3 has the same threshold (`BBRLossThresh`,
/// draft-ietf-ccwg-bbr, section 2.7), without taking off what chance loses.
const TOLERATED: f64 = 0.02;

/// How many standard deviations more it takes: what chance loses of some hundred packets varies
/// (Poisson), and the least of several such shares is below the true one.
const DEVIATIONS: f64 = 2.0;

/// Tells loss by chance from loss by sending too much.
#[derive(Debug, Clone)]
pub(super) struct LossJudge {
    delivered: f64,
    lost: f64,
    least: f64,
    least_before: f64,
    judged: u32,
}

impl LossJudge {
    pub(super) const fn new() -> Self {
        Self {
            delivered: 0.0,
            lost: 0.0,
            least: f64::INFINITY,
            least_before: f64::INFINITY,
            judged: 0,
        }
    }

    /// Takes a round in, in bytes. The share lost if it is a sign to send less.
    pub(super) fn judge(&mut self, delivered: f64, lost: f64, packet: f64) -> Option<f64> {
        self.delivered += delivered;
        self.lost += lost;
        let sent = self.delivered + self.lost;
        if sent < PACKETS_MIN * packet {
            return None;
        }
        let share = self.lost / sent;
        (self.delivered, self.lost) = (0.0, 0.0);
        let by_chance = self.least.min(self.least_before);
        if self.judged == REMEMBERED {
            self.judged = 0;
            self.least_before = self.least;
            self.least = f64::INFINITY;
        }
        self.judged += 1;
        self.least = self.least.min(share);
        // Of the first judgement nothing is known yet; the delay has to do.
        if !by_chance.is_finite() {
            return None;
        }
        let tolerated = 3.0 * by_chance + TOLERATED;
        let deviation = (tolerated * packet / sent).sqrt();
        (share > tolerated + DEVIATIONS * deviation).then_some(share)
    }

    /// The share that is lost by chance, as far as known.
    pub(super) fn by_chance(&self) -> f64 {
        let least = self.least.min(self.least_before);
        if least.is_finite() { least } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_lost_is_chance() {
        for (shares, signs) in [
            // A clean path that begins to overflow.
            (&[0.0, 0.0, 0.01, 0.019, 0.05][..], &[false, false, false, false, true][..]),
            // A lossy path, which varies.
            (&[0.1, 0.08, 0.12, 0.09, 0.15], &[false; 5]),
            // A lossy path that overflows besides.
            (&[0.1, 0.1, 0.4], &[false, false, true]),
        ] {
            let mut judge = LossJudge::new();
            for (share, sign) in shares.iter().zip(signs) {
                let judgement = judge.judge(1e6 * (1.0 - share), 1e6 * share, 1_000.0);
                assert_eq!(judgement.is_some(), *sign, "{share} of {shares:?}");
            }
        }
    }

    #[test]
    fn a_path_that_begins_to_lose_is_understood_after_a_while() {
        let mut judge = LossJudge::new();
        let mut signs = 0;
        judge.judge(1e6, 0.0, 1_000.0);
        for _ in 0..100 {
            signs += u32::from(judge.judge(9e5, 1e5, 1_000.0).is_some());
        }
        assert!(signs <= 2 * REMEMBERED, "{signs}");
    }

    /// 2 % of windows as small as 200 packets: what is lost of those varies by half of itself.
    #[test]
    fn luck_with_few_packets_is_no_sign() {
        let mut judge = LossJudge::new();
        for lost in [4.0, 0.0, 5.0, 3.0, 6.0, 1.0, 7.0, 4.0] {
            assert_eq!(judge.judge(200.0 - lost, lost, 1.0), None, "{lost}");
        }
        assert_eq!(judge.judge(180.0, 20.0, 1.0), Some(0.1));
    }

    #[test]
    fn few_packets_are_no_evidence() {
        let mut judge = LossJudge::new();
        judge.judge(1e6, 0.0, 1_000.0);
        assert_eq!(judge.judge(9_000.0, 1_000.0, 1_000.0), None);
        assert_eq!(judge.judge(171_000.0, 19_000.0, 1_000.0), Some(0.1));
    }
}
