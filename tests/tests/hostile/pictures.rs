//! Pictures that would cost a careless decoder all of its memory.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat};
use skein_core::refusal::Code;
use skein_testkit::{
    eventually,
    memory::{peak_bytes, reset_peak},
    raw::{RawSession, random_id},
    transfer::status,
};
use skein_wire::pb::{self, download_status, draft, open, reply, request, upload_status};

use crate::scene::{Scene, code, in_time, open_upload, refused};

/// What a bomb that is refused by its header may cost the server: the file and little more.
const REFUSED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What pictures within the limits may cost: the 12 megapixels of grey of one, twice, and the 49 that
/// another claims.
const DECODED_BYTES_MAX: u64 = 80 * 1024 * 1024;

/// The colours that a PNG header may name (PNG, section 11.2.1).
const GREY: u8 = 0;
const RGBA: u8 = 6;

/// A PNG whose header claims these dimensions, followed by pixels of a much smaller picture.
fn claiming(width: u32, height: u32, depth: u8, colour: u8) -> Bytes {
    let mut png = png(4, 4);
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([depth, colour, 0, 0, 0]);
    // Signature and length stand before, the checksum behind.
    png[12..29].copy_from_slice(&header);
    png[29..33].copy_from_slice(&crc32(&header).to_be_bytes());
    png.into()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_luma8(width, height).write_to(&mut bytes, ImageFormat::Png).expect("a PNG");
    bytes.into_inner()
}

/// The checksum of a PNG's parts (PNG, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

async fn upload(session: &RawSession, media_type: &str, bytes: Bytes) -> pb::UploadComplete {
    let open = pb::UploadOpen {
        id: random_id(),
        size: bytes.len() as u64,
        media_type: media_type.to_owned(),
        blake3: blake3::hash(&bytes).as_bytes().to_vec().into(),
        destination: None,
    };
    let (mut sender, mut receiver, _) = open_upload(session, open).await;
    sender.frame(&pb::UploadBegin { offset: 0 }).await.expect("the stream goes on");
    sender.bytes(bytes).await.expect("the stream goes on");
    sender.finish();
    loop {
        match in_time(status(&mut receiver)).await {
            upload_status::Kind::Progress(_) => {}
            upload_status::Kind::Complete(complete) => return complete,
            other => panic!("{other:?}"),
        }
    }
}

fn message(conversation: u64, blob: Bytes, picture: bool) -> request::Kind {
    let blob = pb::BlobRef { blob, name: "holiday.png".into() };
    let content = if picture { draft::Content::Picture(blob) } else { draft::Content::File(blob) };
    request::Kind::Append(pb::Draft { conversation, id: random_id(), content: Some(content) })
}

/// Waits until the server has made a thumbnail of the blob, or has given up.
async fn thumbnail(session: &RawSession, blob: &Bytes) -> Result<pb::DownloadHeader, Code> {
    let ask = async || {
        let blob = blob.clone();
        let open = pb::DownloadOpen { blob, offset: 0, length: 0, thumbnail: true };
        let (_sender, mut receiver) = session.work(open::Kind::Download(open)).await;
        let status = receiver.frame::<pb::DownloadStatus>().await.expect("a status");
        match status.and_then(|status| status.kind).expect("a status") {
            download_status::Kind::Header(header) => Ok(header),
            download_status::Kind::Error(error) => Err(code(&error)),
        }
    };
    eventually("the thumbnail is made or given up", async || {
        ask().await != Err(Code::ThumbnailPending)
    })
    .await;
    ask().await
}

#[tokio::test]
async fn a_picture_beyond_the_limits_is_a_file_at_most() {
    let scene = Scene::start("").await;
    let mut alice = scene.alice().await;
    reset_peak(scene.server.id());
    let before = peak_bytes(scene.server.id());
    // One that is really as large as it says, some that only claim to be, and some that are none.
    let real = Bytes::from(png(9_000, 9_000));
    for (what, bytes) in [
        ("81 megapixels", real),
        ("3.6 gigapixels", claiming(60_000, 60_000, 8, GREY)),
        ("a line", claiming(u32::MAX >> 1, 1, 8, GREY)),
        ("no pixels", claiming(0, 0, 8, GREY)),
        ("a text", Bytes::from_static(b"GIF89a, or so it says")),
        ("nothing but a signature", Bytes::from_static(b"\x89PNG\r\n\x1a\n")),
    ] {
        let complete = upload(&alice, "image/png", bytes).await;
        assert_eq!((complete.width, complete.height), (0, 0), "{what}");
        let picture = message(scene.conversation, complete.blob.clone(), true);
        assert_eq!(refused(&mut alice, picture).await, Code::BadPicture, "{what}");
        assert_eq!(thumbnail(&alice, &complete.blob).await, Err(Code::BadPicture), "{what}");
        let file = message(scene.conversation, complete.blob, false);
        assert!(matches!(alice.request(file).await, reply::Kind::Appended(_)), "{what}");
    }
    let cost = peak_bytes(scene.server.id()).saturating_sub(before);
    println!("pictures beyond the limits cost {} KiB", cost / 1024);
    assert!(cost <= REFUSED_BYTES_MAX, "{cost} bytes");
    scene.still_serves().await;
}

#[tokio::test]
async fn a_picture_within_the_limits_costs_no_more_than_them() {
    let scene = Scene::start("").await;
    let alice = scene.alice().await;
    reset_peak(scene.server.id());
    let before = peak_bytes(scene.server.id());
    // Small files: the first is a picture, of which even a slow machine makes a thumbnail within the
    // time that the server gives itself; the second breaks off, the third would fill 392 MB.
    let bad = Some(Code::BadPicture);
    for (what, side, bytes, expected) in [
        ("12 megapixels", 3_500, png(3_500, 3_500).into(), None),
        ("pixels that are missing", 7_000, claiming(7_000, 7_000, 8, GREY), bad),
        ("deep pixels", 7_000, claiming(7_000, 7_000, 16, RGBA), bad),
    ] {
        let complete = upload(&alice, "image/png", bytes).await;
        assert_eq!((complete.width, complete.height), (side, side), "{what}");
        assert_eq!(thumbnail(&alice, &complete.blob).await.err(), expected, "{what}");
    }
    let cost = peak_bytes(scene.server.id()).saturating_sub(before);
    println!("pictures within the limits cost {} KiB", cost / 1024);
    assert!(cost <= DECODED_BYTES_MAX, "{cost} bytes");
    scene.still_serves().await;
}
