//! Downloads: a range of a complete blob, or of its thumbnail, piece by piece.

use async_trait::async_trait;
use bytes::Bytes;
use metrics::counter;
use skein_blob::depot::Reader;
use skein_core::{
    id::BlobId,
    name::MediaType,
    port::resource::{BlobInfo, DownloadSource, OpenDownload, Thumbnail, Variant},
    refusal::{Code, Refusal},
};

use crate::{ResourceError, metric, role::Parts};

/// Gives the pieces; without a reader there is nothing to give.
struct Pieces(Option<Reader>);

/// See [`Resource::open_download`](skein_core::port::resource::Resource::open_download).
pub(crate) async fn open(
    parts: &Parts,
    blob: BlobId,
    variant: Variant,
    offset: u64,
    length: Option<u64>,
) -> Result<OpenDownload, Refusal> {
    let found = parts.records.blob(blob).await.map_err(|error| error.into_refusal())?;
    let info = found.ok_or_else(|| Refusal::not_found("file"))?;
    let (size, media_type, hash) = match variant {
        Variant::Original => (info.size, info.media_type, Some(info.hash)),
        Variant::Thumbnail => {
            ready(&info)?;
            let size = parts.depot.size(blob, variant).await;
            let size = size.map_err(|error| ResourceError::from(error).into_refusal())?;
            let size = size.ok_or_else(|| {
                tracing::error!(%blob, "the bytes of a finished thumbnail are gone");
                Refusal::internal()
            })?;
            (size, MediaType::parse("image/jpeg")?, None)
        }
    };
    let left = left(size, offset)?;
    let length = length.map_or(left, |length| length.min(left));
    let reader = if length == 0 {
        None
    } else {
        let reader = parts.depot.read(blob, variant, offset..offset + length).await;
        Some(reader.map_err(|error| ResourceError::from(error).into_refusal())?)
    };
    Ok(OpenDownload { size, media_type, hash, length, source: Box::new(Pieces(reader)) })
}

/// Bytes that follow on `offset`.
pub(crate) fn left(size: u64, offset: u64) -> Result<u64, Refusal> {
    size.checked_sub(offset).ok_or_else(|| {
        Refusal::new(Code::WrongOffset, format!("the file has {size} bytes, fewer than {offset}"))
    })
}

fn ready(info: &BlobInfo) -> Result<(), Refusal> {
    match info.thumbnail {
        Thumbnail::Ready => Ok(()),
        Thumbnail::Pending => {
            let message = "the small version is still being made; try again in a moment";
            Err(Refusal::new(Code::ThumbnailPending, message))
        }
        Thumbnail::None if !info.media_type.is_image() => Err(Refusal::not_found("thumbnail")),
        // What claims to be a picture and is none, or one beyond the limits.
        Thumbnail::None | Thumbnail::Failed => {
            let message = "the file is no picture that this server can make smaller";
            Err(Refusal::new(Code::BadPicture, message))
        }
    }
}

#[async_trait]
impl DownloadSource for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        match &mut self.0 {
            None => Ok(None),
            Some(reader) => {
                let piece = reader.next().await;
                let piece = piece.map_err(|error| ResourceError::from(error).into_refusal())?;
                let bytes = piece.as_ref().map_or(0, Bytes::len);
                counter!(metric::SENT_BYTES).increment(bytes as u64);
                Ok(piece)
            }
        }
    }
}
