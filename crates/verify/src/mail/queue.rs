//! The bounded queue between an answer and its mail.
//!
//! A request is answered as soon as its mail is queued, so the answer takes the same time whether
//! or not there is a mail behind it; a mail that must not be sent passes through the same queue.

use std::{sync::Arc, time::Duration};

use lettre::Message;
use skein_ops::lifecycle::Shutdown;
use tokio::{
    sync::{Mutex, mpsc},
    time,
};

use super::{Mailer, NotSent};

/// Mails that wait: several minutes' worth for a slow server, at a few KiB each.
const WAITING_MAILS_MAX: usize = 256;
/// Mails on their way at once, so that one slow answer does not hold up the others.
const SENDERS: usize = 4;
/// How long one mail may take from connecting to the server's last word.
const SENDING_TIME_MAX: Duration = Duration::from_secs(60);
/// How long to wait before each further try while the server cannot be reached or asks to try later;
/// a code is good for
/// a few minutes only.
const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// Takes mails and lets them leave in the background.
pub(crate) struct Queue {
    mails: mpsc::Sender<Outgoing>,
}

/// A place in the queue.
enum Outgoing {
    Mail(Box<Message>),
    /// Takes a place and goes nowhere.
    Nothing,
}

/// The queue is full, or the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Queue {
    /// Starts the senders. Once the soft stop has begun they send what waits, and end.
    pub(crate) fn start(mailer: Arc<dyn Mailer>, shutdown: &Shutdown) -> Self {
        let (mails, waiting) = mpsc::channel(WAITING_MAILS_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..SENDERS {
            shutdown.spawn(send_each(waiting.clone(), mailer.clone(), shutdown.clone()));
        }
        Self { mails }
    }

    /// Queues the mail, or a place without one if it must not be delivered.
    pub(crate) fn push(&self, mail: Message, deliver: bool) -> Result<(), Full> {
        let outgoing = if deliver { Outgoing::Mail(Box::new(mail)) } else { Outgoing::Nothing };
        self.mails.try_send(outgoing).map_err(|_| Full)
    }
}

async fn send_each(
    waiting: Arc<Mutex<mpsc::Receiver<Outgoing>>>,
    mailer: Arc<dyn Mailer>,
    shutdown: Shutdown,
) {
    while let Some(outgoing) = next(&waiting, &shutdown).await {
        let Outgoing::Mail(mail) = outgoing else { continue };
        if let Err(error) = send(&*mailer, *mail, &shutdown).await {
            tracing::error!(error.cause = %error, "a mail with a code was not sent");
        }
    }
}

/// Sends a mail, and again if the server could not be reached or had no time: such a mail was not taken, but for
/// the rare case of a connection that broke at the very end, when two will arrive.
async fn send(mailer: &dyn Mailer, mail: Message, shutdown: &Shutdown) -> Result<(), NotSent> {
    let mut delays = RETRY_DELAYS.into_iter();
    loop {
        let sent = time::timeout(SENDING_TIME_MAX, mailer.send(mail.clone())).await;
        let error = match sent.unwrap_or(Err(NotSent::Unreachable("it took too long"))) {
            Err(error @ (NotSent::Unreachable(_) | NotSent::Later(_))) => error,
            other => return other,
        };
        let Some(delay) = delays.next() else { return Err(error) };
        tracing::warn!(error.cause = %error, "a mail with a code waits to be sent again");
        tokio::select! {
            () = time::sleep(delay) => {}
            () = shutdown.begun() => return Err(error),
        }
    }
}

async fn next(waiting: &Mutex<mpsc::Receiver<Outgoing>>, shutdown: &Shutdown) -> Option<Outgoing> {
    let mut waiting = waiting.lock().await;
    tokio::select! {
        biased;
        outgoing = waiting.recv() => outgoing,
        () = shutdown.begun() => {
            waiting.close();
            waiting.recv().await
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use skein_ops::lifecycle::Outcome;
    use tokio::sync::Semaphore;

    use super::*;

    /// Lets a mail pass for each permit.
    struct Gate(Semaphore, mpsc::Sender<()>);

    #[async_trait]
    impl Mailer for Gate {
        async fn send(&self, _mail: Message) -> Result<(), NotSent> {
            self.0.acquire().await.expect("never closed").forget();
            self.1.try_send(()).expect("room for each mail");
            Ok(())
        }
    }

    /// Is away for the first tries.
    struct Away(std::sync::atomic::AtomicUsize);

    #[async_trait]
    impl Mailer for Away {
        async fn send(&self, _mail: Message) -> Result<(), NotSent> {
            let one_less = |left: usize| left.checked_sub(1);
            let order = std::sync::atomic::Ordering::Relaxed;
            match self.0.fetch_update(order, order, one_less) {
                Ok(_) => Err(NotSent::Unreachable("the connection failed")),
                Err(_) => Ok(()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tries_again_while_the_server_is_away_but_not_for_ever() {
        for (failures, sent) in [(0, true), (3, true), (4, false)] {
            let away = Away(failures.into());
            let result = send(&away, mail(), &Shutdown::new()).await;
            assert_eq!(result.is_ok(), sent, "{failures}");
        }
    }

    fn mail() -> Message {
        Message::builder()
            .from("a@example.org".parse().expect("a mailbox"))
            .to("b@example.org".parse().expect("a mailbox"))
            .body(String::new())
            .expect("a mail")
    }

    #[tokio::test]
    async fn is_full_at_its_limit_and_empties_before_it_ends() {
        let shutdown = Shutdown::new();
        let (sent, mut sent_mails) = mpsc::channel(WAITING_MAILS_MAX + SENDERS);
        let gate = Arc::new(Gate(Semaphore::new(0), sent));
        let queue = Queue::start(gate.clone(), &shutdown);
        // Nothing has yielded to the senders yet, so the queue alone takes them.
        for number in 0..WAITING_MAILS_MAX {
            assert_eq!(queue.push(mail(), number != 0), Ok(()));
        }
        assert_eq!(queue.push(mail(), true), Err(Full));
        assert_eq!(queue.push(mail(), false), Err(Full), "the same without a mail");

        shutdown.begin();
        gate.0.add_permits(WAITING_MAILS_MAX);
        assert_eq!(shutdown.finish(Duration::from_secs(60)).await, Outcome::Clean);
        assert_eq!(queue.push(mail(), true), Err(Full), "the senders are gone");
        drop(gate);
        let mut count = 0;
        while sent_mails.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, WAITING_MAILS_MAX - 1, "all but the one without a mail");
    }
}
