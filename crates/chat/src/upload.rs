//! An upload stream: a few frames, then raw bytes from the offset that the server names.

use bytes::Bytes;
use futures::FutureExt;
use skein_core::{
    id::AccountId,
    port::resource::{BlobInfo, OpenUpload, Resource, UploadSink, UploadSpec},
    refusal::{Code, Refusal},
};
use skein_net::stream::{Receiver, Sender};
use skein_wire::pb::{self, upload_status::Kind};

use crate::{config::Config, connection::in_time, metric};

/// Bytes that are handed to the store of blobs at a time: each piece costs one sync of the disk, so
/// it takes what has arrived, up to this.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// Serves one upload stream, and tells the client how it went.
pub(crate) async fn serve(
    open: pb::UploadOpen,
    account: AccountId,
    resource: &dyn Resource,
    config: &Config,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<(), Refusal> {
    match receive(open, account, resource, config, sender, receiver).await {
        Ok(blob) => {
            let (width, height) = blob.dimensions.unwrap_or_default();
            let blob = blob.id.0.to_vec().into();
            let complete = pb::UploadComplete { blob, width, height };
            say(sender, config, Kind::Complete(complete)).await
        }
        Err(refusal) => refuse(refusal, config, sender, receiver).await,
    }
}

/// Tells the client that nothing comes of the upload, or nothing more.
pub(crate) async fn refuse(
    refusal: Refusal,
    config: &Config,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<(), Refusal> {
    receiver.stop(refusal.code);
    say(sender, config, Kind::Error(refusal.into())).await
}

async fn receive(
    open: pb::UploadOpen,
    account: AccountId,
    resource: &dyn Resource,
    config: &Config,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<BlobInfo, Refusal> {
    let spec = UploadSpec::try_from(open)?;
    let (blob, offsets, sink) = match resource.open_upload(account, spec).await? {
        OpenUpload::Complete(blob) => return Ok(blob),
        OpenUpload::Partial { blob, offsets, sink } => (blob, offsets, sink),
    };
    let ready = pb::UploadReady {
        blob: blob.0.to_vec().into(),
        received: offsets.received,
        durable: offsets.durable,
    };
    say(sender, config, Kind::Ready(ready)).await?;
    let begin = in_time(config.hello_timeout(), receiver.frame::<pb::UploadBegin>()).await??;
    let begin = begin.ok_or_else(|| Refusal::new(Code::Malformed, "no offset was named"))?;
    if begin.offset != offsets.received {
        let message = format!("the next byte is {}, not {}", offsets.received, begin.offset);
        return Err(Refusal::new(Code::WrongOffset, message));
    }
    store(sink, config, sender, receiver).await
}

async fn store(
    mut sink: Box<dyn UploadSink>,
    config: &Config,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<BlobInfo, Refusal> {
    loop {
        let piece = in_time(config.stall_timeout(), next_piece(receiver)).await??;
        if piece.is_empty() {
            return sink.finish().await;
        }
        metric::transferred("up", piece.iter().map(Bytes::len).sum());
        let offsets = sink.write(piece).await?;
        say(sender, config, Kind::Progress(offsets.into())).await?;
    }
}

/// Waits for bytes, then takes all that have arrived. Empty at the end of the stream.
async fn next_piece(receiver: &mut Receiver) -> Result<Vec<Bytes>, Refusal> {
    let Some(first) = receiver.bytes(PIECE_BYTES_MAX).await? else { return Ok(Vec::new()) };
    let mut length = first.len();
    let mut piece = vec![first];
    while length < PIECE_BYTES_MAX {
        // The end of the stream shows again at the next call.
        let arrived = receiver.bytes(PIECE_BYTES_MAX - length).now_or_never().transpose()?;
        let Some(Some(bytes)) = arrived else { break };
        length += bytes.len();
        piece.push(bytes);
    }
    Ok(piece)
}

/// Tells the client, which must take it in time: the stream is not held for one that does not read.
async fn say(sender: &mut Sender, config: &Config, kind: Kind) -> Result<(), Refusal> {
    let status = pb::UploadStatus { kind: Some(kind) };
    Ok(in_time(config.stall_timeout(), sender.frame(&status)).await??)
}
