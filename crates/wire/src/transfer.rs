//! Uploads and downloads on the wire.

use skein_core::{
    coming::{Coming, Destination},
    id::{AccountId, BlobId, ConversationId, UploadId},
    name::{FileName, MediaType},
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
            destination: None,
        }
    }
}

impl TryFrom<pb::Destination> for Destination {
    type Error = Malformed;

    fn try_from(destination: pb::Destination) -> Result<Self, Malformed> {
        Ok(Self {
            conversation: ConversationId(destination.conversation),
            name: FileName::parse(destination.name).map_err(Malformed::text("destination.name"))?,
        })
    }
}

impl From<Destination> for pb::Destination {
    fn from(destination: Destination) -> Self {
        let name = destination.name.as_str().to_owned();
        Self { conversation: destination.conversation.0, name }
    }
}

impl From<Coming> for pb::Coming {
    fn from(coming: Coming) -> Self {
        Self {
            conversation: coming.conversation.0,
            uploader: coming.uploader.0,
            file: Some(coming.attachment.into()),
        }
    }
}

impl TryFrom<pb::Coming> for Coming {
    type Error = Malformed;

    fn try_from(coming: pb::Coming) -> Result<Self, Malformed> {
        let attachment = coming.file.ok_or_else(|| Malformed::missing("coming.file"))?;
        Ok(Self {
            conversation: ConversationId(coming.conversation),
            uploader: AccountId(coming.uploader),
            attachment: attachment.try_into()?,
        })
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
