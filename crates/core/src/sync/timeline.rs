//! Follows one log: each entry once, in order, without a gap (invariant 3).

use crate::{entry::Entry, id::Seq, limit::PAGE_ENTRIES_MAX};

/// How far one log has been applied, and what is missing.
///
/// It holds no entries: one that comes out of order only tells that there is more, and is read
/// again with the page that closes the gap. So a timeline costs the same whatever a server sends.
#[derive(Debug, Clone)]
pub struct Timeline {
    applied: Seq,
    /// The highest seq that is known to exist.
    head: Seq,
    /// The log may have entries that nobody has told about: ask at least once.
    unsure: bool,
    fetching: Option<Seq>,
}

/// A page to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// The last entry that is here.
    pub after: Seq,
    /// Entries at most.
    pub limit: usize,
}

impl Timeline {
    /// Everything up to and with `applied` is here, or not wanted.
    #[must_use]
    pub const fn starting_at(applied: Seq) -> Self {
        Self { applied, head: applied, unsure: false, fetching: None }
    }

    /// The last entry that was applied.
    #[must_use]
    pub const fn applied(&self) -> Seq {
        self.applied
    }

    /// Whether a page should be asked for now.
    #[must_use]
    pub fn wants_page(&self) -> bool {
        self.fetching.is_none() && (self.unsure || self.head > self.applied)
    }

    /// Whether a page after `after` has been asked for and has not come.
    #[must_use]
    pub fn is_fetching(&self, after: Seq) -> bool {
        self.fetching == Some(after)
    }

    /// An entry came by itself. Answers it if it is the next one to apply.
    pub fn handle_live(&mut self, entry: Entry) -> Option<Entry> {
        self.head = self.head.max(entry.seq);
        if entry.seq != self.applied.next() {
            return None;
        }
        self.applied = entry.seq;
        Some(entry)
    }

    /// The page after `after` came. Answers the entries to apply.
    pub fn handle_page(&mut self, after: Seq, entries: Vec<Entry>, head: Seq) -> Vec<Entry> {
        if self.fetching != Some(after) {
            return Vec::new();
        }
        self.fetching = None;
        self.unsure = false;
        let brought_any = entries.iter().any(|entry| entry.seq == after.next());
        let mut fresh = Vec::with_capacity(entries.len());
        for entry in entries {
            // Live entries may have overtaken the page; what is here already is dropped.
            if entry.seq == self.applied.next() {
                self.applied = entry.seq;
                fresh.push(entry);
            }
        }
        if !brought_any && head > after {
            // The server names a head and does not give the way there. Asking again at once would
            // become a storm of requests; the next notice asks again.
            self.head = self.applied;
        } else {
            self.head = self.head.max(head);
        }
        fresh
    }

    /// The page after `after` was refused.
    pub fn handle_refused(&mut self, after: Seq) {
        if self.fetching == Some(after) {
            self.fetching = None;
        }
    }

    /// Someone said that the log reaches this far.
    pub fn handle_head(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// The log may have more than anyone has said.
    pub const fn doubt(&mut self) {
        self.unsure = true;
    }

    /// No answer will come to what was asked.
    pub const fn disconnected(&mut self) {
        self.fetching = None;
    }

    /// The page to ask for now, if any. Then none is given until it has come or is lost.
    pub fn poll_fetch(&mut self) -> Option<Fetch> {
        if !self.wants_page() {
            return None;
        }
        self.fetching = Some(self.applied);
        Some(Fetch { after: self.applied, limit: PAGE_ENTRIES_MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::Body,
        id::{AccountId, EntryId},
        name::Text,
        time::Timestamp,
    };

    enum Input {
        Live(u64),
        Page(u64, &'static [u64], u64),
        Head(u64),
        Lost,
    }
    use Input::{Head, Live, Lost, Page};

    fn entry(seq: u64) -> Entry {
        Entry {
            seq: Seq(seq),
            id: EntryId([0; 16]),
            author: AccountId(1),
            at: Timestamp(0),
            body: Body::Text(Text::parse("x").unwrap()),
        }
    }

    /// Runs inputs one by one: (input, what it applies, what is fetched after it).
    fn run(start: u64, table: &[(Input, &[u64], Option<u64>)]) {
        let mut timeline = Timeline::starting_at(Seq(start));
        for (row, (input, applies, fetches)) in table.iter().enumerate() {
            let applied = match input {
                Live(seq) => timeline.handle_live(entry(*seq)).into_iter().collect(),
                Page(after, seqs, head) => {
                    let entries = seqs.iter().map(|seq| entry(*seq)).collect();
                    timeline.handle_page(Seq(*after), entries, Seq(*head))
                }
                Head(head) => {
                    timeline.handle_head(Seq(*head));
                    Vec::new()
                }
                Lost => {
                    timeline.disconnected();
                    Vec::new()
                }
            };
            let applied: Vec<u64> = applied.iter().map(|entry| entry.seq.0).collect();
            assert_eq!(&applied, applies, "row {row}");
            let fetch = timeline.poll_fetch().map(|fetch| fetch.after.0);
            assert_eq!(fetch, *fetches, "row {row}");
        }
    }

    #[test]
    fn applies_what_is_next_and_drops_what_is_here() {
        run(
            0,
            &[
                (Live(1), &[1], None),
                (Live(1), &[], None),
                (Live(2), &[2], None),
                (Head(2), &[], None),
            ],
        );
    }

    #[test]
    fn fetches_a_gap_once() {
        run(
            0,
            &[
                (Live(3), &[], Some(0)),
                (Live(4), &[], None),
                (Page(0, &[1, 2], 4), &[1, 2], Some(2)),
                (Live(5), &[], None),
                (Page(2, &[3, 4], 4), &[3, 4], Some(4)),
                (Page(4, &[5], 5), &[5], None),
            ],
        );
    }

    #[test]
    fn a_page_that_live_entries_overtook_is_trimmed() {
        run(
            4,
            &[(Head(6), &[], Some(4)), (Live(5), &[5], None), (Page(4, &[5, 6], 6), &[6], None)],
        );
    }

    #[test]
    fn asks_again_after_a_loss_and_ignores_stale_pages() {
        run(
            0,
            &[
                (Head(2), &[], Some(0)),
                (Lost, &[], Some(0)),
                (Page(7, &[8], 8), &[], None),
                (Page(0, &[1, 2], 2), &[1, 2], None),
                (Page(0, &[1, 2], 2), &[], None),
            ],
        );
    }

    #[test]
    fn a_page_with_a_hole_is_applied_up_to_it() {
        run(
            0,
            &[
                (Head(4), &[], Some(0)),
                (Page(0, &[1, 3, 4], 4), &[1], Some(1)),
                (Page(1, &[4], 4), &[], None),
                (Head(4), &[], Some(1)),
            ],
        );
    }

    #[test]
    fn an_old_head_does_not_hide_a_newer_one() {
        run(
            2,
            &[
                (Live(4), &[], Some(2)),
                (Page(2, &[], 2), &[], Some(2)),
                (Page(2, &[3, 4], 4), &[3, 4], None),
            ],
        );
    }

    #[test]
    fn doubt_asks_exactly_once() {
        let mut timeline = Timeline::starting_at(Seq::ZERO);
        timeline.doubt();
        assert!(timeline.poll_fetch().is_some());
        assert!(timeline.handle_page(Seq::ZERO, Vec::new(), Seq::ZERO).is_empty());
        assert_eq!(timeline.poll_fetch(), None);
    }
}
