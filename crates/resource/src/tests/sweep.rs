//! What is thrown away, and what is not.

use super::*;
use crate::sweep::Swept;

const OCTETS: &str = "application/octet-stream";
const HOUR: Duration = Duration::from_secs(60 * 60);

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
    let stage = Stage::new();
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
    assert_eq!(sweep(&stage, HOUR / 2).await, Swept::default());
    assert_eq!(sweep(&stage, HOUR).await, Swept { collected: 1, ..Swept::default() });
    assert!(!stage.published(loose).exists());
    assert_eq!(code(stage.download(loose, Variant::Original).await), Some(Code::NotFound));
    assert_eq!(stage.bytes(kept).await, content(10));
    assert_eq!(sweep(&stage, HOUR).await, Swept::default());
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
    assert_eq!(sweep(&stage, HOUR / 2).await, Swept::default());
    assert_eq!(sweep(&stage, HOUR).await, Swept { orphans: 3, ..Swept::default() });
    assert!(!stage.staged(orphan).exists() && !stage.published(orphan).exists());
    assert_eq!(files(stage.root().join("staging")), 1);
    assert_eq!(stage.bytes(known).await, content(10));
}
