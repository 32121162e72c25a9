//! Downloads that follow an upload, in a folder.

use skein_core::{
    limit::FOLLOW_IDLE_TIMEOUT,
    port::resource::{DownloadSource, FOLLOWERS_MAX, UploadOf},
};

use super::*;

const OCTETS: &str = "application/octet-stream";

impl Stage {
    async fn follow(
        &self,
        spec: &UploadSpec,
        blob: BlobId,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal> {
        let upload = UploadOf { account: ACCOUNT, id: spec.id, blob };
        self.role.follow_upload(upload, offset, length).await
    }
}

/// Takes so many bytes, which are there.
pub(super) async fn take(source: &mut Box<dyn DownloadSource>, count: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend_from_slice(&source.next().await.unwrap().expect("not the end"));
    }
    assert_eq!(taken.len(), count, "no byte that was not received");
    taken
}

/// Whether the source has nothing to say now.
async fn waits(source: &mut Box<dyn DownloadSource>) -> bool {
    let mut next = source.next();
    for _ in 0..100 {
        let waiting = std::future::poll_fn(|context| {
            std::task::Poll::Ready(next.as_mut().poll(context).is_pending())
        });
        if !waiting.await {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn bytes_come_as_they_are_received() {
    let stage = Stage::new();
    let file = content(2 * MIB);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = stage.open(&spec).await;
    let mut early = stage.follow(&spec, blob, 0, None).await.unwrap();
    assert_eq!((early.size, early.length), (spec.size, spec.size));
    assert_eq!((early.media_type.as_str(), early.hash), (OCTETS, Some(spec.hash)));
    assert!(waits(&mut early.source).await);
    sink.write(chunks(&file[..MIB], 10_000)).await.unwrap();
    assert!(take(&mut early.source, MIB).await == file[..MIB]);
    assert!(waits(&mut early.source).await);

    // Whoever comes later gets what is there, from wherever it wants.
    let mut late = stage.follow(&spec, blob, 777, None).await.unwrap();
    assert_eq!(late.length, spec.size - 777);
    assert!(take(&mut late.source, MIB - 777).await == file[777..MIB]);
    let beyond = (MIB + 500_000) as u64;
    let mut ahead = stage.follow(&spec, blob, beyond, Some(1000)).await.unwrap();
    assert_eq!(ahead.length, 1000);
    assert!(waits(&mut ahead.source).await);

    sink.write(chunks(&file[MIB..], MIB)).await.unwrap();
    assert!(take(&mut early.source, MIB).await == file[MIB..]);
    assert!(take(&mut ahead.source, 1000).await == file[MIB + 500_000..MIB + 501_000]);
    // Nobody has checked the hash yet.
    assert!(waits(&mut early.source).await && waits(&mut ahead.source).await);
    sink.finish().await.unwrap();
    assert_eq!(early.source.next().await, Ok(None));
    assert_eq!(ahead.source.next().await, Ok(None));
    assert!(take(&mut late.source, MIB).await == file[MIB..], "it was renamed meanwhile");
    assert_eq!(late.source.next().await, Ok(None));

    let complete = stage.follow(&spec, blob, 5, None).await.unwrap();
    assert!(whole(complete).await == file[5..]);
    drop((early, late, ahead));
    assert_eq!(stage.role.parts().reaches.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_moment_of_completion_leaves_a_gap() {
    let stage = Stage::new();
    for round in 0..100_u8 {
        let file = content(20_000 + usize::from(round));
        let spec = spec(round, OCTETS, &file);
        let (blob, _, mut sink) = stage.open(&spec).await;
        sink.write(chunks(&file[..100], 100)).await.unwrap();
        let upload = UploadOf { account: ACCOUNT, id: spec.id, blob };
        let role = Arc::clone(&stage.role);
        let following =
            tokio::spawn(
                async move { whole(role.follow_upload(upload, 0, None).await.unwrap()).await },
            );
        for piece in file[100..].chunks(7_000) {
            sink.write(vec![Bytes::copy_from_slice(piece)]).await.unwrap();
        }
        sink.finish().await.unwrap();
        assert!(following.await.unwrap() == file, "{round}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stands_still_is_waited_for_and_then_not() {
    let stage = Stage::new();
    let file = content(3000);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[..1000], 100)).await.unwrap();
    let mut following = stage.follow(&spec, blob, 0, None).await.unwrap();
    take(&mut following.source, 1000).await;
    let begun = tokio::time::Instant::now();
    let stalled = following.source.next().await.unwrap_err();
    assert_eq!(stalled.code, Code::TimedOut);
    assert!(stalled.code.is_transient() && begun.elapsed() >= FOLLOW_IDLE_TIMEOUT);
    // It goes on, and so does whoever asks again.
    let mut again = stage.follow(&spec, blob, 1000, None).await.unwrap();
    sink.write(chunks(&file[1000..2000], 100)).await.unwrap();
    assert!(take(&mut again.source, 1000).await == file[1000..2000]);
    // Also where the sender has gone and comes back.
    drop(sink);
    let (_, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[2000..], 100)).await.unwrap();
    assert!(take(&mut again.source, 1000).await == file[2000..]);
    sink.finish().await.unwrap();
    assert_eq!(again.source.next().await, Ok(None));
}

#[tokio::test]
async fn what_never_becomes_a_blob_has_no_clean_end() {
    let stage = Stage::new();
    let file = content(5000);
    let wrong = UploadSpec { hash: [9; 32], ..spec(1, OCTETS, &file) };
    let (blob, _, mut sink) = stage.open(&wrong).await;
    let mut following = stage.follow(&wrong, blob, 0, None).await.unwrap();
    let mut range = stage.follow(&wrong, blob, 0, Some(10)).await.unwrap();
    sink.write(chunks(&file, 1000)).await.unwrap();
    take(&mut following.source, 5000).await;
    take(&mut range.source, 10).await;
    assert_eq!(code(sink.finish().await), Some(Code::WrongHash));
    assert_eq!(code(following.source.next().await), Some(Code::WrongHash));
    assert_eq!(code(range.source.next().await), Some(Code::WrongHash));
    assert_eq!(code(stage.follow(&wrong, blob, 0, None).await), Some(Code::NotFound));

    // Its account gives one up, and nobody continues another.
    for id in [2, 3] {
        let spec = spec(id, OCTETS, &file);
        let (blob, _, mut sink) = stage.open(&spec).await;
        sink.write(chunks(&file[..1000], 1000)).await.unwrap();
        let mut following = stage.follow(&spec, blob, 0, None).await.unwrap();
        if id == 2 {
            stage.role.discard_upload(ACCOUNT, spec.id).await.unwrap();
        } else {
            drop(sink);
            let later = stage.turn(Duration::from_secs(2 * 24 * 60 * 60));
            assert_eq!(stage.role.sweep(later).await.unwrap().expired, 1, "nobody holds it up");
        }
        let gone = following.source.next().await.unwrap_err();
        assert_eq!((gone.code, gone.code.is_transient()), (Code::NotFound, false));
        assert_eq!(code(stage.follow(&spec, blob, 0, None).await), Some(Code::NotFound));
    }
}

#[tokio::test]
async fn a_restart_is_nothing_but_another_opening() {
    let mut stage = Stage::new();
    let file = content(3000);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[..1000], 100)).await.unwrap();
    let mut before = stage.follow(&spec, blob, 0, None).await.unwrap();
    take(&mut before.source, 1000).await;
    // Soft: whoever follows is told. Hard: nobody is.
    stage.shutdown.begin();
    assert_eq!(code(before.source.next().await), Some(Code::Draining));
    stage.restart();
    // The sender is not back yet.
    let mut after = stage.follow(&spec, blob, 500, None).await.unwrap();
    assert!(take(&mut after.source, 500).await == file[500..1000]);
    let (_, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[1000..], 100)).await.unwrap();
    assert!(take(&mut after.source, 2000).await == file[1000..]);

    // Killed between the rename and the record: all bytes are there, and nobody may see the blob.
    stage.ledger.book().fail_completion = true;
    assert_eq!(code(sink.finish().await), Some(Code::Internal));
    stage.restart();
    assert!(!stage.staged(blob).exists() && stage.published(blob).exists());
    let mut last = stage.follow(&spec, blob, 2500, None).await.unwrap();
    assert!(take(&mut last.source, 500).await == file[2500..]);
    assert!(waits(&mut last.source).await);
    stage.complete(&spec).await;
    assert_eq!(last.source.next().await, Ok(None));
}

#[tokio::test]
async fn followers_are_counted_and_held_to_what_there_is() {
    let stage = Stage::new();
    let file = content(3000);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, _sink) = stage.open(&spec).await;
    let beyond = stage.follow(&spec, blob, 3001, None).await;
    assert_eq!(code(beyond), Some(Code::WrongOffset));
    let other = UploadOf { account: AccountId(9), id: spec.id, blob };
    assert_eq!(code(stage.role.follow_upload(other, 0, None).await), Some(Code::NotFound));
    let other = UploadOf { account: ACCOUNT, id: UploadId([9; 16]), blob };
    assert_eq!(code(stage.role.follow_upload(other, 0, None).await), Some(Code::NotFound));

    let others = Arc::clone(&stage.role.parts().followers);
    let others = others.try_acquire_many_owned(u32::try_from(FOLLOWERS_MAX - 1).unwrap()).unwrap();
    let last = stage.follow(&spec, blob, 0, None).await.unwrap();
    let refused = stage.follow(&spec, blob, 0, None).await.err().unwrap();
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.retry_after.is_some());
    drop(last);
    stage.follow(&spec, blob, 0, None).await.unwrap();
    drop(others);
}
