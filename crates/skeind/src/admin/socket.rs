//! The way from `skeind admin` to a running server: a Unix socket in the data folder, which only
//! the folder's owner may use. One order a connection, one line of JSON each way.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use skein_ops::lifecycle::Shutdown;
use skein_store::postgres::REPORT_MAX;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

use crate::operator::{Answer, Failure, Operator, Order};

/// Bytes in an order: far more than any has.
const ORDER_BYTES_MAX: u64 = 64 * 1024;
/// Bytes in an answer: five hundred accounts with the longest names and addresses fit.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long an order may take to arrive.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server may take for each of: the connection, to take an order. One that hangs is
/// told of instead of waited for.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to answer most orders: they ask the store five times at most, which answers
/// within ten seconds, and wait some seconds for the bus.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to add up what is stored: what the database may take, and some for a
/// connection to it.
const STORAGE_TIMEOUT: Duration = REPORT_MAX.saturating_add(Duration::from_secs(30));
/// How long it may take to answer that a backup is made: files may have to be copied.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Operators at a time.
const OPERATORS_MAX: usize = 8;
/// Pause after the listener has failed, so that it does not fail all the time.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at `path` until the process ends. The caller has the folder to itself.
///
/// # Errors
/// If there can be no socket.
pub(crate) fn serve(path: &Path, operator: Arc<Operator>, shutdown: &Shutdown) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let (path, shutdown) = (path.to_owned(), shutdown.clone());
    let turns = Arc::new(Semaphore::new(OPERATORS_MAX));
    let tasks = shutdown.clone();
    shutdown.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = tasks.begun() => break,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Ok(turn) = Arc::clone(&turns).try_acquire_owned() else { continue };
            let operator = Arc::clone(&operator);
            tasks.spawn(async move {
                if let Err(error) = answer(stream, &operator).await {
                    tracing::debug!(error.cause = %error, "an operator has gone");
                }
                drop(turn);
            });
        }
        if let Err(error) = fs::remove_file(&path) {
            tracing::debug!(error.cause = %error, "the socket for operators stays behind");
        }
    });
    Ok(())
}

/// How long the answer to an order may take: longer than whoever carries it out waits for its parts,
/// so that it is that one who says what is wrong.
pub(crate) const fn patience(order: &Order) -> Duration {
    match order {
        Order::Backup { .. } => BACKUP_TIMEOUT,
        Order::Storage => STORAGE_TIMEOUT,
        _ => ANSWER_TIMEOUT,
    }
}

/// Whether a server listens there, and if so what it answers within `patience`.
///
/// # Errors
/// If it does not answer.
pub(crate) async fn ask(
    path: &Path,
    order: &Order,
    patience: Duration,
) -> io::Result<Option<Answer>> {
    let mut stream = match in_time(SERVER_TIMEOUT, UnixStream::connect(path)).await {
        Ok(stream) => stream,
        // There is none, or one that a server left behind when it was killed.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    in_time(SERVER_TIMEOUT, stream.write_all(&line)).await?;
    let answer = in_time(patience, read_line(stream, ANSWER_BYTES_MAX)).await?;
    Ok(Some(serde_json::from_slice(&answer)?))
}

async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        let words = format!("it has not said a word for {} s", patience.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, words))
    })
}

async fn answer(mut stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let line = timeout(ORDER_TIMEOUT, read_line(&mut stream, ORDER_BYTES_MAX)).await??;
    let answer = match serde_json::from_slice(&line) {
        Ok(order) => operator.perform(order).await,
        Err(error) => Answer::Failed(Failure::new(
            "malformed",
            format!("the running server is another version, which does not know this: {error}"),
        )),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read_line(
    stream: impl tokio::io::AsyncRead + Unpin,
    bytes_max: u64,
) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(bytes_max)).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        // The kernel takes the connection, and nobody ever does.
        let _listener = UnixListener::bind(&path).unwrap();
        let uploads = Order::Uploads { after: None, limit: 1 };
        for order in [Order::Storage, uploads] {
            let begun = tokio::time::Instant::now();
            let error = ask(&path, &order, patience(&order)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() >= patience(&order), "{order:?}");
        }
    }

    #[test]
    fn the_server_has_longer_than_its_parts() {
        assert!(patience(&Order::Storage) > REPORT_MAX);
        assert!(patience(&Order::Storage) > patience(&Order::Nodes));
    }
}
