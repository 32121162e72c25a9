//! The raw quinn process.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use quinn::{
    Connection, Endpoint, EndpointConfig, ReadError, RecvStream, SendStream, ServerConfig,
    TokioRuntime, WriteError, crypto::rustls::QuicServerConfig,
};
use rustls::{pki_types::PrivateKeyDer, version::TLS13};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, task};

use super::{kind, provider, socket, transport};
use crate::failure::Failure;

/// Bytes that are written before each sync of the disk.
const SYNC_BYTES: usize = 1024 * 1024;
/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// The ALPN of both sides.
pub(super) const ALPN: &[u8] = b"raw";

type Broken = Box<dyn std::error::Error + Send + Sync>;

/// What the process prints once it accepts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) port: u16,
    /// Its certificate, in DER and hexadecimal digits.
    pub(super) certificate: String,
}

/// Serves until standard input ends, which is when the process that started this one ends.
///
/// # Errors
/// If it cannot begin to.
pub(crate) async fn run(folder: PathBuf) -> Result<(), Failure> {
    let (endpoint, ready) = bind().map_err(Failure::baseline("listen"))?;
    println!("{}", serde_json::to_string(&ready).map_err(Failure::baseline("say where it is"))?);
    let folder = Arc::new(folder);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let folder = Arc::clone(&folder);
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    serve(connection, folder).await;
                }
            });
        }
    });
    let end = task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await;
    let end = end.unwrap_or_else(|error| Err(error.into()));
    end.map(drop).map_err(Failure::machine("wait for the end of the input"))
}

fn bind() -> Result<(Endpoint, Ready), Broken> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport(false));
    let (socket, runtime) = (socket()?, Arc::new(TokioRuntime));
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
    let port = endpoint.local_addr()?.port();
    Ok((endpoint, Ready { port, certificate: HEXLOWER.encode(&certificate) }))
}

async fn serve(connection: Connection, folder: Arc<PathBuf>) {
    // Bounded by the streams that the client may open.
    while let Ok((send, receive)) = connection.accept_bi().await {
        let folder = Arc::clone(&folder);
        tokio::spawn(async move {
            // The client sees the stream end early and says so.
            if let Err(error) = serve_stream(send, receive, &folder).await {
                eprintln!("raw quinn: {error}");
            }
        });
    }
}

async fn serve_stream(
    send: SendStream,
    mut receive: RecvStream,
    folder: &Path,
) -> Result<(), Broken> {
    let mut kind = [0];
    receive.read_exact(&mut kind).await?;
    match kind[0] {
        kind::ECHO => echo(send, receive).await,
        kind::DISCARD => {
            let taken = discard(receive).await?;
            answer(send, taken).await
        }
        kind::PERSIST => {
            let taken = persist(receive, folder).await?;
            answer(send, taken).await
        }
        kind::SEND => {
            let size = receive.read_u64().await?;
            serve_bytes(send, size).await
        }
        other => Err(format!("no stream begins with {other}").into()),
    }
}

async fn echo(mut send: SendStream, mut receive: RecvStream) -> Result<(), Broken> {
    // The load generator ends by closing the connection, which is no mistake.
    while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
        if send.write_chunk(chunk.bytes).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Counts what comes, until it ends or the client gives it up.
async fn discard(mut receive: RecvStream) -> Result<u64, ReadError> {
    let mut taken = 0;
    loop {
        match receive.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => taken += chunk.bytes.len() as u64,
            Ok(None) | Err(ReadError::Reset(_)) => return Ok(taken),
            Err(error) => return Err(error),
        }
    }
}

/// Sends so many bytes, or as many as the client wants.
async fn serve_bytes(mut send: SendStream, size: u64) -> Result<(), Broken> {
    let piece = Bytes::from(vec![0x5c; PIECE_BYTES]);
    let mut left = size;
    while left > 0 {
        let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match send.write_chunk(piece.slice(..length)).await {
            Ok(()) => left -= length as u64,
            Err(WriteError::Stopped(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(send.finish()?)
}

/// Writes and syncs a piece at a time, and takes the next in meanwhile as far as the stream's
/// window goes.
async fn persist(mut receive: RecvStream, folder: &Path) -> Result<u64, Broken> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut taken = 0;
    let mut piece = Vec::with_capacity(SYNC_BYTES);
    while let Some(chunk) = receive.read_chunk(SYNC_BYTES - piece.len(), true).await? {
        taken += chunk.bytes.len() as u64;
        piece.extend_from_slice(&chunk.bytes);
        if piece.len() == SYNC_BYTES {
            (file, piece) = write(file, piece).await?;
        }
    }
    write(file, piece).await?;
    Ok(taken)
}

/// One write and one sync; gives the emptied piece back.
async fn write(mut file: File, mut piece: Vec<u8>) -> io::Result<(File, Vec<u8>)> {
    let written = task::spawn_blocking(move || {
        file.write_all(&piece)?;
        file.sync_data()?;
        piece.clear();
        Ok((file, piece))
    });
    written.await?
}

async fn answer(mut send: SendStream, taken: u64) -> Result<(), Broken> {
    send.write_all(&taken.to_be_bytes()).await?;
    Ok(send.finish()?)
}
