//! A picture file as a small raster of light: the format and the size are checked from the header before anything
//! is decoded, then the picture is turned upright and averaged down to the working resolution. Pure.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::palette;

/// Most pixels of a picture: 6000 by 4000.
pub const MAX_PIXELS: u64 = 24_000_000;
/// Most bytes of a decoded picture: `MAX_PIXELS` of 8-bit colour with alpha fit, 16-bit ones must be smaller.
const MAX_DECODED_BYTES: u64 = 4 * MAX_PIXELS;
/// What a decoder may allocate beside that.
const DECODER_BYTES: u64 = MAX_DECODED_BYTES + 64 * 1024 * 1024;
/// Fewest pixels along a side.
const MIN_SIDE: u32 = 16;
/// Most times that one side may be longer than the other.
const MAX_ASPECT: u32 = 8;
/// Fewest samples along a side: a surface needs two.
const MIN_SAMPLES: usize = 2;

/// Why a file makes no raster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Nothing at all.
    #[error("the picture is empty; send a PNG or JPEG file")]
    Empty,
    /// Something else than a PNG or JPEG.
    #[error("the picture is {found}; send a PNG or JPEG file")]
    Format {
        /// What it looks like.
        found: String,
    },
    /// More pixels than can be taken.
    #[error(
        "the picture has {width} × {height} pixels, too many to decode; \
         send at most {MAX_PIXELS} pixels of 8 bits a channel, or half as many of 16"
    )]
    TooManyPixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// So large that the decoder itself refuses.
    #[error("the picture takes too much memory to decode; send at most {MAX_PIXELS} pixels, without large additions")]
    TooLarge,
    /// Too small or too long a picture.
    #[error(
        "the picture has {width} × {height} pixels; each side must have at least {MIN_SIDE}, \
         and none may be more than {MAX_ASPECT} times as long as the other"
    )]
    Shape {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// It claims to be a picture and cannot be decoded.
    #[error("the picture cannot be decoded: {0}; send an undamaged PNG or JPEG file")]
    Damaged(String),
}

/// Red, green and blue in 0..1, one plane after the other, each in rows from the upper edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// Samples in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// The three planes.
    pub planes: Vec<f32>,
    /// How opaque it is, 0 to 1, in rows; for a picture that can be transparent.
    pub alpha: Option<Vec<f32>>,
    /// Height over width of the whole picture.
    pub aspect: f64,
}

impl Raster {
    /// Averages a raster down as `shrink` does a picture: for a coarser look at what has been decoded already.
    pub fn thinned(&self, resolution: usize) -> Self {
        let (columns, rows) = samples(self.columns, self.rows, resolution);
        let size = self.columns * self.rows;
        let thin = |plane: &[f32]| thin(plane, (self.columns, self.rows), (columns, rows));
        let planes = self.planes.chunks_exact(size).flat_map(thin).collect();
        Self { columns, rows, planes, alpha: self.alpha.as_deref().map(thin), aspect: self.aspect }
    }
}

/// Each sample is the mean of those that it covers.
fn thin(plane: &[f32], (width, height): (usize, usize), (columns, rows): (usize, usize)) -> Vec<f32> {
    let span = |at: usize, count: usize, of: usize| at * of / count..(at + 1) * of / count;
    let mean = |row: usize, column: usize| {
        let (lines, places) = (span(row, rows, height), span(column, columns, width));
        let covered = lines.len() * places.len();
        let sum: f32 = lines.map(|line| plane[line * width..][places.clone()].iter().sum::<f32>()).sum();
        sum / covered as f32
    };
    (0..rows).flat_map(|row| (0..columns).map(move |column| mean(row, column))).collect()
}

/// Decodes a file.
///
/// # Errors
/// When it is no PNG or JPEG, too large, too small, or damaged.
pub fn open(file: &[u8]) -> Result<DynamicImage, PictureError> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format(file)?);
    if !palette::are_whole(file) {
        return Err(PictureError::Damaged("its palette ends in the middle of a colour".to_owned()));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| unusable(&error))?;
    check_size(decoder.dimensions(), decoder.total_bytes())?;
    // A picture whose notes on its orientation are unreadable is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| unusable(&error))?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn format(file: &[u8]) -> Result<ImageFormat, PictureError> {
    if file.is_empty() {
        return Err(PictureError::Empty);
    }
    match image::guess_format(file) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => Ok(format),
        Ok(other) => Err(PictureError::Format { found: format!("{other:?}") }),
        Err(_) => Err(PictureError::Format { found: "of no known format".to_owned() }),
    }
}

fn unusable(error: &ImageError) -> PictureError {
    match error {
        ImageError::Limits(_) => PictureError::TooLarge,
        other => PictureError::Damaged(other.to_string()),
    }
}

fn check_size((width, height): (u32, u32), decoded_bytes: u64) -> Result<(), PictureError> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoded_bytes > MAX_DECODED_BYTES {
        return Err(PictureError::TooManyPixels { width, height });
    }
    let (short, long) = (width.min(height), width.max(height));
    if short < MIN_SIDE || long > short.saturating_mul(MAX_ASPECT) {
        return Err(PictureError::Shape { width, height });
    }
    Ok(())
}

/// A picture as its pixels: bytes of grey, of colour, or of colour with how opaque it is, in rows from the upper edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes of a pixel: 1, 3 or 4.
    pub channels: usize,
    /// The pixels.
    pub bytes: Vec<u8>,
}

/// The pixels of a picture, as [`shrink`] reads them, but for what is transparent: that is whoever averages it down's affair.
pub fn pixels(image: DynamicImage) -> Pixels {
    let of = |(width, height): (u32, u32), channels, bytes| {
        let [width, height] = [width, height].map(|side| side as usize);
        Pixels { width, height, channels, bytes }
    };
    match image {
        DynamicImage::ImageLuma8(grey) => of(grey.dimensions(), 1, grey.into_raw()),
        other if other.color().has_alpha() => {
            let layered = other.into_rgba8();
            of(layered.dimensions(), 4, layered.into_raw())
        }
        other => {
            let colour = other.into_rgb8();
            of(colour.dimensions(), 3, colour.into_raw())
        }
    }
}

/// Averages the picture down to a raster with `resolution` samples along its longer side, or fewer if it has fewer. Grey and 8-bit colour, the usual kinds, are read where they lie.
pub fn shrink(image: DynamicImage, resolution: usize) -> Raster {
    match image {
        DynamicImage::ImageLuma8(grey) => average::<1>(grey.as_raw(), grey.dimensions(), resolution),
        DynamicImage::ImageRgb8(colour) => average::<3>(colour.as_raw(), colour.dimensions(), resolution),
        other if other.color().has_alpha() => {
            let mut layered = other.into_rgba8();
            layered.pixels_mut().for_each(|pixel| pixel.0 = on_black(pixel.0));
            average::<4>(layered.as_raw(), layered.dimensions(), resolution)
        }
        other => {
            let colour = other.into_rgb8();
            average::<3>(colour.as_raw(), colour.dimensions(), resolution)
        }
    }
}

/// What is transparent is background, and the background is dark: it lies low.
fn on_black([red, green, blue, alpha]: [u8; 4]) -> [u8; 4] {
    let shade = |channel: u8| ((u16::from(channel) * u16::from(alpha) + 127) / 255) as u8;
    [shade(red), shade(green), shade(blue), alpha]
}

/// Samples along both sides: the longer has `resolution`, or its pixels if it has fewer, the other keeps the shape.
pub fn samples(width: usize, height: usize, resolution: usize) -> (usize, usize) {
    let long = width.max(height);
    let scaled = |side: usize| {
        let kept = (side as f64 * resolution.min(long) as f64 / long as f64).round() as usize;
        kept.clamp(MIN_SAMPLES.min(side), side)
    };
    (scaled(width), scaled(height))
}

/// Each sample is the mean of the pixels that it covers. One pass over the picture, in its own order.
fn average<const CHANNELS: usize>(pixels: &[u8], (width, height): (u32, u32), resolution: usize) -> Raster {
    let (width, height) = (width as usize, height as usize);
    let (columns, rows) = samples(width, height, resolution);
    let size = columns * rows;
    let mut planes = vec![0.0; 3 * size];
    let mut alpha = (CHANNELS == 4).then(|| vec![0.0; size]);
    let mut sums = vec![[0_u32; CHANNELS]; columns];
    let starts: Vec<usize> = (0..=columns).map(|column| column * width / columns).collect();
    for row in 0..rows {
        let lines = row * height / rows..(row + 1) * height / rows;
        sums.fill([0; CHANNELS]);
        for line in lines.clone() {
            add_line(&mut sums, &starts, &pixels[line * width * CHANNELS..(line + 1) * width * CHANNELS]);
        }
        for (column, sum) in sums.iter().enumerate() {
            let covered = (starts[column + 1] - starts[column]) * lines.len();
            let scale = 1.0 / (255.0 * covered as f32);
            for plane in 0..3 {
                // Grey has one channel, which stands for all three.
                planes[plane * size + row * columns + column] = sum[plane.min(CHANNELS - 1)] as f32 * scale;
            }
            if let Some(alpha) = &mut alpha {
                alpha[row * columns + column] = sum[CHANNELS - 1] as f32 * scale;
            }
        }
    }
    Raster { columns, rows, planes, alpha, aspect: height as f64 / width as f64 }
}

/// A sample covers at most `MAX_PIXELS / MIN_SIDE` pixels of at most 255 each, which a sum has room for.
fn add_line<const CHANNELS: usize>(sums: &mut [[u32; CHANNELS]], starts: &[usize], line: &[u8]) {
    let (pixels, _) = line.as_chunks::<CHANNELS>();
    for (sum, span) in sums.iter_mut().zip(starts.windows(2)) {
        for pixel in &pixels[span[0]..span[1]] {
            for (total, &value) in sum.iter_mut().zip(pixel) {
                *total = total.wrapping_add(u32::from(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(file: &[u8], resolution: usize) -> Result<Raster, PictureError> {
        open(file).map(|image| shrink(image, resolution))
    }
    use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
    use proptest::prelude::*;

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        file(&image.into(), ImageFormat::Png)
    }

    /// A PNG's signature and header, and nothing behind: enough to say a size.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut file = png(GrayImage::new(16, 16));
        file[16..20].copy_from_slice(&width.to_be_bytes());
        file[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc(&file[12..29]);
        file[29..33].copy_from_slice(&sum.to_be_bytes());
        file
    }

    /// A PNG whose pixels are numbers of colours, with so many bytes of palette.
    fn with_palette(bytes: u8) -> Vec<u8> {
        let mut file = png(GrayImage::new(16, 16));
        file[25] = 3;
        let sum = crc(&file[12..29]);
        file[29..33].copy_from_slice(&sum.to_be_bytes());
        let palette = [b"PLTE".as_slice(), &vec![255; usize::from(bytes)]].concat();
        let chunk = [&[0, 0, 0, bytes], &palette[..], &crc(&palette).to_be_bytes()].concat();
        file.splice(33..33, chunk);
        file
    }

    /// The checksum of PNG's chunks.
    fn crc(bytes: &[u8]) -> u32 {
        let step = |sum: u32| if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 };
        !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| step(sum)))
    }

    #[test]
    fn samples_keep_the_shape() {
        for ((width, height, resolution), expected) in [
            ((512, 512, 128), (128, 128)),
            ((600, 400, 128), (128, 85)),
            ((300, 451, 128), (85, 128)),
            ((64, 48, 128), (64, 48)),
            ((800, 100, 16), (16, 2)),
            ((16, 128, 16), (2, 16)),
        ] {
            assert_eq!(samples(width, height, resolution), expected, "{width} × {height} at {resolution}");
        }
    }

    #[test]
    fn each_sample_is_the_mean_of_its_pixels() {
        let stripes = RgbImage::from_fn(32, 32, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }, 51, 0]));
        let raster = decode(&png(stripes), 16).unwrap();
        assert_eq!((raster.columns, raster.rows, raster.planes.len()), (16, 16, 3 * 256));
        for (plane, expected) in [0.5, 0.2, 0.0].into_iter().enumerate() {
            let samples = &raster.planes[plane * 256..(plane + 1) * 256];
            assert!(samples.iter().all(|sample| (sample - expected).abs() < 1e-6), "plane {plane}");
        }
    }

    #[test]
    fn a_raster_is_thinned_as_a_picture_is_shrunk() {
        let picture = RgbaImage::from_fn(48, 24, |x, y| Rgba([(5 * x) as u8, (9 * y) as u8, 7, (x + y) as u8]));
        let file = png(picture);
        let [found, expected] = [decode(&file, 48).unwrap().thinned(12), decode(&file, 12).unwrap()];
        assert_eq!((found.columns, found.rows, found.aspect), (12, 6, 0.5));
        let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&found.planes, &expected.planes) && near(&found.alpha.unwrap(), &expected.alpha.unwrap()));
    }

    #[test]
    fn every_kind_of_pixel_is_read() {
        let grey = |value: f32| [value; 3];
        let check = |file: Vec<u8>, expected: [f32; 3]| {
            let raster = decode(&file, 16).unwrap();
            let found: [f32; 3] = std::array::from_fn(|plane| raster.planes[plane * 256]);
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 0.01), "{found:?}");
        };
        check(png(GrayImage::from_pixel(16, 16, Luma([51]))), grey(0.2));
        check(png(RgbaImage::from_pixel(16, 16, Rgba([255, 0, 255, 0]))), grey(0.0));
        check(png(RgbaImage::from_pixel(16, 16, Rgba([255, 0, 255, 255]))), [1.0, 0.0, 1.0]);
        check(png(ImageBuffer::from_pixel(16, 16, Luma([u16::MAX / 2]))), grey(0.5));
        check(png(ImageBuffer::from_pixel(16, 16, Rgb([0_u16, u16::MAX, 0]))), [0.0, 1.0, 0.0]);
        check(with_palette(3), grey(1.0));
        let jpeg = RgbImage::from_pixel(16, 16, Rgb([200, 200, 200]));
        check(file(&jpeg.into(), ImageFormat::Jpeg), grey(200.0 / 255.0));
    }

    /// The camera lay on its side: the file says how to turn the picture.
    #[test]
    fn the_picture_is_turned_upright() {
        let wide = RgbImage::from_fn(32, 16, |x, _| Rgb([if x < 16 { 255 } else { 0 }; 3]));
        let plain = file(&wide.into(), ImageFormat::Jpeg);
        let tiff =
            [b"Exif\0\0MM\0*\0\0\0\x08\0\x01".as_slice(), b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"].concat();
        let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
        let turned = [&plain[..2], &[0xFF, 0xE1], &length, &tiff, &plain[2..]].concat();
        let raster = decode(&turned, 32).unwrap();
        assert_eq!((raster.columns, raster.rows, raster.aspect), (16, 32, 2.0));
        assert!(raster.planes[0] > 0.9 && raster.planes[31 * 16] < 0.1, "the left edge is on top");
    }

    #[test]
    fn what_is_no_picture_is_named() {
        let check = |file: &[u8], part: &str| {
            let error = decode(file, 16).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            error
        };
        check(b"", "empty");
        check(b"GIF89a\0\0", "Gif; send a PNG or JPEG");
        check(b"hello", "no known format");
        let whole = png(RgbImage::new(64, 64));
        assert!(matches!(check(&whole[..whole.len() / 2], "undamaged"), PictureError::Damaged(_)));
        check(&with_palette(4), "the middle of a colour; send an undamaged");
        check(&png(GrayImage::new(16, 15)), "16 × 15 pixels; each side must have at least 16");
        check(&png(GrayImage::new(16, 129)), "8 times as long");
    }

    /// Millions of pixels that a small file only claims to have are refused before any room is made for them.
    #[test]
    fn the_size_is_checked_before_decoding() {
        for (width, height, expected) in [
            (60_000, 60_000, PictureError::TooManyPixels { width: 60_000, height: 60_000 }),
            (6001, 4000, PictureError::TooManyPixels { width: 6001, height: 4000 }),
            (u32::MAX >> 1, 16, PictureError::TooLarge),
        ] {
            let file = png_header(width, height);
            assert!(file.len() < 200);
            assert_eq!(decode(&file, 128), Err(expected));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, place in 0..400_usize, value: u8) {
            let _ = decode(&bytes, 16);
            let mut hurt = png(RgbImage::from_fn(24, 24, |x, y| Rgb([x as u8, y as u8, 7])));
            if let Some(byte) = hurt.get_mut(place) {
                *byte = value;
            }
            let _ = decode(&hurt, 16);
        }

        /// The mean light of a picture survives shrinking when every sample covers as many pixels as the others.
        #[test]
        fn light_is_kept(values in proptest::collection::vec(any::<u8>(), 64 * 64)) {
            let image = GrayImage::from_raw(64, 64, values.clone()).unwrap();
            let raster = decode(&png(image), 16).unwrap();
            let mean = |sum: f64, count: usize| sum / count as f64;
            let before = mean(values.iter().map(|&value| f64::from(value) / 255.0).sum(), values.len());
            let after = mean(raster.planes.iter().map(|&value| f64::from(value)).sum(), raster.planes.len());
            prop_assert!((before - after).abs() < 1e-5);
        }
    }
}
