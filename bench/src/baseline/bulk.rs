//! The raw quinn side of `transfer` and `loss`: the same bytes on one stream.

use std::{
    path::Path as Folder,
    time::{Duration, Instant},
};

use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use skein_testkit::{
    network::{Path, UdpRelay},
    transfer::Synthetic,
};
use tokio::time::timeout;

use super::{kind, process::Baseline};
use crate::failure::Failure;

/// Why a stream is given up, which nobody asks.
const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// What the process does with the bytes that it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// Nothing.
    Discard,
    /// Writes them to a file and syncs it after each MiB.
    Persist,
}

/// How many bytes have arrived in how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// A connection to a raw quinn process.
pub(crate) struct Bulk {
    _baseline: Baseline,
    _relay: Option<UdpRelay>,
    _endpoint: Endpoint,
    connection: Connection,
}

impl Bulk {
    /// Starts the process and connects to it. What it persists goes into `folder`.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn start(folder: &Folder) -> Result<Self, Failure> {
        let baseline = Baseline::start(folder)?;
        let endpoint = baseline.endpoint()?;
        let connection = baseline.connect(&endpoint).await?;
        Ok(Self { _baseline: baseline, _relay: None, _endpoint: endpoint, connection })
    }

    /// Starts the process and connects to it over a path.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn start_on(path: Path, folder: &Folder) -> Result<Self, Failure> {
        let baseline = Baseline::start(folder)?;
        let relay = UdpRelay::start_on(path, baseline.address());
        let relay = relay.map_err(Failure::machine("open a relay"))?;
        let endpoint = baseline.endpoint()?;
        let connection = baseline.connect_at(&endpoint, relay.address()).await?;
        Ok(Self { _baseline: baseline, _relay: Some(relay), _endpoint: endpoint, connection })
    }

    /// Sends the file; gives the seconds until the process has said that it has done its part.
    ///
    /// # Errors
    /// If it did not take all bytes.
    pub(crate) async fn upload(&self, file: &Synthetic, fate: Fate) -> Result<f64, Failure> {
        let begun = Instant::now();
        let (mut send, mut receive) = self.open().await?;
        send_all(&mut send, fate, file).await?;
        is_all("raw quinn upload", file.size, taken(&mut receive).await?)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Sends the file, to be thrown away, until the process has counted it or `limit` is over.
    ///
    /// # Errors
    /// If it was over and not all bytes were taken, or the process is gone.
    pub(crate) async fn upload_within(
        &self,
        file: &Synthetic,
        limit: Duration,
    ) -> Result<Moved, Failure> {
        let begun = Instant::now();
        let (mut send, mut receive) = self.open().await?;
        let whole = timeout(limit, async {
            send_all(&mut send, Fate::Discard, file).await?;
            taken(&mut receive).await
        });
        if let Ok(bytes) = whole.await {
            let bytes = is_all("raw quinn upload", file.size, bytes?)?;
            return Ok(Moved { bytes, seconds: begun.elapsed().as_secs_f64() });
        }
        let seconds = begun.elapsed().as_secs_f64();
        // Where everything is there by now, there is nothing left to give up.
        send.reset(GIVEN_UP).ok();
        Ok(Moved { bytes: taken(&mut receive).await?, seconds })
    }

    /// Has as many bytes sent; gives the seconds until the last is here.
    ///
    /// # Errors
    /// If some do not come.
    pub(crate) async fn download(&self, size: u64) -> Result<f64, Failure> {
        let begun = Instant::now();
        let mut receive = self.ask(size).await?;
        let mut taken = 0;
        take_all(&mut receive, &mut taken).await?;
        is_all("raw quinn download", size, taken)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Has as many bytes sent, until the last is here or `limit` is over since the first came.
    ///
    /// # Errors
    /// If the stream was over and some had not come.
    pub(crate) async fn download_within(
        &self,
        size: u64,
        limit: Duration,
    ) -> Result<Moved, Failure> {
        let mut receive = self.ask(size).await?;
        let mut bytes = take(&mut receive).await?.unwrap_or(0);
        let begun = Instant::now();
        let whole = timeout(limit, take_all(&mut receive, &mut bytes)).await;
        let seconds = begun.elapsed().as_secs_f64();
        match whole {
            Ok(whole) => {
                whole?;
                is_all("raw quinn download", size, bytes)?;
            }
            // Where the last bytes have come by now, there is nothing left to give up.
            Err(_) => {
                receive.stop(GIVEN_UP).ok();
            }
        }
        Ok(Moved { bytes, seconds })
    }

    async fn open(&self) -> Result<(SendStream, RecvStream), Failure> {
        self.connection.open_bi().await.map_err(Failure::baseline("take a stream"))
    }

    /// A stream on which as many bytes come.
    async fn ask(&self, size: u64) -> Result<RecvStream, Failure> {
        let (mut send, receive) = self.open().await?;
        let mut open = vec![kind::SEND];
        open.extend_from_slice(&size.to_be_bytes());
        send.write_all(&open).await.map_err(Failure::baseline("take bytes"))?;
        Ok(receive)
    }
}

/// Sends the whole file.
async fn send_all(send: &mut SendStream, fate: Fate, file: &Synthetic) -> Result<(), Failure> {
    let kind = match fate {
        Fate::Discard => kind::DISCARD,
        Fate::Persist => kind::PERSIST,
    };
    send.write_all(&[kind]).await.map_err(Failure::baseline("take bytes"))?;
    let mut sent = 0;
    while sent < file.size {
        let piece = file.piece(sent, file.size - sent);
        sent += piece.len() as u64;
        send.write_chunk(piece).await.map_err(Failure::baseline("take bytes"))?;
    }
    send.finish().map_err(Failure::baseline("take bytes"))
}

/// How many bytes the process says that it has taken.
async fn taken(receive: &mut RecvStream) -> Result<u64, Failure> {
    let mut taken = [0; 8];
    receive.read_exact(&mut taken).await.map_err(Failure::baseline("answer"))?;
    Ok(u64::from_be_bytes(taken))
}

/// Takes what has come; says how much that is, or that it was all.
async fn take(receive: &mut RecvStream) -> Result<Option<u64>, Failure> {
    let chunk = receive.read_chunk(usize::MAX, true).await;
    let chunk = chunk.map_err(Failure::baseline("send"))?;
    Ok(chunk.map(|chunk| chunk.bytes.len() as u64))
}

/// Takes everything that comes, and counts it.
async fn take_all(receive: &mut RecvStream, bytes: &mut u64) -> Result<(), Failure> {
    while let Some(more) = take(receive).await? {
        *bytes += more;
    }
    Ok(())
}

fn is_all(what: &'static str, size: u64, bytes: u64) -> Result<u64, Failure> {
    if bytes == size { Ok(bytes) } else { Err(Failure::WrongBytes(what)) }
}
