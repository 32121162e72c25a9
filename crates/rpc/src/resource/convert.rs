//! The words of the resource role on the wire and in the domain.

use bytes::Bytes;
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    name::MediaType,
    port::resource::{BlobInfo, Offsets, Thumbnail, UploadOf, UploadSpec},
    refusal::Refusal,
};

use crate::{pb, refusal::Malformed};

pub(super) fn open_to(account: AccountId, spec: UploadSpec) -> pb::UploadOpen {
    pb::UploadOpen {
        account: account.0,
        id: bytes(&spec.id.0),
        size: spec.size,
        media_type: spec.media_type.as_str().to_owned(),
        hash: bytes(&spec.hash),
    }
}

/// The refusal of a bad media type says what would be accepted, because it came from a client.
pub(super) fn open_of(open: pb::UploadOpen) -> Result<(AccountId, UploadSpec), Refusal> {
    let spec = UploadSpec {
        id: UploadId::try_from(&open.id[..]).map_err(|_| Malformed("id"))?,
        size: open.size,
        media_type: MediaType::parse(open.media_type)?,
        hash: hash(&open.hash)?,
    };
    Ok((AccountId(open.account), spec))
}

pub(super) fn follow_to(upload: UploadOf, offset: u64, length: Option<u64>) -> pb::FollowRequest {
    let (account, id, blob) = (upload.account.0, bytes(&upload.id.0), bytes(&upload.blob.0));
    pb::FollowRequest { account, id, blob, offset, length }
}

pub(super) fn followed_of(asked: &pb::FollowRequest) -> Result<UploadOf, Malformed> {
    Ok(UploadOf {
        account: AccountId(asked.account),
        id: UploadId::try_from(&asked.id[..]).map_err(|_| Malformed("id"))?,
        blob: blob(&asked.blob)?,
    })
}

pub(super) fn offsets_to(offsets: Offsets) -> pb::Offsets {
    pb::Offsets { received: offsets.received, durable: offsets.durable }
}

pub(super) fn offsets_of(offsets: pb::Offsets) -> Offsets {
    Offsets { received: offsets.received, durable: offsets.durable }
}

pub(super) fn info_to(info: BlobInfo) -> pb::BlobInfo {
    let thumbnail = match info.thumbnail {
        Thumbnail::None => pb::Thumbnail::None,
        Thumbnail::Pending => pb::Thumbnail::Pending,
        Thumbnail::Ready => pb::Thumbnail::Ready,
        Thumbnail::Failed => pb::Thumbnail::Failed,
    };
    pb::BlobInfo {
        id: bytes(&info.id.0),
        uploader: info.uploader.0,
        size: info.size,
        media_type: info.media_type.as_str().to_owned(),
        hash: bytes(&info.hash),
        dimensions: info.dimensions.map(|(width, height)| pb::Dimensions { width, height }),
        thumbnail: thumbnail.into(),
    }
}

pub(super) fn info_of(info: pb::BlobInfo) -> Result<BlobInfo, Malformed> {
    let thumbnail = match pb::Thumbnail::try_from(info.thumbnail) {
        Ok(pb::Thumbnail::None) => Thumbnail::None,
        Ok(pb::Thumbnail::Pending) => Thumbnail::Pending,
        Ok(pb::Thumbnail::Ready) => Thumbnail::Ready,
        Ok(pb::Thumbnail::Failed) => Thumbnail::Failed,
        Err(_) => return Err(Malformed("thumbnail")),
    };
    Ok(BlobInfo {
        id: blob(&info.id)?,
        uploader: AccountId(info.uploader),
        size: info.size,
        media_type: media_type(info.media_type)?,
        hash: hash(&info.hash)?,
        dimensions: info.dimensions.map(|pixels| (pixels.width, pixels.height)),
        thumbnail,
    })
}

pub(super) fn blob(id: &[u8]) -> Result<BlobId, Malformed> {
    BlobId::try_from(id).map_err(|_| Malformed("blob"))
}

pub(super) fn hash(hash: &[u8]) -> Result<[u8; 32], Malformed> {
    hash.try_into().map_err(|_| Malformed("hash"))
}

pub(super) fn media_type(text: String) -> Result<MediaType, Malformed> {
    MediaType::parse(text).map_err(|_| Malformed("media_type"))
}

pub(super) fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
