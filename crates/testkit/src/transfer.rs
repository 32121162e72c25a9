//! Uploads and downloads on the wire, of bytes that are made as they are sent: a file of any size
//! without a disk under it.

use std::{fs, io::Write, path::Path};

use bytes::{Bytes, BytesMut};
use skein_core::limit::UPLOAD_AHEAD_BYTES_MAX;
use skein_net::stream::{Receiver, Sender};
use skein_wire::pb::{self, download_status, open, upload_status};

use crate::raw::{RawSession, random_id};

/// Bytes that are made and sent at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// A file whose bytes follow from its seed.
#[derive(Debug, Clone)]
pub struct Synthetic {
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of them all.
    pub hash: [u8; 32],
    pattern: Bytes,
}

impl Synthetic {
    /// A file of `size` bytes. Computing its hash takes about a second for 2 GiB.
    #[must_use]
    pub fn new(size: u64, seed: u8) -> Self {
        let mut pattern = BytesMut::new();
        // A prime length, so that no two pieces of a power of two are alike.
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill({
            pattern.resize(1_048_573, 0);
            &mut pattern
        });
        let mut file = Self { size, hash: [0; 32], pattern: pattern.freeze() };
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < size {
            let piece = file.piece(at, size - at);
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        file.hash = *hasher.finalize().as_bytes();
        file
    }

    /// Some bytes from `offset` on, at most `max` and at least one, without copying.
    #[must_use]
    pub fn piece(&self, offset: u64, max: u64) -> Bytes {
        let period = self.pattern.len() as u64;
        let start = usize::try_from(offset % period).expect("less than the pattern");
        let length = max.min(PIECE_BYTES).min(self.size - offset);
        let end = self.pattern.len().min(start + usize::try_from(length).expect("a piece"));
        self.pattern.slice(start..end)
    }

    /// Writes it to `path`.
    ///
    /// # Panics
    /// If the disk does not take it.
    pub fn write(&self, path: &Path) {
        let mut out = fs::File::create(path).expect("the folder is ours");
        let mut at = 0;
        while at < self.size {
            let piece = self.piece(at, self.size - at);
            out.write_all(&piece).expect("the disk has room");
            at += piece.len() as u64;
        }
    }

    /// The frame that opens its upload.
    #[must_use]
    pub fn open(&self, id: Bytes) -> pb::UploadOpen {
        let blake3 = self.hash.to_vec().into();
        pb::UploadOpen {
            id,
            size: self.size,
            media_type: "application/octet-stream".into(),
            blake3,
            destination: None,
        }
    }
}

/// The next status on an upload stream.
pub async fn status(receiver: &mut Receiver) -> upload_status::Kind {
    let status = receiver.frame::<pb::UploadStatus>().await.expect("the stream goes on");
    status.and_then(|status| status.kind).expect("the stream goes on")
}

/// Opens an upload; gives the stream and the first status.
pub async fn open_upload(
    session: &RawSession,
    open: pb::UploadOpen,
) -> (Sender, Receiver, upload_status::Kind) {
    let (sender, mut receiver) = session.work(open::Kind::Upload(open)).await;
    let first = status(&mut receiver).await;
    (sender, receiver, first)
}

/// Uploads a file from its first byte, never further ahead of the server than a client may be. Gives
/// the blob.
pub async fn upload(session: &RawSession, file: &Synthetic) -> Bytes {
    let (mut sender, mut receiver, first) = open_upload(session, file.open(random_id())).await;
    let upload_status::Kind::Ready(ready) = first else { panic!("{first:?}") };
    let from = ready.received;
    sender.frame(&pb::UploadBegin { offset: from }).await.expect("the stream goes on");
    send_until(&mut sender, &mut receiver, file, from, file.size).await;
    sender.finish();
    loop {
        match status(&mut receiver).await {
            upload_status::Kind::Progress(_) => {}
            upload_status::Kind::Complete(complete) => return complete.blob,
            other => panic!("{other:?}"),
        }
    }
}

/// Sends the bytes from `from` to `until` on an upload stream that is there, never further ahead of
/// the server than a client may be, and waits until the server has them.
pub async fn send_until(
    sender: &mut Sender,
    receiver: &mut Receiver,
    file: &Synthetic,
    from: u64,
    until: u64,
) {
    let (mut sent, mut received) = (from, from);
    while received < until {
        let room = (received + UPLOAD_AHEAD_BYTES_MAX).min(until) - sent;
        if room > 0 {
            let piece = file.piece(sent, room);
            sent += piece.len() as u64;
            sender.bytes(piece).await.expect("the stream goes on");
            continue;
        }
        match status(receiver).await {
            upload_status::Kind::Progress(progress) => received = progress.received,
            other => panic!("{other:?}"),
        }
    }
}

/// Downloads a blob from `offset` to its end; gives the header, the bytes that came and the BLAKE3
/// of them.
pub async fn download(
    session: &RawSession,
    blob: Bytes,
    offset: u64,
) -> Result<(pb::DownloadHeader, u64, [u8; 32]), pb::Error> {
    let open = pb::DownloadOpen { blob, offset, length: 0, thumbnail: false };
    let (mut sender, mut receiver) = session.work(open::Kind::Download(open)).await;
    sender.finish();
    let status = receiver.frame::<pb::DownloadStatus>().await.expect("the stream goes on");
    let header = match status.and_then(|status| status.kind).expect("the stream goes on") {
        download_status::Kind::Header(header) => header,
        download_status::Kind::Error(error) => return Err(error),
    };
    let mut hasher = blake3::Hasher::new();
    let mut length = 0;
    while let Some(bytes) = receiver.bytes(usize::MAX).await.expect("the stream goes on") {
        hasher.update(&bytes);
        length += bytes.len() as u64;
    }
    Ok((header, length, *hasher.finalize().as_bytes()))
}
