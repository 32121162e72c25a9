//! Signs of life for somebody who waits for an answer.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, interval_at};

use crate::operator::Order;

/// How often one is given.
const EVERY: Duration = Duration::from_secs(10);

/// What is being done while an order is not answered.
pub(super) const fn doing(order: &Order) -> &'static str {
    match order {
        Order::Storage => "counting",
        Order::Backup { .. } => "copying",
        _ => "waiting for the answer",
    }
}

/// Does the work, and says meanwhile for how long it has been under way.
pub(super) async fn telling<T>(tell: impl Fn(Duration), work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let begun = Instant::now();
    let mut ticks = interval_at(begun + EVERY, EVERY);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => tell(begun.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_takes_long_is_told_of() {
        let told = RefCell::new(Vec::new());
        let tell = |waited: Duration| told.borrow_mut().push(waited.as_secs());
        telling(tell, sleep(Duration::from_secs(9))).await;
        assert!(told.borrow().is_empty());
        telling(tell, sleep(Duration::from_secs(35))).await;
        assert_eq!(*told.borrow(), [10, 20, 30]);
    }
}
