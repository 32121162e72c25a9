//! A disk that is full under the uploads, of either form: a clear answer, and then they go on.

use skein_testkit::disk::SmallDisk;

use super::{
    bucket::{OCTETS, PART, Site, durable, large},
    *,
};

/// Sends until the disk is full; answers what was taken in.
async fn send_until_full(sink: &mut dyn UploadSink, bytes: &[u8]) -> (u64, Refusal) {
    let mut received = 0;
    for piece in bytes.chunks(MIB / 4) {
        match sink.write(chunks(piece, 9999)).await {
            Ok(offsets) => received = offsets.received,
            Err(refusal) => return (received, refusal),
        }
    }
    panic!("the disk was never full");
}

fn says_full(refusal: &Refusal) {
    assert_eq!(refusal.code, Code::Unavailable, "{refusal}");
    assert!(refusal.message.contains("disk is full"), "{refusal}");
    assert!(refusal.retry_after.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_folder_takes_uploads_again_once_there_is_room() {
    let disk = SmallDisk::mount(12 * MIB as u64);
    let (shutdown, clock) = (Shutdown::new(), Arc::new(SystemClock));
    let blobs = Blobs::Folder(disk.path().join("blobs"));
    let ledger = Arc::new(Ledger::default());
    let role = ResourceRole::start(Config::default(), ledger, blobs, clock, &shutdown).unwrap();
    disk.take(8 * MIB);
    let file = large(6 * MIB);
    let spec = spec(1, OCTETS, &file);
    let open = async || match role.open_upload(ACCOUNT, spec.clone()).await.unwrap() {
        OpenUpload::Partial { offsets, sink, .. } => (offsets, sink),
        OpenUpload::Complete(_) => panic!("the upload is complete"),
    };
    let (_, mut sink) = open().await;
    let (received, refusal) = send_until_full(&mut *sink, &file).await;
    says_full(&refusal);
    assert!(received > MIB as u64);
    drop(sink);
    let (offsets, mut sink) = open().await;
    assert_eq!(offsets, Offsets { received, durable: received });
    disk.free();
    sink.write(chunks(&file[received as usize..], MIB)).await.unwrap();
    let info = sink.finish().await.unwrap();
    let download = role.open_download(info.id, Variant::Original, 0, None).await.unwrap();
    assert!(whole(download).await == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_takes_uploads_again_once_there_is_room() {
    let disk = SmallDisk::mount(32 * MIB as u64);
    let site = Site::new();
    let (role, _shutdown) = site.start(disk.path());
    let file = large(2 * PART + 1000);
    let spec = spec(1, OCTETS, &file);
    let open = async || match role.open_upload(ACCOUNT, spec.clone()).await {
        Ok(OpenUpload::Partial { offsets, sink, .. }) => Ok((offsets, sink)),
        Ok(OpenUpload::Complete(_)) => panic!("the upload is complete"),
        Err(refusal) => Err(refusal),
    };
    let (_, mut sink) = open().await.unwrap();
    sink.write(chunks(&file[..PART], MIB)).await.unwrap();
    durable(&site, &spec, PART).await;
    disk.fill();
    let (_, refusal) = send_until_full(&mut *sink, &file[PART..]).await;
    says_full(&refusal);
    drop(sink);
    disk.free();
    let (offsets, mut sink) = open().await.unwrap();
    assert_eq!(offsets.durable, PART as u64);
    let rest = &file[offsets.received as usize..];
    sink.write(chunks(rest, MIB)).await.unwrap();
    let info = sink.finish().await.unwrap();
    let download = role.open_download(info.id, Variant::Original, 0, None).await.unwrap();
    assert!(whole(download).await == file);
}
