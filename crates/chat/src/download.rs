//! A download stream: a header, then the bytes.
//!
//! Of a file that is still being sent to a conversation of the account, the bytes come as they are
//! received. If it is never complete, or stands still for too long, or the account is no member any
//! more, the stream is reset.

use std::sync::Arc;

use skein_core::{
    id::AccountId,
    policy,
    port::resource::{DownloadSource, OpenDownload, Variant},
    refusal::{Code, Refusal},
};
use skein_net::{priority::Priority, stream::Sender};
use skein_store::StoreError;
use skein_wire::{
    pb::{self, download_status::Kind},
    transfer::DownloadRequest,
};

use crate::{
    answer::Answerer,
    config::Config,
    connection::in_time,
    following::{self, Following},
    metric,
};

/// Serves one download stream, and tells the client if it cannot.
pub(crate) async fn serve(
    open: pb::DownloadOpen,
    account: AccountId,
    answerer: &Answerer,
    config: &Config,
    sender: &mut Sender,
) -> Result<(), Refusal> {
    match open_source(open, account, answerer, sender).await {
        Ok(Opened { header, mut source, mut following }) => {
            say(sender, config, Kind::Header(header)).await?;
            loop {
                let next = match &mut following {
                    // Between two pieces it may be long, and nothing else would show that the
                    // client has gone.
                    Some(following) => following.next(&mut *source, sender.delivered()).await?,
                    None => source.next().await?,
                };
                let Some(bytes) = next else { return Ok(()) };
                metric::transferred("down", bytes.len());
                in_time(config.stall_timeout(), sender.bytes(bytes)).await??;
            }
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

/// What is served.
struct Opened {
    header: pb::DownloadHeader,
    source: Box<dyn DownloadSource>,
    /// Of a file that is still coming.
    following: Option<Following>,
}

async fn open_source(
    open: pb::DownloadOpen,
    account: AccountId,
    answerer: &Answerer,
    sender: &mut Sender,
) -> Result<Opened, Refusal> {
    let request = DownloadRequest::try_from(open)?;
    let DownloadRequest { blob, variant, offset, length } = request;
    sender.prioritise(match variant {
        Variant::Original => Priority::Bulk,
        Variant::Thumbnail => Priority::Thumbnail,
    });
    let (store, resource) = (&*answerer.store, &*answerer.resource);
    let standing = store.blob_standing(account, blob).await.map_err(StoreError::into_refusal)?;
    let (opened, following) = match policy::may_read_blob(standing) {
        Ok(()) => (resource.open_download(blob, variant, offset, length).await?, None),
        Err(refusal) if refusal.code == Code::NotFound && variant == Variant::Original => {
            let (opened, following) = follow(request, account, answerer).await?;
            (opened, Some(following))
        }
        Err(refusal) => return Err(refusal),
    };
    let header = pb::DownloadHeader {
        size: opened.size,
        media_type: opened.media_type.as_str().to_owned(),
        blake3: opened.hash.map(|hash| hash.to_vec().into()).unwrap_or_default(),
        length: opened.length,
    };
    Ok(Opened { header, source: opened.source, following })
}

/// A file that no message shows yet, but whose uploader has said for whom it is. It may be complete by
/// now, and only the message on its way.
async fn follow(
    request: DownloadRequest,
    account: AccountId,
    answerer: &Answerer,
) -> Result<(OpenDownload, Following), Refusal> {
    let DownloadRequest { blob, offset, length, .. } = request;
    let upload = following::upload_for(&*answerer.store, account, blob).await?;
    let place = answerer.hub.followers.place(account)?;
    let opened = answerer.resource.follow_upload(upload, offset, length).await?;
    let store = Arc::clone(&answerer.store);
    Ok((opened, Following::begin(store, account, blob, place)))
}

async fn say(sender: &mut Sender, config: &Config, kind: Kind) -> Result<(), Refusal> {
    let status = pb::DownloadStatus { kind: Some(kind) };
    Ok(in_time(config.stall_timeout(), sender.frame(&status)).await??)
}
