//! Uploads that are interrupted: by the client, by a second client, by a crash at each step.

use super::*;

const OCTETS: &str = "application/octet-stream";

#[tokio::test]
async fn continues_after_a_drop_and_after_a_restart_at_any_offset() {
    let mut stage = Stage::new();
    let file = content(5 * MIB + 12_345);
    let spec = spec(1, OCTETS, &file);
    // Around the borders of the hash's parts, and in between; every other time the process ends.
    let stops = [1, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 77, 5 * MIB, file.len()];
    let mut at = 0;
    for (round, stop) in stops.into_iter().enumerate() {
        let (_, offsets, mut sink) = stage.open(&spec).await;
        assert_eq!(offsets, Offsets { received: at as u64, durable: at as u64 });
        for piece in file[at..stop].chunks(700_001) {
            at += piece.len();
            let offsets = sink.write(chunks(piece, 1200)).await.unwrap();
            assert_eq!(offsets, Offsets { received: at as u64, durable: at as u64 });
        }
        drop(sink);
        if round % 2 == 0 {
            stage.restart();
        }
        assert_eq!(stage.role.live_uploads(), 0);
    }
    let (blob, _, sink) = stage.open(&spec).await;
    let info = sink.finish().await.unwrap();
    assert_eq!((info.id, info.size, info.hash), (blob, spec.size, spec.hash));
    assert!(stage.bytes(blob).await == file);
    assert_eq!(stage.complete(&spec).await, info);
    assert_eq!(files(stage.root().join("staging")), 0);
}

#[tokio::test]
async fn a_second_opening_supersedes_the_first() {
    let stage = Stage::new();
    let file = content(3000);
    let spec = spec(1, OCTETS, &file);
    let (_, _, mut first) = stage.open(&spec).await;
    first.write(chunks(&file[..1000], 100)).await.unwrap();
    let (_, offsets, mut second) = stage.open(&spec).await;
    assert_eq!(offsets, Offsets { received: 1000, durable: 1000 });
    assert_eq!(code(first.write(chunks(&file[1000..], 100)).await), Some(Code::Superseded));
    second.write(chunks(&file[1000..], 100)).await.unwrap();
    assert_eq!(code(first.finish().await), Some(Code::Superseded));
    assert_eq!(stage.role.live_uploads(), 1);
    let info = second.finish().await.unwrap();
    assert!(stage.bytes(info.id).await == file);
    assert_eq!(stage.role.live_uploads(), 0);
}

#[tokio::test]
async fn an_upload_that_its_account_gives_up_leaves_nothing() {
    let stage = Stage::new();
    let file = content(3000);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[..1000], 100)).await.unwrap();
    stage.role.discard_upload(AccountId(ACCOUNT.0 + 1), spec.id).await.unwrap();
    sink.write(chunks(&file[1000..2000], 100)).await.unwrap();
    stage.role.discard_upload(ACCOUNT, spec.id).await.unwrap();
    assert_eq!(code(sink.write(chunks(&file[2000..], 100)).await), Some(Code::Superseded));
    drop(sink);
    assert_eq!((files(stage.root().join("staging")), stage.role.live_uploads()), (0, 0));
    // Nothing is known of it: neither again, nor when it is begun anew.
    stage.role.discard_upload(ACCOUNT, spec.id).await.unwrap();
    let (other, offsets, mut sink) = stage.open(&spec).await;
    assert_eq!(offsets, Offsets::default());
    assert_ne!(other, blob);
    sink.write(chunks(&file, 100)).await.unwrap();
    let info = sink.finish().await.unwrap();
    stage.role.discard_upload(ACCOUNT, spec.id).await.unwrap();
    assert!(stage.bytes(info.id).await == file);
}

#[tokio::test]
async fn a_write_whose_caller_is_gone_counts() {
    let stage = Stage::new();
    let file = content(MIB);
    let spec = spec(1, OCTETS, &file);
    let (_, _, mut sink) = stage.open(&spec).await;
    {
        let mut write = std::pin::pin!(sink.write(chunks(&file, 4096)));
        // Polled once, so that it has begun, then dropped.
        std::future::poll_fn(|context| {
            assert!(write.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(sink);
    // Its turn comes before that of whoever opens the upload again.
    tokio::task::yield_now().await;
    let (_, offsets, sink) = stage.open(&spec).await;
    assert_eq!(offsets.received, spec.size);
    sink.finish().await.unwrap();
}

#[tokio::test]
async fn an_opening_that_nobody_waits_for_any_more_supersedes_nobody() {
    let stage = Stage::new();
    let file = content(3000);
    let spec = spec(1, OCTETS, &file);
    let (_, _, mut sink) = stage.open(&spec).await;
    let busy = stage.role.parts().table.seat((ACCOUNT, spec.id)).slot().await;
    {
        let mut late = stage.role.open_upload(ACCOUNT, spec.clone());
        std::future::poll_fn(|context| {
            assert!(late.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(busy);
    sink.write(chunks(&file, 100)).await.unwrap();
    sink.finish().await.unwrap();
}

#[tokio::test]
async fn refuses_what_does_not_fit_the_announcement() {
    let stage = Stage::new();
    let file = content(2 * MIB);
    let good = spec(1, OCTETS, &file);
    let (_, _, mut sink) = stage.open(&good).await;
    sink.write(chunks(&file[..MIB], MIB)).await.unwrap();
    assert_eq!(code(sink.write(chunks(&content(MIB + 1), 999)).await), Some(Code::BeyondSize));
    // Nothing of that write was kept, and the upload goes on.
    assert_eq!(sink.write(Vec::new()).await.unwrap().received, MIB as u64);
    assert_eq!(code(sink.finish().await), Some(Code::Incomplete));
    let other = UploadSpec { size: 5, ..good.clone() };
    assert_eq!(stage.refused(&other).await.code, Code::UploadConflict);
    let (_, _, mut sink) = stage.open(&good).await;
    sink.write(chunks(&file[MIB..], MIB)).await.unwrap();
    sink.finish().await.unwrap();

    let wrong = UploadSpec { hash: [9; 32], ..spec(2, OCTETS, &file) };
    let (blob, _, mut sink) = stage.open(&wrong).await;
    sink.write(chunks(&file, MIB)).await.unwrap();
    assert_eq!(code(sink.finish().await), Some(Code::WrongHash));
    assert!(!stage.staged(blob).exists() && !stage.published(blob).exists());
    assert_eq!(code(stage.download(blob, Variant::Original).await), Some(Code::NotFound));
    let (again, offsets, _) = stage.open(&wrong).await;
    assert!(again != blob && offsets == Offsets::default());
}

#[tokio::test]
async fn limits_are_refused_at_opening() {
    let stage = Stage::with(Config {
        file_bytes_max: 10_000,
        account_bytes_max: 18_000,
        open_uploads_max: 2,
        ..Config::default()
    });
    let refusal = stage.refused(&spec(1, OCTETS, &content(10_001))).await;
    assert_eq!(refusal.code, Code::FileTooLarge);
    assert!(refusal.message.contains("10001") && refusal.message.contains("10000"));
    stage.upload(2, OCTETS, &content(9000)).await;
    assert_eq!(stage.refused(&spec(3, OCTETS, &content(9001))).await.code, Code::Quota);
    for id in [4, 5] {
        drop(stage.open(&spec(id, OCTETS, &content(10))).await);
    }
    assert_eq!(stage.refused(&spec(6, OCTETS, &content(10))).await.code, Code::TooMany);
    drop(stage.open(&spec(4, OCTETS, &content(10))).await);
    stage.shutdown.begin();
    assert_eq!(stage.refused(&spec(4, OCTETS, &content(10))).await.code, Code::Draining);
}

#[tokio::test]
async fn nothing_is_a_file_too() {
    let mut stage = Stage::new();
    let empty = spec(1, OCTETS, b"");
    let (blob, offsets, mut sink) = stage.open(&empty).await;
    assert_eq!(offsets, Offsets::default());
    assert_eq!(code(sink.write(chunks(b"x", 1)).await), Some(Code::BeyondSize));
    let info = sink.finish().await.unwrap();
    assert_eq!((info.id, info.size), (blob, 0));
    assert!(stage.bytes(blob).await.is_empty());
    stage.restart();
    assert_eq!(stage.complete(&empty).await, info);
    let picture = stage.upload(2, "image/png", b"").await;
    assert_eq!(picture.dimensions, None);
}

#[tokio::test]
async fn a_crash_before_the_checkpoint_leaves_bytes_that_are_cut_off() {
    let mut stage = Stage::new();
    let file = content(2 * MIB + 500);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[..MIB + 300], MIB)).await.unwrap();
    drop(sink);
    // The bytes of the next write reached the disk, torn; its checkpoint did not.
    let staged = stage.staged(blob);
    let mut bytes = fs::read(&staged).unwrap();
    bytes.extend_from_slice(b"torn");
    fs::write(&staged, bytes).unwrap();
    stage.restart();
    let (_, offsets, mut sink) = stage.open(&spec).await;
    assert_eq!(offsets.durable, MIB as u64 + 300);
    sink.write(chunks(&file[MIB + 300..], MIB)).await.unwrap();
    let info = sink.finish().await.unwrap();
    assert!(stage.bytes(info.id).await == file);
}

#[tokio::test]
async fn a_failed_checkpoint_is_not_acknowledged_and_the_upload_goes_on() {
    let stage = Stage::new();
    let file = content(4000);
    let spec = spec(1, OCTETS, &file);
    let (_, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[..1000], 1000)).await.unwrap();
    stage.ledger.book().fail_checkpoint = true;
    let failed = sink.write(chunks(&file[1000..2000], 1000)).await;
    assert_eq!(code(failed), Some(Code::Internal));
    let unsure = sink.write(chunks(&file[2000..], 1000)).await;
    assert_eq!(code(unsure), Some(Code::Internal));
    let (_, offsets, mut sink) = stage.open(&spec).await;
    assert_eq!(offsets, Offsets { received: 1000, durable: 1000 });
    sink.write(chunks(&file[1000..], 1000)).await.unwrap();
    sink.finish().await.unwrap();
}

#[tokio::test]
async fn a_crash_between_rename_and_record_is_made_good_at_the_next_opening() {
    let mut stage = Stage::new();
    for (id, file) in [(1, content(MIB + 1)), (2, Vec::new())] {
        // A real crash: the rename happened, and nothing after it.
        let spec = spec(id, OCTETS, &file);
        let (blob, _, mut sink) = stage.open(&spec).await;
        sink.write(chunks(&file, MIB)).await.unwrap();
        drop(sink);
        stage.role.parts().depot.publish(blob).await.unwrap();
        assert_eq!(code(stage.download(blob, Variant::Original).await), Some(Code::NotFound));
        stage.restart();
        assert_eq!(stage.complete(&spec).await.id, blob);
        assert!(stage.bytes(blob).await == file);
    }
    // The store fails, the process lives. The picture keeps its dimensions.
    let file = super::download::jpeg(640, 480);
    let spec = spec(3, "image/jpeg", &file);
    let (blob, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file, MIB)).await.unwrap();
    stage.ledger.book().fail_completion = true;
    assert_eq!(code(sink.finish().await), Some(Code::Internal));
    assert!(stage.published(blob).exists());
    let info = stage.complete(&spec).await;
    assert_eq!((info.id, info.dimensions), (blob, Some((640, 480))));
}

#[tokio::test]
async fn lost_bytes_and_foreign_hash_states_cost_work_and_not_the_upload() {
    let mut stage = Stage::new();
    let file = content(MIB + 4000);
    let spec = spec(1, OCTETS, &file);
    let (blob, _, mut sink) = stage.open(&spec).await;
    sink.write(chunks(&file[..MIB + 2000], MIB)).await.unwrap();
    drop(sink);
    let key = (ACCOUNT, spec.id);
    stage.ledger.book().uploads.get_mut(&key).unwrap().checkpoint.hash_state = vec![77; 9];
    stage.restart();
    let (_, offsets, sink) = stage.open(&spec).await;
    assert_eq!(offsets.durable, MIB as u64 + 2000);
    drop(sink);
    fs::remove_file(stage.staged(blob)).unwrap();
    let (_, offsets, mut sink) = stage.open(&spec).await;
    assert_eq!(offsets, Offsets::default());
    sink.write(chunks(&file, MIB)).await.unwrap();
    let info = sink.finish().await.unwrap();
    assert!(stage.bytes(info.id).await == file);
}
