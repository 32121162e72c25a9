//! Ranges, pictures and their thumbnails.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use skein_core::port::resource::Thumbnail;

use super::*;
use crate::thumbnail::TRIES_MAX;

pub(super) fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(width, height, ImageFormat::Jpeg)
}

fn encode(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Waits until the worker has decided. It yields rather than sleeps; the worker needs no clock.
async fn decided(stage: &Stage, blob: BlobId) -> Thumbnail {
    loop {
        let state = stage.ledger.book().blobs[&blob].0.thumbnail;
        if state != Thumbnail::Pending {
            return state;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn gives_the_range_that_was_asked_for() {
    let stage = Stage::new();
    let file = content(600_000);
    let blob = stage.upload(1, "text/plain", &file).await.id;
    for (offset, length, expected) in [
        (0, None, 0..600_000),
        (262_143, Some(2), 262_143..262_145),
        (599_999, Some(50), 599_999..600_000),
        (600_000, None, 600_000..600_000),
        (5, Some(0), 5..5),
    ] {
        let download = stage.role.open_download(blob, Variant::Original, offset, length).await;
        let download = download.unwrap();
        assert_eq!((download.size, download.media_type.as_str()), (600_000, "text/plain"));
        assert_eq!(download.hash, Some(*blake3::hash(&file).as_bytes()));
        assert!(whole(download).await == file[expected]);
    }
    let beyond = stage.role.open_download(blob, Variant::Original, 600_001, None).await;
    assert_eq!(code(beyond), Some(Code::WrongOffset));
    let thumbnail = stage.download(blob, Variant::Thumbnail).await;
    assert_eq!(code(thumbnail), Some(Code::NotFound));
    let unknown = stage.download(BlobId([1; 16]), Variant::Original).await;
    assert_eq!(code(unknown), Some(Code::NotFound));
}

#[tokio::test]
async fn a_photo_gets_a_thumbnail() {
    let stage = Stage::new();
    let file = jpeg(1600, 1200);
    let info = stage.upload(1, "image/jpeg", &file).await;
    assert_eq!((info.dimensions, info.thumbnail), (Some((1600, 1200)), Thumbnail::Pending));
    assert_eq!(decided(&stage, info.id).await, Thumbnail::Ready);
    let download = stage.download(info.id, Variant::Thumbnail).await.unwrap();
    assert_eq!((download.media_type.as_str(), download.hash), ("image/jpeg", None));
    let small = image::load_from_memory(&whole(download).await).unwrap();
    assert_eq!((small.width(), small.height()), (320, 240));
    assert!(stage.bytes(info.id).await == file);
}

#[tokio::test]
async fn a_thumbnail_that_was_pending_is_made_after_a_restart() {
    let mut stage = Stage::new();
    let info = stage.upload(1, "image/png", &encode(500, 100, ImageFormat::Png)).await;
    decided(&stage, info.id).await;
    // As if the process had ended just before it was recorded.
    stage.ledger.book().blobs.get_mut(&info.id).unwrap().0.thumbnail = Thumbnail::Pending;
    let pending = stage.download(info.id, Variant::Thumbnail).await;
    assert_eq!(code(pending), Some(Code::ThumbnailPending));
    stage.restart();
    assert_eq!(decided(&stage, info.id).await, Thumbnail::Ready);
}

#[tokio::test]
async fn a_picture_that_ends_the_process_is_given_up() {
    let mut stage = Stage::new();
    let file = jpeg(40, 30);
    let cases = [(1, TRIES_MAX - 1, Thumbnail::Ready), (2, TRIES_MAX, Thumbnail::Failed)];
    for (id, crashes, outcome) in cases {
        stage.ledger.book().fail_thumbnail = true;
        let info = stage.upload(id, "image/jpeg", &file).await;
        for crash in 1..=crashes {
            // The process ends between the beginning and the record, over and over.
            while stage.ledger.book().fail_thumbnail {
                tokio::task::yield_now().await;
            }
            stage.ledger.book().fail_thumbnail = crash < crashes;
            stage.restart();
        }
        assert_eq!(decided(&stage, info.id).await, outcome);
    }
}

#[tokio::test]
async fn bad_pictures_are_files_without_a_thumbnail() {
    let stage = Stage::new();
    // The header promises a picture, and no picture follows.
    let broken = encode(500, 500, ImageFormat::Png)[..200].to_vec();
    let info = stage.upload(1, "image/png", &broken).await;
    assert_eq!(info.dimensions, Some((500, 500)));
    assert_eq!(decided(&stage, info.id).await, Thumbnail::Failed);
    let refused = stage.download(info.id, Variant::Thumbnail).await;
    assert_eq!(code(refused), Some(Code::BadPicture));
    // A bomb: 60,000 by 60,000 pixels in a few bytes. The GIF header has no checksum to repair.
    let mut bomb = encode(4, 4, ImageFormat::Gif);
    bomb[6..10].copy_from_slice(&[0x60, 0xea, 0x60, 0xea]);
    let info = stage.upload(2, "image/gif", &bomb).await;
    assert_eq!((info.dimensions, info.thumbnail), (None, Thumbnail::None));
    let refused = stage.download(info.id, Variant::Thumbnail).await;
    assert_eq!(code(refused), Some(Code::BadPicture));
    assert!(stage.bytes(info.id).await == bomb);
}
