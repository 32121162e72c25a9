//! Connections whose clients have moved, which are glanced at until the next look.
//!
//! Not all that is found is the client's doing. quinn gives an address up that does not answer, and
//! goes back to the one before, which is no move; but the next packet of the client is another. A client
//! that is heard and does not hear, as in a network that is about to fail, so moves as often as quinn
//! gives up. Only what is faster is taken for a flip.

use std::time::Duration;

use super::MigrationLimits;
use crate::pace::Pace;

/// Those that are glanced at, at most. If more have moved, it is left to chance which: then nobody is
/// hidden by others for long.
const SUSPECTS_MAX: usize = 256;
/// How far apart glances are. Each finds one move at most, which has to be far more often than
/// [`FLIPS_PER_SECOND`].
pub(super) const GLANCE_INTERVAL: Duration = Duration::from_millis(20);
/// After so many milliseconds quinn may give up an address that does not answer: three probe timeouts
/// (RFC 9000, section 8.2.4), each with the 25 by which clients may acknowledge late (RFC 9002, section
/// 6.2.1), and with a round trip of nothing.
const GIVEN_UP_AFTER_MS: u32 = 3 * 25;
/// Moves a second that glances may find in the long run: one each time that an address is given up.
const FLIPS_PER_SECOND: u32 = 1_000_u32.div_ceil(GIVEN_UP_AFTER_MS);
/// Moves beyond that. Nobody walks that often in a second.
const FLIPS_BURST: u32 = 10;

/// How often glances may find a connection elsewhere.
pub(super) fn pace(limits: MigrationLimits) -> Pace {
    // Who may move more often in the long run may do so here.
    Pace::new(FLIPS_PER_SECOND.max(limits.per_second), FLIPS_BURST)
}

/// A connection that has moved.
#[derive(Debug)]
pub(super) struct Suspect {
    /// Its place among all that are looked at.
    pub(super) place: usize,
    /// The latest path that it was found on.
    pub(super) path: u64,
}

impl Suspect {
    /// Whether a connection that is on this path now has moved since the last glance. Where quinn has
    /// gone back, it is on a former one.
    pub(super) fn moved(&mut self, path: u64) -> bool {
        let moved = path > self.path;
        self.path = self.path.max(path);
        moved
    }
}

/// Those that have moved before one look: a fair choice if they are many.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    chosen: Vec<Suspect>,
    /// How many there were to choose from.
    met: usize,
}

impl Suspects {
    pub(super) fn clear(&mut self) {
        self.chosen.clear();
        self.met = 0;
    }

    /// Chooses `suspect`, perhaps in place of another (Vitter, "Random Sampling with a Reservoir").
    pub(super) fn add(&mut self, suspect: Suspect) {
        self.met += 1;
        if self.chosen.len() < SUSPECTS_MAX {
            self.chosen.push(suspect);
        } else if let Some(other) = self.chosen.get_mut(rand::random_range(0..self.met)) {
            *other = suspect;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Suspect> {
        self.chosen.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_later_path_is_a_move_and_a_former_one_is_none() {
        let mut suspect = Suspect { place: 0, path: 5 };
        assert_eq!(
            [5, 8, 8, 5, 8, 9].map(|path| suspect.moved(path)),
            [false, true, false, false, false, true]
        );
    }

    #[test]
    fn of_many_some_are_chosen_whoever_comes_first() {
        let mut suspects = Suspects::default();
        let many = 100 * SUSPECTS_MAX;
        for place in 0..many {
            suspects.add(Suspect { place, path: 0 });
        }
        let places: Vec<usize> = suspects.iter_mut().map(|suspect| suspect.place).collect();
        assert_eq!(places.len(), SUSPECTS_MAX);
        let late = places.iter().filter(|&&place| place >= many / 2).count();
        // Half of them, give or take eight standard deviations.
        assert!((SUSPECTS_MAX / 4..=3 * SUSPECTS_MAX / 4).contains(&late), "{late}");
        suspects.clear();
        assert!(suspects.is_empty());
    }

    /// When a client that is found elsewhere every so often is refused, within an hour.
    fn refused_after(every: Duration) -> Option<Duration> {
        let (pace, start) = (pace(MigrationLimits::default()), Instant::now());
        let mut due = start;
        let hour = Duration::from_secs(3600);
        let mut times = (0..).map(|count| every * count).take_while(|passed| *passed < hour);
        times.find(|passed| !pace.keeps(&mut due, start + *passed, 1))
    }

    #[test]
    fn who_flips_is_refused_before_the_second_look() {
        let refused = refused_after(GLANCE_INTERVAL).expect("refused");
        assert!(refused < Duration::from_millis(500), "{refused:?}");
        let refused = refused_after(2 * GLANCE_INTERVAL).expect("refused");
        assert!(refused < Duration::from_secs(1), "{refused:?}");
    }

    #[test]
    fn who_wavers_or_does_not_hear_is_not_refused() {
        assert_eq!(refused_after(Duration::from_millis(333)), None, "on the edge of two networks");
        let given_up = Duration::from_millis(GIVEN_UP_AFTER_MS.into());
        assert_eq!(
            refused_after(given_up),
            None,
            "again and again from an address that does not answer"
        );
    }
}
