//! A download stream: a header, then the bytes.

use skein_core::{
    id::AccountId,
    policy,
    port::resource::{DownloadSource, Resource, Variant},
    refusal::Refusal,
};
use skein_net::{priority::Priority, stream::Sender};
use skein_store::{Store, StoreError};
use skein_wire::{
    pb::{self, download_status::Kind},
    transfer::DownloadRequest,
};

use crate::{config::Config, connection::in_time, metric};

/// Serves one download stream, and tells the client if it cannot.
pub(crate) async fn serve(
    open: pb::DownloadOpen,
    account: AccountId,
    store: &dyn Store,
    resource: &dyn Resource,
    config: &Config,
    sender: &mut Sender,
) -> Result<(), Refusal> {
    match open_source(open, account, store, resource, sender).await {
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
    store: &dyn Store,
    resource: &dyn Resource,
    sender: &Sender,
) -> Result<(pb::DownloadHeader, Box<dyn DownloadSource>), Refusal> {
    let DownloadRequest { blob, variant, offset, length } = DownloadRequest::try_from(open)?;
    sender.prioritise(match variant {
        Variant::Original => Priority::Bulk,
        Variant::Thumbnail => Priority::Thumbnail,
    });
    let standing = store.blob_standing(account, blob).await.map_err(StoreError::into_refusal)?;
    policy::may_read_blob(standing)?;
    let opened = resource.open_download(blob, variant, offset, length).await?;
    let header = pb::DownloadHeader {
        size: opened.size,
        media_type: opened.media_type.as_str().to_owned(),
        blake3: opened.hash.map(|hash| hash.to_vec().into()).unwrap_or_default(),
        length: opened.length,
    };
    Ok((header, opened.source))
}

async fn say(sender: &mut Sender, config: &Config, kind: Kind) -> Result<(), Refusal> {
    let status = pb::DownloadStatus { kind: Some(kind) };
    Ok(in_time(config.stall_timeout(), sender.frame(&status)).await??)
}
