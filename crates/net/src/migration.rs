//! Clients that move, and a limit on how often.
//!
//! A client may go on from another address at any time, and each time costs the server a new path:
//! a congestion controller, and two datagrams that challenge the new address and the former one
//! (RFC 9000, section 9.3). quinn has no word in this: any packet that is authentic and the newest
//! moves the connection. So a client could flip between addresses, forged ones among them, with
//! each packet that it sends.
//!
//! What can be enforced from outside is how long it may. There are two counts for that, and what one
//! misses the other finds.
//!
//! The challenges that were sent are counted by quinn and only grow, so nothing is missed between two
//! **looks**. How many moves they were they do not tell: quinn repeats them in each packet to an
//! address that has not answered, so one move during a transfer makes dozens. Therefore a look counts
//! twice the rate at most, and what is turned away by it is a client that moves in look after look,
//! for as long as its burst lasts: for minutes. One task of a listener looks at all its connections
//! once a second.
//!
//! Whether there was a move can be told for certain, but not how many: each path has a congestion
//! controller of its own (`congestion::path`). So the task **glances** at those that have
//! moved, many times until the next look (`suspect`). A move is found once, however often its challenges
//! are repeated, and a client that flips, there and back too, is found to have moved by each glance: it is
//! turned away in about two seconds. One that moves less than some fifteen times a second is left to
//! the looks.
//!
//! Until it is turned away, the anti-amplification limit holds for each of its paths (RFC 9000,
//! section 8.1), and then it has to shake hands anew, for which [`admission`](crate::admission) counts
//! it. A look or a glance costs less than a microsecond, of glances there is a bounded number, and
//! nothing is done in between: neither packets nor idle connections pay. A socket that drops the
//! packets of clients which move too often would bite sooner, but it cannot know them: the ids in
//! packets change by the client's wish, and whose they are only quinn knows.
//!
//! A look also notes when a client was last heard, which quinn does not tell either.

mod suspect;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use skein_wire::close::CloseCode;
use tokio::time::Instant;

use self::suspect::{Suspect, Suspects};
use crate::{congestion, metric, pace::Pace};

/// How often all connections are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Connections that are looked at before other tasks get their turn.
const BATCH: usize = 256;
/// Challenges that quinn sends for one move: to the new address, and to the former one.
const CHALLENGES_A_MOVE: u64 = 2;
/// By how many times the rate a look may find a connection beyond it. More would take the repeated
/// challenges of one move for many; no more than one would never find anything.
const LOOK_EXCESS_MAX: u32 = 2;

/// How often a connection may move.
#[derive(Debug, Clone, Copy)]
pub struct MigrationLimits {
    /// Moves a second in the long run. A walk between two networks has one in some seconds.
    pub per_second: u32,
    /// Moves beyond that: on the edge of two networks a phone may waver. A client that moves
    /// without end is turned away after about `burst / per_second` seconds, and one that does so
    /// dozens of times a second after about two, whatever this is. By default the former is longer
    /// than a connection is kept of which nothing is heard: if the client hears nothing and the
    /// server does, each look finds challenges that were repeated.
    pub burst: u32,
}

impl Default for MigrationLimits {
    fn default() -> Self {
        Self { per_second: 1, burst: 130 }
    }
}

/// Watches the connections of one listener, as long as a clone of it lives.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// Those that are not looked at yet, from no more than one interval.
    new: Arc<Mutex<Vec<Look>>>,
}

/// A connection under watch, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    connection: quinn::Connection,
    /// When something of the client was last found to have come.
    heard_at: Mutex<Instant>,
}

impl Watched {
    /// How long nothing has come from the client, as far as the looks tell: up to one of them more
    /// or less.
    pub(crate) fn silent_for(&self) -> Duration {
        self.heard_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn heard(&self, now: Instant) {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// What was found when a connection was last looked at. Looking does not keep it open.
#[derive(Debug)]
struct Look {
    watched: Weak<Watched>,
    /// Challenges that had been sent.
    challenges: u64,
    /// Datagrams that had come.
    datagrams: u64,
    peer: SocketAddr,
    /// By when its moves are paid off: see [`Pace`].
    due: Instant,
    /// The same for the moves that glances have found.
    flips_due: Instant,
}

impl Watch {
    /// Begins to watch. Takes a runtime.
    pub(crate) fn begin(limits: MigrationLimits) -> Self {
        let new = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(look(Arc::downgrade(&new), limits));
        Self { new }
    }

    /// Watches `connection` too, until what is returned is dropped.
    pub(crate) fn add(&self, connection: &quinn::Connection) -> Arc<Watched> {
        let now = Instant::now();
        let watched =
            Arc::new(Watched { connection: connection.clone(), heard_at: Mutex::new(now) });
        let stats = connection.stats();
        let look = Look {
            watched: Arc::downgrade(&watched),
            challenges: stats.frame_tx.path_challenge,
            datagrams: stats.udp_rx.datagrams,
            peer: connection.remote_address(),
            due: now,
            flips_due: now,
        };
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push(look);
        watched
    }
}

async fn look(new: Weak<Mutex<Vec<Look>>>, limits: MigrationLimits) {
    let (pace, flips) = (Pace::new(limits.per_second, limits.burst), suspect::pace(limits));
    let (mut all, mut suspects) = (Vec::new(), Suspects::default());
    loop {
        until_next(&mut all, &mut suspects, flips).await;
        let Some(new) = new.upgrade() else { return };
        all.append(&mut new.lock().unwrap_or_else(PoisonError::into_inner));
        drop(new);
        all.retain(|look: &Look| look.watched.strong_count() > 0);
        suspects.clear();
        for (place, look) in all.iter_mut().enumerate() {
            if let Some(path) = look.again(limits, pace, Instant::now()) {
                suspects.add(Suspect { place, path });
            }
            if (place + 1).is_multiple_of(BATCH) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Waits for the next look, and glances at the suspects until then.
async fn until_next(all: &mut [Look], suspects: &mut Suspects, flips: Pace) {
    let end = Instant::now() + LOOK_INTERVAL;
    while !suspects.is_empty() {
        let next = Instant::now() + suspect::GLANCE_INTERVAL;
        if next >= end {
            break;
        }
        tokio::time::sleep_until(next).await;
        let now = Instant::now();
        for suspect in suspects.iter_mut() {
            if let Some(look) = all.get_mut(suspect.place) {
                look.glance(suspect, flips, now);
            }
        }
    }
    tokio::time::sleep_until(end).await;
}

impl Look {
    /// Answers the client's path, if it has moved and may go on.
    fn again(&mut self, limits: MigrationLimits, pace: Pace, now: Instant) -> Option<u64> {
        let watched = self.watched.upgrade()?;
        let connection = &watched.connection;
        let stats = connection.stats();
        if stats.udp_rx.datagrams != self.datagrams {
            self.datagrams = stats.udp_rx.datagrams;
            watched.heard(now);
        }
        let challenges = stats.frame_tx.path_challenge;
        let moves = moves(challenges.saturating_sub(self.challenges), limits);
        if moves == 0 {
            return None;
        }
        self.challenges = challenges;
        let (number, peer) = (connection.stable_id(), connection.remote_address());
        // Nobody's address belongs into a log. Whether the host changed says what happened.
        let elsewhere = peer.ip() != self.peer.ip();
        self.peer = peer;
        if connection.close_reason().is_some() {
            return None;
        }
        if !pace.keeps(&mut self.due, now, moves) {
            turn_away(connection, moves);
            return None;
        }
        metric::migrations("followed", moves);
        tracing::debug!(number, moves, elsewhere, "a client goes on from another address");
        congestion::path(connection)
    }

    /// Looks only whether the client has moved.
    fn glance(&mut self, suspect: &mut Suspect, flips: Pace, now: Instant) {
        let Some(watched) = self.watched.upgrade() else { return };
        let connection = &watched.connection;
        let moved = congestion::path(connection).is_some_and(|path| suspect.moved(path));
        if moved && connection.close_reason().is_none() && !flips.keeps(&mut self.flips_due, now, 1)
        {
            turn_away(connection, 1);
        }
    }
}

fn turn_away(connection: &quinn::Connection, moves: u32) {
    metric::migrations("refused", moves);
    let number = connection.stable_id();
    tracing::debug!(number, moves, "a client moves too often and is turned away");
    let code = CloseCode::Unsteady as u32;
    connection.close(code.into(), b"this connection moves too often");
}

/// How many moves one look counts for so many challenges.
fn moves(challenges: u64, limits: MigrationLimits) -> u32 {
    let moves = u32::try_from(challenges.div_ceil(CHALLENGES_A_MOVE)).unwrap_or(u32::MAX);
    moves.min(limits.per_second.max(1).saturating_mul(LOOK_EXCESS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_that_were_lost_or_left_out_are_moves_too() {
        let moves = |challenges| moves(challenges, MigrationLimits::default());
        assert_eq!([0, 1, 2, 3, u64::MAX].map(moves), [0, 1, 1, 2, 2]);
    }

    /// Counts `challenges` in each of so many looks, and tells which one was too many.
    fn refused_at(challenges: u64, looks: u64, every: u64) -> Option<u64> {
        let limits = MigrationLimits::default();
        let pace = Pace::new(limits.per_second, limits.burst);
        let start = Instant::now();
        let mut due = start;
        (0..looks).find(|look| {
            let now = start + Duration::from_secs(every * look);
            !pace.keeps(&mut due, now, moves(challenges, limits))
        })
    }

    #[test]
    fn a_move_whose_challenges_are_repeated_is_no_flood_but_moving_in_every_look_is() {
        assert_eq!(refused_at(500, 10_000, 5), None, "a handover every five seconds");
        assert_eq!(refused_at(500, 10, 1), None, "ten seconds of it");
        let burst = u64::from(MigrationLimits::default().burst);
        assert_eq!(refused_at(500, 10_000, 1), Some(burst - 1));
    }

    #[test]
    fn a_handover_every_five_seconds_keeps_the_pace_for_ever() {
        let limits = MigrationLimits::default();
        let pace = Pace::new(limits.per_second, limits.burst);
        let start = Instant::now();
        let mut due = start;
        for handover in 0..10_000 {
            assert!(pace.keeps(&mut due, start + Duration::from_secs(5 * handover), 1));
        }
        let later = start + Duration::from_secs(50_000);
        assert!(!pace.keeps(&mut due, later, limits.burst + 1));
    }
}
