//! Animations from frames of one size: GIF with one palette for all frames, and lossless APNG.
//!
//! Frames are asked for one at a time, so that hundreds need not be in memory at once.

use std::io::BufWriter;
use std::path::Path;

use color_quant::NeuQuant;

use super::Picture;
use super::png::{color_type, side, unusable};
use crate::atomic::AtomicFile;
use crate::error::{Error, Result};

/// How long frames are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Milliseconds per frame. GIF counts in steps of 10, and viewers slow down animations that are faster than 20.
    pub delay: u32,
    /// Milliseconds for the last frame.
    pub hold: u32,
    /// How often it plays; 0 for forever.
    pub plays: u16,
}

impl Default for Timing {
    /// Ten frames a second, the last for two seconds, repeated forever.
    fn default() -> Self {
        Self { delay: 100, hold: 2000, plays: 0 }
    }
}

/// Frames by their numbers from 0, made when they are asked for.
pub type Frames<'a> = dyn FnMut(usize) -> Result<Picture> + 'a;

/// Height and width that hold each of `count` frames.
///
/// # Errors
/// What `frame` returns.
pub fn largest(count: usize, frame: &mut Frames<'_>) -> Result<[usize; 2]> {
    let mut most = [0; 2];
    for index in 0..count {
        let picture = frame(index)?;
        most = [most[0].max(picture.height()), most[1].max(picture.width())];
    }
    Ok(most)
}

/// Writes `count` frames as a GIF. `frame` is called twice for some indices: once to choose the colours, once to draw.
///
/// Grey frames keep all their values. For coloured ones a palette of 256 colours is chosen for all frames together
/// (NeuQuant, Dekker 1994), so that colours do not flicker. Transparent parts become black.
///
/// # Errors
/// What `frame` returns, [`Error::Picture`] when frames differ in size or are too large for the format, [`Error::Io`].
///
/// # Panics
/// When `count` is 0.
pub fn write_gif(path: &Path, count: usize, timing: Timing, frame: &mut Frames<'_>) -> Result<()> {
    assert!(count > 0, "an animation needs a frame");
    let mut palette = Palette::choose(count, frame)?;
    let first = frame(0)?;
    let size = (first.width(), first.height());
    let (Ok(width), Ok(height)) = (u16::try_from(size.0), u16::try_from(size.1)) else {
        return Err(unusable(
            "write",
            path,
            &format!("GIF cannot be larger than 65535 pixels and it is {size:?}"),
        ));
    };
    let fail = |error: gif::EncodingError| match error {
        gif::EncodingError::Io(error) => Error::io("write", path)(error),
        other => unusable("write", path, &other),
    };
    let file = BufWriter::new(AtomicFile::create(path)?);
    let mut encoder = gif::Encoder::new(file, width, height, &palette.colors).map_err(fail)?;
    // The format counts repetitions after the first play, and playing once is the default.
    match timing.plays {
        0 => encoder.set_repeat(gif::Repeat::Infinite).map_err(fail)?,
        1 => {}
        plays => encoder.set_repeat(gif::Repeat::Finite(plays - 1)).map_err(fail)?,
    }
    for index in 0..count {
        let picture = if index == 0 { first.clone() } else { frame(index)? };
        same_size(path, index, size, &picture)?;
        let delay = (timing.of(index, count) / 10).clamp(2, u32::from(u16::MAX)) as u16;
        let image = gif::Frame {
            delay,
            dispose: gif::DisposalMethod::Keep,
            width,
            height,
            buffer: palette.indices(&picture).into(),
            ..gif::Frame::default()
        };
        encoder.write_frame(&image).map_err(fail)?;
    }
    let file = encoder.into_inner().map_err(fail)?;
    file.into_inner().map_err(|error| Error::io("write", path)(error.into_error()))?.commit()
}

/// Writes `count` frames as an animated PNG, losslessly. Viewers without support for animation show the first frame.
///
/// # Errors
/// What `frame` returns, [`Error::Picture`] when frames differ in size or channels, [`Error::Io`].
///
/// # Panics
/// When `count` is 0.
pub fn write_apng(path: &Path, count: usize, timing: Timing, frame: &mut Frames<'_>) -> Result<()> {
    assert!(count > 0, "an animation needs a frame");
    let fail = |error: png::EncodingError| match error {
        png::EncodingError::IoError(error) => Error::io("write", path)(error),
        other => unusable("write", path, &other),
    };
    let first = frame(0)?;
    let size = (first.width(), first.height());
    let mut file = BufWriter::new(AtomicFile::create(path)?);
    let mut encoder = png::Encoder::new(&mut file, side(size.0), side(size.1));
    encoder.set_color(color_type(first.channels()));
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(side(count), u32::from(timing.plays)).map_err(fail)?;
    let mut writer = encoder.write_header().map_err(fail)?;
    for index in 0..count {
        let picture = if index == 0 { first.clone() } else { frame(index)? };
        same_size(path, index, size, &picture)?;
        if picture.channels() != first.channels() {
            let reason = format!(
                "frame {index} has {} channels and the first {}",
                picture.channels(),
                first.channels()
            );
            return Err(unusable("write", path, &reason));
        }
        let delay = timing.of(index, count).min(u32::from(u16::MAX)) as u16;
        writer.set_frame_delay(delay, 1000).map_err(fail)?;
        writer.write_image_data(picture.data()).map_err(fail)?;
    }
    writer.finish().map_err(fail)?;
    file.into_inner().map_err(|error| Error::io("write", path)(error.into_error()))?.commit()
}

impl Timing {
    /// Milliseconds for one of the frames.
    fn of(self, index: usize, count: usize) -> u32 {
        if index + 1 == count { self.hold.max(self.delay) } else { self.delay }
    }
}

fn same_size(path: &Path, index: usize, size: (usize, usize), picture: &Picture) -> Result<()> {
    if (picture.width(), picture.height()) == size {
        return Ok(());
    }
    let reason = format!(
        "frame {index} is {}×{} and the first {}×{}",
        picture.width(),
        picture.height(),
        size.0,
        size.1
    );
    Err(unusable("write", path, &reason))
}

/// At most 256 colours for all frames of a GIF.
struct Palette {
    /// Three bytes a colour.
    colors: Vec<u8>,
    /// `None` when all frames are grey, where a value is its own index.
    quantizer: Option<NeuQuant>,
    /// Cached index of every colour with 6 bits per channel; -1 for one that has not occurred yet.
    known: Vec<i16>,
}

impl Palette {
    /// Chooses the colours from pixels spread evenly over up to 32 frames, the last one among them.
    fn choose(count: usize, frame: &mut Frames<'_>) -> Result<Self> {
        const FRAMES: usize = 32;
        const PIXELS: usize = 400_000;
        let looked_at = count.min(FRAMES);
        let mut sample = Vec::new();
        let mut colored = false;
        for i in 0..looked_at {
            let index = if looked_at == 1 { 0 } else { i * (count - 1) / (looked_at - 1) };
            let picture = frame(index)?;
            colored |= picture.channels() > 1;
            let rgb = picture.to_rgb([0; 3]);
            let stride = (picture.width() * picture.height() * looked_at).div_ceil(PIXELS).max(1);
            let pixels = rgb.data().chunks_exact(3).step_by(stride);
            sample.extend(pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]));
        }
        if !colored {
            let colors = (0..=255).flat_map(|grey| [grey; 3]).collect();
            return Ok(Self { colors, quantizer: None, known: Vec::new() });
        }
        let quantizer = NeuQuant::new(3, 256, &sample);
        Ok(Self { colors: quantizer.color_map_rgb(), quantizer: Some(quantizer), known: vec![-1; 1 << 18] })
    }

    fn indices(&mut self, picture: &Picture) -> Vec<u8> {
        let rgb = picture.to_rgb([0; 3]);
        let pixels = rgb.data().chunks_exact(3);
        let Some(quantizer) = &self.quantizer else {
            return pixels.map(grey_of).collect();
        };
        let known = &mut self.known;
        pixels
            .map(|pixel| {
                let six = |channel: usize| usize::from(pixel[channel] >> 2);
                let slot = &mut known[six(0) << 12 | six(1) << 6 | six(2)];
                if *slot < 0 {
                    *slot = quantizer.index_of(&[pixel[0], pixel[1], pixel[2], 255]) as i16;
                }
                *slot as u8
            })
            .collect()
    }
}

/// The luma of a pixel (ITU-R BT.601); a grey one gives its own value.
fn grey_of(pixel: &[u8]) -> u8 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((299 * r + 587 * g + 114 * b + 500) / 1000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::BufReader;

    const TIMING: Timing = Timing { delay: 120, hold: 1500, plays: 0 };

    /// A disc of a changing hue that wanders over a grey slope.
    fn frame(index: usize) -> Result<Picture> {
        let (width, height) = (40, 30);
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let inside = (x as i32 - 5 - 3 * index as i32).pow(2) + (y as i32 - 15).pow(2) < 64;
                let hue = [250 - 20 * index as u8, 20 * index as u8, 90];
                data.extend(if inside { hue } else { [(x * 6) as u8; 3] });
            }
        }
        Ok(Picture::new(width, height, 3, data))
    }

    /// Every frame of a GIF as RGBA with its delay, by the decoder of the `gif` crate.
    fn decode_gif(path: &Path) -> (Vec<(Vec<u8>, u16)>, gif::Repeat) {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(BufReader::new(File::open(path).unwrap())).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            frames.push((frame.buffer.to_vec(), frame.delay));
        }
        (frames, decoder.repeat())
    }

    #[test]
    fn a_gif_shows_the_frames_in_order_and_holds_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gif");
        write_gif(&path, 10, TIMING, &mut frame).unwrap();
        let (frames, repeat) = decode_gif(&path);
        assert_eq!(repeat, gif::Repeat::Infinite);
        assert_eq!(
            frames.iter().map(|&(_, delay)| delay).collect::<Vec<_>>(),
            [&[12; 9][..], &[150]].concat()
        );
        for (index, (pixels, _)) in frames.iter().enumerate() {
            let wanted = frame(index).unwrap();
            let error: u32 = pixels
                .chunks_exact(4)
                .zip(wanted.data().chunks_exact(3))
                .flat_map(|(got, wanted)| (0..3).map(|i| u32::from(got[i].abs_diff(wanted[i]))))
                .sum();
            let mean = f64::from(error) / wanted.data().len() as f64;
            assert!(mean < 3.0, "the colours of frame {index} are {mean} of 255 off");
        }
        let bytes = fs::read(&path).unwrap();
        write_gif(&path, 10, TIMING, &mut frame).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "the same frames give the same bytes");
    }

    #[test]
    fn a_grey_gif_keeps_every_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grey.gif");
        let grey = |index: usize| {
            Ok(Picture::new(16, 16, 1, (0..=255).map(|value: u8| value.wrapping_add(index as u8)).collect()))
        };
        write_gif(&path, 2, Timing { plays: 3, ..TIMING }, &mut { grey }).unwrap();
        let (frames, repeat) = decode_gif(&path);
        assert_eq!(repeat, gif::Repeat::Finite(2));
        for (index, (pixels, _)) in frames.iter().enumerate() {
            let values: Vec<u8> = pixels.iter().step_by(4).copied().collect();
            assert_eq!(values, grey(index).unwrap().data());
        }
    }

    #[test]
    fn an_apng_keeps_every_pixel() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write_apng(&path, 6, TIMING, &mut frame).unwrap();
        let mut reader = png::Decoder::new(BufReader::new(File::open(&path).unwrap())).read_info().unwrap();
        let control = *reader.info().animation_control().unwrap();
        assert_eq!((control.num_frames, control.num_plays), (6, 0));
        for index in 0..6 {
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(pixels, frame(index).unwrap().data());
            let control = reader.info().frame_control().unwrap();
            let delay = if index == 5 { 1500 } else { 120 };
            assert_eq!((control.delay_num, control.delay_den), (delay, 1000));
        }
        assert_eq!(Picture::read_png(&path).unwrap().0, frame(0).unwrap(), "others see the first frame");
    }

    #[test]
    fn the_largest_frame_holds_all() {
        let sizes = [(4, 9), (7, 2)];
        let mut frame = |index: usize| Ok(Picture::filled(sizes[index].0, sizes[index].1, &[0]));
        assert_eq!(largest(2, &mut frame).unwrap(), [9, 7]);
        assert_eq!(largest(1, &mut frame).unwrap(), [9, 4]);
    }

    #[test]
    fn frames_that_do_not_fit_are_named_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let growing = |index: usize| Ok(Picture::filled(4 + index, 4, &[0, 0, 0]));
        let unreadable = |index| {
            if index == 1 { Picture::read_png(Path::new("absent.png")).map(|p| p.0) } else { frame(0) }
        };
        for path in ["a.gif", "a.png"].map(|name| folder.path().join(name)) {
            let write = |frame: &mut Frames<'_>| {
                if path.ends_with("a.gif") {
                    write_gif(&path, 2, TIMING, frame)
                } else {
                    write_apng(&path, 2, TIMING, frame)
                }
            };
            let message = write(&mut { growing }).unwrap_err().to_string();
            assert!(message.contains("frame 1 is 5×4 and the first 4×4"), "{message}");
            assert!(write(&mut { unreadable }).unwrap_err().to_string().contains("absent.png"));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
