//! A download stream: a header, then the bytes.
//!
//! Of a file that is still being sent to a conversation of the account, the bytes come as they are
//! received. If it is never complete, or stands still for too long, the stream is reset.

use skein_core::{
    id::AccountId,
    policy,
    port::resource::{DownloadSource, OpenDownload, Resource, UploadOf, Variant},
    refusal::{Code, Refusal},
};
use skein_net::{priority::Priority, stream::Sender};
use skein_store::{Store, StoreError};
use skein_wire::{
    pb::{self, download_status::Kind},
    transfer::DownloadRequest,
};

use crate::{answer::Answerer, config::Config, connection::in_time, metric};

/// Serves one download stream, and tells the client if it cannot.
pub(crate) async fn serve(
    open: pb::DownloadOpen,
    account: AccountId,
    answerer: &Answerer,
    config: &Config,
    sender: &mut Sender,
) -> Result<(), Refusal> {
    match open_source(open, account, answerer, sender).await {
        Ok((header, mut source)) => {
            say(sender, config, Kind::Header(header)).await?;
            while let Some(bytes) = source.next().await? {
                metric::transferred("down", bytes.len());
                in_time(config.stall_timeout(), sender.bytes(bytes)).await??;
            }
            Ok(())
        }
        Err(refusal) => refuse(refusal, config, sender).await,
    }
}

/// Tells the client that nothing comes of the download.
pub(crate) async fn refuse(
    refusal: Refusal,
    config: &Config,
    sender: &mut Sender,
) -> Result<(), Refusal> {
    say(sender, config, Kind::Error(refusal.into())).await
}

async fn open_source(
    open: pb::DownloadOpen,
    account: AccountId,
    answerer: &Answerer,
    sender: &Sender,
) -> Result<(pb::DownloadHeader, Box<dyn DownloadSource>), Refusal> {
    let request = DownloadRequest::try_from(open)?;
    let DownloadRequest { blob, variant, offset, length } = request;
    sender.prioritise(match variant {
        Variant::Original => Priority::Bulk,
        Variant::Thumbnail => Priority::Thumbnail,
    });
    let (store, resource) = (&*answerer.store, &*answerer.resource);
    let standing = store.blob_standing(account, blob).await.map_err(StoreError::into_refusal)?;
    let opened = match policy::may_read_blob(standing) {
        Ok(()) => resource.open_download(blob, variant, offset, length).await?,
        Err(refusal) if refusal.code == Code::NotFound && variant == Variant::Original => {
            follow(request, account, store, resource).await?
        }
        Err(refusal) => return Err(refusal),
    };
    let header = pb::DownloadHeader {
        size: opened.size,
        media_type: opened.media_type.as_str().to_owned(),
        blake3: opened.hash.map(|hash| hash.to_vec().into()).unwrap_or_default(),
        length: opened.length,
    };
    Ok((header, opened.source))
}

/// A file that no message shows yet, but whose uploader has said for whom it is. It may be complete by
/// now, and only the message on its way.
async fn follow(
    request: DownloadRequest,
    account: AccountId,
    store: &dyn Store,
    resource: &dyn Resource,
) -> Result<OpenDownload, Refusal> {
    let DownloadRequest { blob, offset, length, .. } = request;
    let upload = store.upload_of(blob).await.map_err(StoreError::into_refusal)?;
    let addressed = upload.and_then(|upload| Some((upload.conversation?, upload)));
    let (conversation, upload) = addressed.ok_or_else(|| Refusal::not_found("file"))?;
    let membership = store.membership(account, conversation).await;
    policy::may_follow(membership.map_err(StoreError::into_refusal)?)?;
    let upload = UploadOf { account: upload.account, id: upload.spec.id, blob };
    resource.follow_upload(upload, offset, length).await
}

async fn say(sender: &mut Sender, config: &Config, kind: Kind) -> Result<(), Refusal> {
    let status = pb::DownloadStatus { kind: Some(kind) };
    Ok(in_time(config.stall_timeout(), sender.frame(&status)).await??)
}
