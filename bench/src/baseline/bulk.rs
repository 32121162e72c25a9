//! The raw quinn side of `transfer`: the same bytes on one stream.

use std::{path::Path, time::Instant};

use quinn::{Connection, Endpoint};
use skein_testkit::transfer::Synthetic;

use super::{kind, process::Baseline};
use crate::failure::Failure;

/// What the process does with the bytes that it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// Nothing.
    Discard,
    /// Writes them to a file and syncs it after each MiB.
    Persist,
}

/// A connection to a raw quinn process.
pub(crate) struct Bulk {
    _baseline: Baseline,
    _endpoint: Endpoint,
    connection: Connection,
}

impl Bulk {
    /// Starts the process and connects to it. What it persists goes into `folder`.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn start(folder: &Path) -> Result<Self, Failure> {
        let baseline = Baseline::start(folder)?;
        let endpoint = baseline.endpoint()?;
        let connection = baseline.connect(&endpoint).await?;
        Ok(Self { _baseline: baseline, _endpoint: endpoint, connection })
    }

    /// Sends the file; gives the seconds until the process has said that it has done its part.
    ///
    /// # Errors
    /// If it did not take all bytes.
    pub(crate) async fn upload(&self, file: &Synthetic, fate: Fate) -> Result<f64, Failure> {
        let begun = Instant::now();
        let opened = self.connection.open_bi().await;
        let (mut send, mut receive) = opened.map_err(Failure::baseline("take a stream"))?;
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
        send.finish().map_err(Failure::baseline("take bytes"))?;
        let mut taken = [0; 8];
        receive.read_exact(&mut taken).await.map_err(Failure::baseline("answer"))?;
        if u64::from_be_bytes(taken) != file.size {
            return Err(Failure::WrongBytes("raw quinn upload"));
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Has as many bytes sent; gives the seconds until the last is here.
    ///
    /// # Errors
    /// If some do not come.
    pub(crate) async fn download(&self, size: u64) -> Result<f64, Failure> {
        let begun = Instant::now();
        let opened = self.connection.open_bi().await;
        let (mut send, mut receive) = opened.map_err(Failure::baseline("take a stream"))?;
        let mut open = vec![kind::SEND];
        open.extend_from_slice(&size.to_be_bytes());
        send.write_all(&open).await.map_err(Failure::baseline("take bytes"))?;
        let mut taken = 0;
        loop {
            let chunk = receive.read_chunk(usize::MAX, true).await;
            let Some(chunk) = chunk.map_err(Failure::baseline("send"))? else { break };
            taken += chunk.bytes.len() as u64;
        }
        if taken != size {
            return Err(Failure::WrongBytes("raw quinn download"));
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}
