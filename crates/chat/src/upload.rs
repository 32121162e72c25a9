//! An upload stream: a few frames, then raw bytes from the offset that the server names.
//!
//! Where the client says for which conversation the file is meant, its members hear of it at each
//! opening, and may follow it from then on (`download`).

use std::sync::Arc;

use bytes::Bytes;
use skein_bus::hint::{Hint, Topic};
use skein_core::{
    coming::{Coming, Destination},
    entry::Attachment,
    id::{AccountId, BlobId, LogId},
    policy,
    port::resource::{BlobInfo, OpenUpload, UploadOf, UploadSink, UploadSpec},
    refusal::{Code, Refusal},
};
use skein_net::stream::{Receiver, Sender};
use skein_store::StoreError;
use skein_wire::pb::{self, upload_status::Kind};

use crate::{answer::Answerer, config::Config, connection::in_time, metric};

/// Bytes that are handed to the store of blobs at a time: each piece costs one sync of the disk, so
/// it takes what has arrived, up to this.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// Serves one upload stream, and tells the client how it went.
pub(crate) async fn serve(
    open: pb::UploadOpen,
    account: AccountId,
    answerer: &Answerer,
    config: &Config,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<(), Refusal> {
    match receive(open, account, answerer, config, sender, receiver).await {
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
    mut open: pb::UploadOpen,
    account: AccountId,
    answerer: &Answerer,
    config: &Config,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<BlobInfo, Refusal> {
    let destination = open.destination.take().map(Destination::try_from).transpose()?;
    let spec = UploadSpec::try_from(open)?;
    if let Some(destination) = &destination {
        // Before any byte: the message that shows the file would be refused alike.
        let membership = answerer.store.membership(account, destination.conversation).await;
        policy::may_append(membership.map_err(StoreError::into_refusal)?)?;
    }
    let (blob, offsets, sink) = match answerer.resource.open_upload(account, spec.clone()).await? {
        OpenUpload::Complete(blob) => return Ok(blob),
        OpenUpload::Partial { blob, offsets, sink } => (blob, offsets, sink),
    };
    if let Some(destination) = destination {
        announce(answerer, account, spec, blob, destination).await?;
    }
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

/// Says for whom the upload is, and tells them. They may miss it, and hear it again when the upload is
/// opened again. It has cost the sender the opening of a stream, as a message costs a request.
async fn announce(
    answerer: &Answerer,
    account: AccountId,
    spec: UploadSpec,
    blob: BlobId,
    destination: Destination,
) -> Result<(), Refusal> {
    let upload = UploadOf { account, id: spec.id, blob };
    let addressed = answerer.store.address_upload(upload, destination.clone()).await;
    addressed.map_err(StoreError::into_refusal)?;
    let Destination { conversation, name } = destination;
    let UploadSpec { size, media_type, hash, .. } = spec;
    let attachment = Attachment { blob, name, size, media_type, hash };
    let coming = Coming { conversation, uploader: account, attachment };
    let topic = Topic::Log(LogId::Conversation(conversation));
    answerer.hints.publish(topic, Hint::Coming(Arc::new(coming))).await;
    Ok(())
}

async fn store(
    mut sink: Box<dyn UploadSink>,
    config: &Config,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<BlobInfo, Refusal> {
    loop {
        let piece = in_time(config.stall_timeout(), receiver.arrived(PIECE_BYTES_MAX)).await??;
        if piece.is_empty() {
            return sink.finish().await;
        }
        metric::transferred("up", piece.iter().map(Bytes::len).sum());
        let offsets = sink.write(piece).await?;
        say(sender, config, Kind::Progress(offsets.into())).await?;
    }
}

/// Tells the client, which must take it in time: the stream is not held for one that does not read.
async fn say(sender: &mut Sender, config: &Config, kind: Kind) -> Result<(), Refusal> {
    let status = pb::UploadStatus { kind: Some(kind) };
    Ok(in_time(config.stall_timeout(), sender.frame(&status)).await??)
}
