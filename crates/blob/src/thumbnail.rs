//! Small versions of pictures that strangers sent, within limits: a picture is a program for a
//! decoder, and some are written to exhaust it.
//!
//! [`probe`] reads no more than a header. [`Studio::make`] decodes one picture at a time; one that
//! takes too long is given up, and the next waits until its thread is really done, so that given-up
//! ones cannot pile up.

use std::{io::Cursor, sync::Arc, time::Duration};

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, codecs::jpeg::JpegEncoder,
    metadata::Orientation,
};
use skein_core::limit::THUMBNAIL_EDGE_PX;
use thiserror::Error;
use tokio::{sync::Semaphore, task, time};

/// Bytes at the beginning of a file that hold the header of any picture worth showing: cameras put
/// colour profiles and previews of some hundred KiB before the dimensions.
pub const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// The quality of a thumbnail, of 100: some 20 KiB at 320 pixels.
const JPEG_QUALITY: u8 = 80;
/// Pictures that are decoded at a time: the memory for one is the memory for all.
const DECODES_MAX: usize = 1;

/// What a picture may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pixels on the longer edge.
    pub edge_px_max: u32,
    /// Pixels in all.
    pub pixels_max: u64,
    /// Bytes of the file.
    pub file_bytes_max: u64,
    /// Bytes that the decoder may allocate for pixels. The coefficients of a progressive JPEG come
    /// on top, at most six bytes a pixel.
    pub alloc_bytes_max: u64,
    /// How long decoding and scaling may take.
    pub time_max: Duration,
}

impl Limits {
    /// What the largest cameras in phones make (50 megapixels), and not more.
    pub const DEFAULT: Self = Self {
        edge_px_max: 12_000,
        pixels_max: 51_000_000,
        file_bytes_max: 64 * 1024 * 1024,
        alloc_bytes_max: 256 * 1024 * 1024,
        time_max: Duration::from_secs(10),
    };
}

/// Why there is no thumbnail.
#[derive(Debug, Error)]
pub enum ThumbnailError {
    /// The file is no picture that can be decoded.
    #[error("no picture: {0}")]
    Undecodable(String),
    /// The picture is beyond the limits.
    #[error("the picture is beyond the limits for {0}")]
    TooLarge(&'static str),
    /// Decoding it took too long.
    #[error("decoding the picture took too long")]
    TooSlow,
}

/// Makes thumbnails, one at a time. Clones share the place.
#[derive(Debug, Clone)]
pub struct Studio {
    limits: Limits,
    place: Arc<Semaphore>,
}

/// Width and height in pixels, as the picture is to be shown, if the bytes begin like a picture
/// within the limits. `header` is the beginning of the file, up to [`HEADER_BYTES_MAX`].
#[must_use]
pub fn probe(header: &[u8], limits: &Limits) -> Option<(u32, u32)> {
    let (decoder, orientation) = open(header, limits).ok()?;
    let (width, height) = decoder.dimensions();
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => Some((height, width)),
        _ => Some((width, height)),
    }
}

impl Studio {
    /// A studio with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, place: Arc::new(Semaphore::new(DECODES_MAX)) }
    }

    /// What a picture may cost here.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A JPEG of the picture with at most [`THUMBNAIL_EDGE_PX`] on the longer edge, upright.
    ///
    /// # Errors
    /// If it is no picture, or beyond the limits.
    pub async fn make(&self, file: Bytes) -> Result<Vec<u8>, ThumbnailError> {
        let limits = self.limits;
        self.within_time(move || make(&file, &limits)).await
    }

    /// Runs the work in the studio's place, which stays taken until the work is really done.
    async fn within_time(
        &self,
        work: impl FnOnce() -> Result<Vec<u8>, ThumbnailError> + Send + 'static,
    ) -> Result<Vec<u8>, ThumbnailError> {
        let place = Arc::clone(&self.place).acquire_owned().await;
        let place = place.map_err(|closed| ThumbnailError::Undecodable(closed.to_string()))?;
        let done = task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        match time::timeout(self.limits.time_max, done).await {
            Err(_) => Err(ThumbnailError::TooSlow),
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(ThumbnailError::Undecodable(panic.to_string())),
        }
    }
}

fn make(file: &[u8], limits: &Limits) -> Result<Vec<u8>, ThumbnailError> {
    if file.len() as u64 > limits.file_bytes_max {
        return Err(ThumbnailError::TooLarge("bytes of the file"));
    }
    let (decoder, orientation) = open(file, limits)?;
    if decoder.total_bytes() > limits.alloc_bytes_max {
        return Err(ThumbnailError::TooLarge("bytes of the pixels"));
    }
    let picture = DynamicImage::from_decoder(decoder).map_err(refused)?;
    // Turned after scaling, when it is cheap: the edge limit is the same both ways.
    let mut small = shrink(picture);
    small.apply_orientation(orientation);
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
    DynamicImage::ImageRgb8(on_white(&small)).write_with_encoder(encoder).map_err(refused)?;
    Ok(jpeg)
}

/// The decoder of the picture, its header read and found within the limits, and which way is up.
fn open<'a>(
    file: &'a [u8],
    limits: &Limits,
) -> Result<(impl ImageDecoder + 'a, Orientation), ThumbnailError> {
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format();
    let mut reader = reader.map_err(|error| ThumbnailError::Undecodable(error.to_string()))?;
    let mut strict = image::Limits::default();
    strict.max_image_width = Some(limits.edge_px_max);
    strict.max_image_height = Some(limits.edge_px_max);
    strict.max_alloc = Some(limits.alloc_bytes_max);
    reader.limits(strict);
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.pixels_max {
        return Err(ThumbnailError::TooLarge("pixels"));
    }
    // The WebP decoder would allocate whatever size the EXIF chunk claims (4 GiB and less), and a
    // WebP made by a program stands upright anyway.
    let orientation = match format {
        Some(ImageFormat::WebP) => Orientation::NoTransforms,
        _ => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    };
    Ok((decoder, orientation))
}

fn shrink(picture: DynamicImage) -> DynamicImage {
    if picture.width().max(picture.height()) <= THUMBNAIL_EDGE_PX {
        return picture;
    }
    picture.thumbnail(THUMBNAIL_EDGE_PX, THUMBNAIL_EDGE_PX)
}

/// JPEG knows no transparency; dark lines on a transparent ground must not vanish in black.
fn on_white(picture: &DynamicImage) -> image::RgbImage {
    let rgba = picture.to_rgba8();
    image::RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0.map(u16::from);
        let blend = |channel: u16| ((channel * alpha + 255 * (255 - alpha)) / 255) as u8;
        image::Rgb([blend(red), blend(green), blend(blue)])
    })
}

fn refused(error: ImageError) -> ThumbnailError {
    match error {
        ImageError::Limits(_) => ThumbnailError::TooLarge("dimensions or memory"),
        other => ThumbnailError::Undecodable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    const LIMITS: Limits = Limits::DEFAULT;

    /// Left half red, right half blue.
    fn flag(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, _| {
            if x < width / 2 { Rgb([220, 0, 0]) } else { Rgb([0, 0, 220]) }
        })
        .into()
    }

    fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    /// Puts an EXIF segment with nothing but an orientation behind the first marker of a JPEG.
    fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let tiff = [
            b"Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(),
            &[orientation, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &tiff, &jpeg[2..]].concat()
    }

    /// A PNG that is nothing but a header, with these claims.
    fn claim(width: u32, height: u32) -> Vec<u8> {
        let mut file = encode(&flag(2, 2), ImageFormat::Png);
        file[16..20].copy_from_slice(&width.to_be_bytes());
        file[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32(&file[12..29]).to_be_bytes();
        file[29..33].copy_from_slice(&checksum);
        file
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 & (!(crc & 1)).wrapping_add(1))
            })
        })
    }

    #[test]
    fn shrinks_every_format() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
            let file = encode(&flag(800, 400), format);
            assert_eq!(probe(&file, &LIMITS), Some((800, 400)), "{format:?}");
            let small = image::load_from_memory(&make(&file, &LIMITS).unwrap()).unwrap().to_rgb8();
            assert_eq!(small.dimensions(), (320, 160), "{format:?}");
            assert!(small.get_pixel(10, 80).0[0] > 150 && small.get_pixel(300, 80).0[2] > 150);
        }
        let tiny = make(&encode(&flag(20, 10), ImageFormat::Png), &LIMITS).unwrap();
        assert_eq!(image::load_from_memory(&tiny).unwrap().width(), 20);
    }

    #[test]
    fn a_header_is_enough_to_probe() {
        let noise = RgbImage::from_fn(900, 900, |x, y| {
            let value = x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503);
            Rgb([(value >> 3) as u8, (value >> 11) as u8, (value >> 19) as u8])
        });
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let file = encode(&noise.clone().into(), format);
            assert_eq!(probe(&file[..4096], &LIMITS), Some((900, 900)), "{format:?}");
        }
    }

    #[test]
    fn turns_upright() {
        let file = turned(&encode(&flag(400, 200), ImageFormat::Jpeg), 6);
        assert_eq!(probe(&file, &LIMITS), Some((200, 400)));
        let small = image::load_from_memory(&make(&file, &LIMITS).unwrap()).unwrap().to_rgb8();
        assert_eq!(small.dimensions(), (160, 320));
        assert!(small.get_pixel(80, 10).0[0] > 150 && small.get_pixel(80, 310).0[2] > 150);
    }

    #[test]
    fn transparent_becomes_white() {
        let clear = RgbaImage::from_pixel(40, 40, Rgba([0, 0, 0, 0])).into();
        let small = make(&encode(&clear, ImageFormat::Png), &LIMITS).unwrap();
        let small = image::load_from_memory(&small).unwrap().to_rgb8();
        assert!(small.get_pixel(20, 20).0.iter().all(|channel| *channel > 250));
    }

    #[test]
    fn refuses_bombs_by_their_header() {
        for (width, height) in [(60_000, 60_000), (12_001, 1), (1, 12_001), (8_000, 8_000)] {
            let bomb = claim(width, height);
            assert_eq!(probe(&bomb, &LIMITS), None, "{width}x{height}");
            let refused = make(&bomb, &LIMITS);
            assert!(matches!(refused, Err(ThumbnailError::TooLarge(_))), "{refused:?}");
        }
        // Within the pixels, but two bytes a channel of four are more than the memory.
        let mut deep = claim(7_000, 7_000);
        deep[24..26].copy_from_slice(&[16, 6]);
        let checksum = crc32(&deep[12..29]).to_be_bytes();
        deep[29..33].copy_from_slice(&checksum);
        assert_eq!(probe(&deep, &LIMITS), Some((7_000, 7_000)));
        assert!(matches!(make(&deep, &LIMITS), Err(ThumbnailError::TooLarge(_))));
        let small = Limits { file_bytes_max: 100, ..LIMITS };
        let file = encode(&flag(400, 200), ImageFormat::Jpeg);
        assert!(matches!(make(&file, &small), Err(ThumbnailError::TooLarge(_))));
    }

    #[test]
    fn refuses_what_is_no_picture() {
        let whole = encode(&flag(300, 300), ImageFormat::Png);
        for file in [b"".as_slice(), b"hello", &[0xff, 0xd8, 0xff, 0xe0], &whole[..40]] {
            assert!(matches!(make(file, &LIMITS), Err(ThumbnailError::Undecodable(_))));
        }
        assert_eq!(probe(b"hello", &LIMITS), None);
    }

    #[tokio::test]
    async fn gives_up_what_takes_too_long_and_waits_for_its_end() {
        let studio = Studio::new(Limits { time_max: Duration::from_millis(1), ..LIMITS });
        let (release, held) = mpsc::channel::<()>();
        let slow = studio.within_time(move || {
            assert!(held.recv().is_err());
            Ok(Vec::new())
        });
        assert!(matches!(slow.await, Err(ThumbnailError::TooSlow)));
        assert_eq!(studio.place.available_permits(), 0);
        drop(release);
        let place = studio.place.acquire().await.unwrap();
        drop(place);
        let patient = Studio { limits: LIMITS, ..studio };
        let file = encode(&flag(30, 30), ImageFormat::Gif);
        assert!(patient.make(file.into()).await.is_ok());
        let panic = patient.within_time(|| panic!("a decoder's bug")).await;
        assert!(matches!(panic, Err(ThumbnailError::Undecodable(_))));
    }
}
