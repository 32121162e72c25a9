//! Uploads and downloads on the wire.

use skein_core::{
    id::{BlobId, UploadId},
    name::MediaType,
    port::resource::{Offsets, UploadSpec, Variant},
};

use crate::{Malformed, body, hash, pb};

impl TryFrom<pb::UploadOpen> for UploadSpec {
    type Error = Malformed;

    fn try_from(open: pb::UploadOpen) -> Result<Self, Malformed> {
        Ok(Self {
            id: UploadId::try_from(&open.id[..]).map_err(Malformed::id("id"))?,
            size: open.size,
            media_type: MediaType::parse(open.media_type).map_err(Malformed::text("media_type"))?,
            hash: hash("blake3", &open.blake3)?,
        })
    }
}

impl From<UploadSpec> for pb::UploadOpen {
    fn from(spec: UploadSpec) -> Self {
        Self {
            id: spec.id.0.to_vec().into(),
            size: spec.size,
            media_type: spec.media_type.as_str().to_owned(),
            blake3: spec.hash.to_vec().into(),
        }
    }
}

impl From<Offsets> for pb::UploadProgress {
    fn from(offsets: Offsets) -> Self {
        Self { received: offsets.received, durable: offsets.durable }
    }
}

/// Which bytes a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadRequest {
    /// Of which blob.
    pub blob: BlobId,
    /// Of which of its forms.
    pub variant: Variant,
    /// From which byte on.
    pub offset: u64,
    /// How many at most; `None` for all.
    pub length: Option<u64>,
}

impl TryFrom<pb::DownloadOpen> for DownloadRequest {
    type Error = Malformed;

    fn try_from(open: pb::DownloadOpen) -> Result<Self, Malformed> {
        Ok(Self {
            blob: body::blob_of(&open.blob)?,
            variant: if open.thumbnail { Variant::Thumbnail } else { Variant::Original },
            offset: open.offset,
            length: (open.length != 0).then_some(open.length),
        })
    }
}

impl From<DownloadRequest> for pb::DownloadOpen {
    fn from(request: DownloadRequest) -> Self {
        Self {
            blob: request.blob.0.to_vec().into(),
            offset: request.offset,
            length: request.length.unwrap_or(0),
            thumbnail: request.variant == Variant::Thumbnail,
        }
    }
}
