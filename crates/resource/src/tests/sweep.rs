//! What is thrown away, and what is not.

use super::*;
use crate::sweep::Swept;

const OCTETS: &str = "application/octet-stream";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn sweep(stage: &Stage, span: Duration) -> Swept {
    let now = stage.turn(span);
    stage.role.sweep(now).await.unwrap()
}

#[tokio::test]
async fn uploads_that_nobody_continues_expire() {
    let stage = Stage::new();
    let file = content(3000);
    let (blob, _, mut sink) = stage.open(&spec(1, OCTETS, &file)).await;
    sink.write(chunks(&file[..1000], 500)).await.unwrap();
    assert_eq!(sweep(&stage, 23 * HOUR).await, Swept::default());
    // Open ones do not, however long the client takes.
    assert_eq!(sweep(&stage, 2 * HOUR).await, Swept::default());
    drop(sink);
    assert!(stage.staged(blob).exists());
    assert_eq!(sweep(&stage, HOUR).await, Swept { expired: 1, ..Swept::default() });
    assert!(!stage.staged(blob).exists());
    let (again, offsets, _) = stage.open(&spec(1, OCTETS, &file)).await;
    assert!(again != blob && offsets == Offsets::default());
}

#[tokio::test]
async fn an_expired_upload_takes_the_bytes_of_a_crashed_finish_along() {
    let stage = Stage::with(Config { blob_grace_seconds: 60 * 60, ..Config::default() });
    let file = content(3000);
    let (blob, _, mut sink) = stage.open(&spec(1, OCTETS, &file)).await;
    sink.write(chunks(&file, 3000)).await.unwrap();
    drop(sink);
    stage.role.parts().depot.publish(blob).await.unwrap();
    // As long as the upload is open, the bytes are no orphan.
    assert_eq!(sweep(&stage, 10 * HOUR).await, Swept::default());
    assert_eq!(sweep(&stage, 15 * HOUR).await, Swept { expired: 1, ..Swept::default() });
    assert!(!stage.published(blob).exists());
}

#[tokio::test]
async fn blobs_that_no_message_refers_to_are_collected_after_the_grace() {
    let stage = Stage::new();
    let kept = stage.upload(1, OCTETS, &content(10)).await.id;
    let loose = stage.upload(2, OCTETS, &content(20)).await.id;
    stage.ledger.book().referenced.insert(kept);
    // A laptop that sleeps over a long weekend still finds what its draft refers to.
    assert_eq!(sweep(&stage, 6 * DAY).await, Swept::default());
    assert_eq!(sweep(&stage, 2 * DAY).await, Swept { collected: 1, ..Swept::default() });
    assert!(!stage.published(loose).exists());
    assert_eq!(code(stage.download(loose, Variant::Original).await), Some(Code::NotFound));
    assert_eq!(stage.bytes(kept).await, content(10));
    assert_eq!(sweep(&stage, 8 * DAY).await, Swept::default());
    // The uploader may store the same file again.
    stage.upload(2, OCTETS, &content(20)).await;
}

#[tokio::test]
async fn files_that_the_store_does_not_know_are_deleted_after_the_grace() {
    let stage = Stage::new();
    let known = stage.upload(1, OCTETS, &content(10)).await.id;
    stage.ledger.book().referenced.insert(known);
    let depot = &stage.role.parts().depot;
    let orphan = BlobId([0xcd; 16]);
    for variant in [Variant::Original, Variant::Thumbnail] {
        depot.put(orphan, variant, Bytes::from_static(b"lost")).await.unwrap();
    }
    fs::write(stage.staged(orphan), b"lost").unwrap();
    fs::write(stage.root().join("staging/lost+found"), b"somebody else's").unwrap();
    assert_eq!(sweep(&stage, 6 * DAY).await, Swept::default());
    assert_eq!(sweep(&stage, 2 * DAY).await, Swept { orphans: 3, ..Swept::default() });
    assert!(!stage.staged(orphan).exists() && !stage.published(orphan).exists());
    assert_eq!(files(stage.root().join("staging")), 1);
    assert_eq!(stage.bytes(known).await, content(10));
}

/// More than the sweeper lists at a time, all empty, as they cost nothing but records.
const MANY: u64 = 300;

fn numbered(number: u64) -> UploadSpec {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    UploadSpec { id: UploadId(id), ..spec(0, OCTETS, b"") }
}

#[tokio::test]
async fn a_round_does_not_end_with_its_first_batch() {
    let stage = Stage::with(Config { open_uploads_max: MANY, ..Config::default() });
    for number in 0..MANY {
        stage.open(&numbered(number)).await.2.finish().await.unwrap();
    }
    for number in MANY..2 * MANY {
        drop(stage.open(&numbered(number)).await);
    }
    let many = MANY as usize;
    let swept = sweep(&stage, 8 * DAY).await;
    assert_eq!(swept, Swept { expired: many, collected: many, ..Swept::default() });
}

#[tokio::test]
async fn open_uploads_hide_no_others_behind_them() {
    let stage = Stage::with(Config { open_uploads_max: MANY, ..Config::default() });
    let mut open = Vec::new();
    for number in 1..MANY {
        open.push(stage.open(&numbered(number)).await);
    }
    stage.turn(HOUR);
    drop(stage.open(&numbered(MANY)).await);
    assert_eq!(sweep(&stage, DAY + HOUR).await, Swept { expired: 1, ..Swept::default() });
}

#[tokio::test]
async fn an_upload_that_is_continued_while_a_round_runs_stays() {
    let stage = Stage::new();
    let file = content(3000);
    let (blob, _, mut sink) = stage.open(&spec(1, OCTETS, &file)).await;
    sink.write(chunks(&file[..1000], 500)).await.unwrap();
    drop(sink);
    let now = stage.turn(DAY + HOUR);
    stage.ledger.book().continue_found = Some(now);
    assert_eq!(stage.role.sweep(now).await.unwrap(), Swept::default());
    let (again, offsets, _) = stage.open(&spec(1, OCTETS, &file)).await;
    assert_eq!((again, offsets.received), (blob, 1000));
}
