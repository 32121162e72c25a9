//! The one thread that writes. It takes as many waiting jobs as there are, runs them in the order
//! of submission inside one transaction, and answers them after the commit: a sync of the disk is
//! shared by all who wait for it.
//!
//! Each job has a savepoint, so that one that is refused or fails takes back only itself. Every
//! answer waits for the commit, that of a refusal too: it may rest on what a neighbour has just
//! written.

mod last;

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task,
};
use tracing::Span;

use self::last::Last;
use super::fault::{Fault, Obstacle, failed, unavailable};
use crate::{StoreError, metric};

/// Jobs in one transaction at most. Beyond a few hundred, the cost of the sync no longer shows,
/// and the first of the batch would wait for the last.
const BATCH_JOBS_MAX: usize = 512;
/// Jobs that wait for the writer; a further one waits outside.
const QUEUE_JOBS_MAX: usize = 1024;

/// A job's way into the writer's thread and back.
pub(super) struct Writer {
    /// Taken only on drop, to let the thread end.
    queue: Option<mpsc::Sender<Message>>,
    last: Last,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        let last = Last::default();
        let told = last.clone();
        let thread = thread::Builder::new()
            .name("skein-store-writer".into())
            .spawn(move || write_until_closed(&connection, jobs, &told))?;
        Ok(Self { queue: Some(queue), last, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `work` in the next transaction and returns its result once that is durable. If the
    /// caller goes away meanwhile, the work is done all the same.
    pub(super) async fn submit<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let span = Span::current();
        let job = Pending { doing, work: Some(work), result: None, span, answer };
        let queue = self.queue.as_ref().ok_or_else(|| failed(doing, WriteFailed::Closed))?;
        queue
            .send(Message::Job(Box::new(job)))
            .await
            .map_err(|_| failed(doing, WriteFailed::Closed))?;
        answered.await.map_err(|_| failed(doing, WriteFailed::Closed))?
    }

    /// What was in the way of the last batch.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        self.last.obstacle()
    }

    /// Lets the thread finish what was submitted, and waits for its end.
    pub(super) async fn close(&self) {
        if let Some(queue) = &self.queue {
            // An error says that it was closed before; its end is awaited just the same.
            queue.send(Message::Close).await.ok();
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = task::spawn_blocking(move || join(thread)).await;
            if let Err(error) = joined {
                tracing::error!(error.cause = %error, "the store's writer was not awaited");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            join(thread);
        }
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the store's writer has panicked");
    }
}

/// Why nothing, or not this, was written.
#[derive(Debug, Error)]
enum WriteFailed {
    #[error("the store is closed")]
    Closed,
    #[error("the batch was not committed: {0}")]
    Batch(String),
}

/// Why a whole batch was given up.
struct Broken {
    /// To follow "the batch was not committed".
    cause: String,
    /// What may go away by itself.
    obstacle: Option<Obstacle>,
}

impl Broken {
    fn because(cause: &str) -> Self {
        Self { cause: cause.into(), obstacle: None }
    }

    /// The answer for a caller whose job was in the batch.
    fn answer(&self, doing: &'static str) -> StoreError {
        let source = WriteFailed::Batch(self.cause.clone());
        match self.obstacle {
            Some(_) => unavailable(doing, source),
            None => failed(doing, source),
        }
    }
}

impl From<rusqlite::Error> for Broken {
    fn from(error: rusqlite::Error) -> Self {
        let obstacle = Obstacle::of(&error);
        let cause = obstacle.map_or_else(|| error.to_string(), |it| format!("{it} ({error})"));
        Self { cause, obstacle }
    }
}

enum Message {
    Job(Box<dyn Job>),
    Close,
}

/// A job with its type hidden, so that one queue carries all.
trait Job: Send {
    /// Does the work inside the open transaction and keeps the result. An error is not the job's
    /// own: it ends the batch.
    fn run(&mut self, connection: &Connection) -> Result<(), Broken>;

    /// Tells the caller the result, or why the batch is not durable.
    fn answer(self: Box<Self>, failure: Option<&Broken>);
}

struct Pending<T, F> {
    doing: &'static str,
    work: Option<F>,
    result: Option<Result<T, Fault>>,
    /// The caller's, so that what is logged meanwhile has the id of its request.
    span: Span,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Fault> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), Broken> {
        let _in_span = self.span.enter();
        tracing::debug!("the batch comes to: {}", self.doing);
        if let Some(work) = self.work.take() {
            self.result = Some(in_savepoint(connection, work)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<&Broken>) {
        let answer = match (self.result, failure) {
            (_, Some(broken)) => Err(broken.answer(self.doing)),
            (Some(result), None) => result.map_err(|fault| fault.while_doing(self.doing)),
            (None, None) => Err(Broken::because("it was not run").answer(self.doing)),
        };
        // The caller may have gone away: then nobody waits for the answer.
        self.answer.send(answer).ok();
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<Result<T, Fault>, Broken> {
    execute(connection, "SAVEPOINT job")?;
    let result = work(connection);
    let result = match result {
        // The others of the batch are not done either: what comes behind a job that will be tried
        // again must not overtake it.
        Err(Fault::Database(error)) if Obstacle::of(&error).is_some() => return Err(error.into()),
        // After an error SQLite may roll everything back by itself.
        Err(Fault::Database(error)) if connection.is_autocommit() => return Err(error.into()),
        _ if connection.is_autocommit() => {
            return Err(Broken::because("its transaction has ended early"));
        }
        result => result,
    };
    if result.is_err() {
        execute(connection, "ROLLBACK TO job")?;
    }
    execute(connection, "RELEASE job")?;
    Ok(result)
}

fn write_until_closed(connection: &Connection, mut queue: mpsc::Receiver<Message>, last: &Last) {
    let mut messages = Vec::with_capacity(BATCH_JOBS_MAX);
    let mut jobs = Vec::with_capacity(BATCH_JOBS_MAX);
    while queue.blocking_recv_many(&mut messages, BATCH_JOBS_MAX) > 0 {
        metric::queue(messages.len() + queue.len());
        for message in messages.drain(..) {
            match message {
                Message::Job(job) => jobs.push(job),
                // What is in the queue is still done; nothing more gets in.
                Message::Close => queue.close(),
            }
        }
        write_batch(connection, &mut jobs, &mut queue, last);
    }
    if let Err(error) = checkpoint(connection) {
        tracing::warn!(error.cause = %error, "the write-ahead log stays for the next start");
    }
}

fn write_batch(
    connection: &Connection,
    jobs: &mut Vec<Box<dyn Job>>,
    queue: &mut mpsc::Receiver<Message>,
    last: &Last,
) {
    if jobs.is_empty() {
        return;
    }
    metric::batch(jobs.len());
    let failure = commit_all(connection, jobs).err();
    last.set(failure.as_ref(), jobs.len());
    if failure.as_ref().is_some_and(|broken| broken.obstacle.is_some()) {
        take_queued(queue, jobs);
    }
    for job in jobs.drain(..) {
        job.answer(failure.as_ref());
    }
}

/// Adds what is in the queue at this moment to a batch that an obstacle was in the way of. Callers
/// will try its jobs again, and what they submitted behind them must not overtake them.
fn take_queued(queue: &mut mpsc::Receiver<Message>, jobs: &mut Vec<Box<dyn Job>>) {
    for _ in 0..queue.len() {
        match queue.try_recv() {
            Ok(Message::Job(job)) => jobs.push(job),
            Ok(Message::Close) => queue.close(),
            Err(_) => return,
        }
    }
}

fn commit_all(connection: &Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), Broken> {
    // A rollback that failed once must not be in the way of every later batch.
    roll_back(connection)?;
    execute(connection, "BEGIN IMMEDIATE")?;
    let done = jobs
        .iter_mut()
        .try_for_each(|job| run_caught(job.as_mut(), connection))
        .and_then(|()| Ok(execute(connection, "COMMIT")?));
    if done.is_err()
        && let Err(error) = roll_back(connection)
    {
        tracing::error!(error.cause = %error, "a failed batch waits to be rolled back");
    }
    done
}

/// Ends the transaction without keeping anything of it, if one is open.
fn roll_back(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() { Ok(()) } else { execute(connection, "ROLLBACK") }
}

/// A panic is a mistake in one operation. Without the writer, the service would go on without ever
/// writing again; so it costs the batch, which is rolled back, and no more.
fn run_caught(job: &mut dyn Job, connection: &Connection) -> Result<(), Broken> {
    panic::catch_unwind(AssertUnwindSafe(|| job.run(connection)))
        .unwrap_or_else(|_| Err(Broken::because("one of its jobs has panicked")))
}

/// Runs a statement without parameters; prepared once, because each job needs a few.
fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::{Pin, pin},
        task::Poll,
    };

    use super::*;

    #[tokio::test]
    async fn a_transaction_that_was_left_open_is_rolled_back_by_the_next_batch() {
        let connection = Connection::open_in_memory().unwrap();
        let begun = "CREATE TABLE t (n INTEGER); BEGIN; INSERT INTO t VALUES (1)";
        connection.execute_batch(begun).unwrap();
        let writer = Writer::start(connection).unwrap();
        for rows in 0..3 {
            let work = |db: &Connection| {
                db.execute("INSERT INTO t VALUES (2)", [])?;
                Ok(db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))?)
            };
            assert_eq!(writer.submit("test", work).await.unwrap(), rows + 1);
        }
    }

    /// Calls without waiting for the answer, while the thread is busy.
    async fn begun<T>(mut call: Pin<&mut impl Future<Output = T>>) {
        poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending(), "the thread is busy");
            Poll::Ready(())
        })
        .await;
    }

    fn insert(bytes: i64) -> impl FnOnce(&Connection) -> Result<(), Fault> + Send + 'static {
        move |db| Ok(db.execute("INSERT INTO t VALUES (zeroblob(?1))", [bytes]).map(drop)?)
    }

    /// The small one is in the batch of the large one, or in the queue behind that batch.
    #[tokio::test]
    async fn nothing_overtakes_a_job_that_found_no_room() {
        const LARGE: i64 = 1 << 20;
        let connection = Connection::open_in_memory().unwrap();
        let small = "CREATE TABLE t (n BLOB); PRAGMA max_page_count = 8";
        connection.execute_batch(small).unwrap();
        let writer = Writer::start(connection).unwrap();
        for is_alone in [true, false] {
            let (started, has_started) = oneshot::channel();
            let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
            let mut busy = pin!(writer.submit("wait", move |db: &Connection| {
                started.send(()).unwrap();
                may_go_on.recv().unwrap();
                insert(if is_alone { LARGE } else { 10 })(db)
            }));
            begun(busy.as_mut()).await;
            has_started.await.unwrap();
            let bytes = if is_alone { 10 } else { LARGE };
            let mut second = pin!(writer.submit("write", insert(bytes)));
            begun(second.as_mut()).await;
            let mut third = pin!(writer.submit("write", insert(10)));
            begun(third.as_mut()).await;
            go_on.send(()).unwrap();
            assert_eq!(busy.await.is_err(), is_alone);
            for refused in [second.await, third.await] {
                assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
            }
            writer.submit("write", insert(10)).await.unwrap();
        }
    }
}
