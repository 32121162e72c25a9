//! What a link has done so far, in numbers.

use std::{collections::BTreeMap, fmt};

/// Why a datagram was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// By itself.
    Random,
    /// In a burst.
    Burst,
    /// The queue was full.
    Queue,
    /// It was larger than the path takes.
    Mtu,
    /// There was no connection at all.
    Cut,
}

/// Datagrams and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What one direction has carried since it began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// What was to be carried.
    pub offered: Amount,
    /// What was carried, copies not counted.
    pub delivered: Amount,
    /// How many of these came twice.
    pub duplicated: u64,
    /// How many of these were late.
    pub late: u64,
    /// What was lost, and why.
    pub lost: BTreeMap<Loss, Amount>,
    /// Bytes that waited for the link at the worst time.
    pub queue_bytes_max: u64,
}

impl Amount {
    pub(crate) const fn add(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes as u64;
    }
}

impl Counts {
    /// How many datagrams were lost for this reason.
    #[must_use]
    pub fn lost_to(&self, loss: Loss) -> u64 {
        self.lost.get(&loss).map_or(0, |amount| amount.datagrams)
    }

    /// How many datagrams were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.values().map(|amount| amount.datagrams).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount { datagrams, bytes } = self.delivered;
        write!(f, "{datagrams} of {} datagrams, {bytes} bytes", self.offered.datagrams)?;
        for (loss, amount) in &self.lost {
            write!(f, ", {} lost to {loss}", amount.datagrams)?;
        }
        write!(f, ", {} late, {} twice", self.late, self.duplicated)?;
        write!(f, ", at most {} bytes in the queue", self.queue_bytes_max)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "chance",
            Self::Burst => "bursts",
            Self::Queue => "the queue",
            Self::Mtu => "the MTU",
            Self::Cut => "the cut",
        })
    }
}
