//! Reads the examples of a source one after another, prepared as collecting prepares them, without packing them: here images; text, sound
//! and points are read by modules of their own.

use std::path::Path;

use rayon::prelude::*;

use crate::card::Kind;
use crate::decode::is_image_name;
use crate::error::{Error, Result};
use crate::images::{change_values, decode_payload};
use crate::memory::Memory;
use crate::options::Options;
use crate::prepare::{Target, prepare};
use crate::shard::Layout;
use crate::source::{self, Item, Payload, Source, each_batch, file_name};

/// Images that are decoded at a time.
const CHUNK: usize = 64;

/// An image of a source, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadImage {
    /// Its path in the source.
    pub name: String,
    /// Its pixels: u8, `[height, width, channels]`, row by row, as the options ask for. The error is the reason why it cannot be used.
    pub pixels: Result<Vec<u8>, String>,
}

/// An example of a source, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadExample<T> {
    /// Its path in the source, with the line where a file has an example on each.
    pub name: String,
    /// The name of its class, where the source gives it one.
    pub class: Option<String>,
    /// The example, or the reason why it cannot be used.
    pub content: Result<T, String>,
}

/// Reads all images of a source: an image file, or any source that [`collect`](crate::collect()) packs as images. Each is cropped,
/// resized and changed as `options` say, and passed to `take` in the order of the source.
///
/// # Errors
///
/// [`Error::BadOption`] when `options` have no size or no number of channels, which all images must share; [`Error::NotFound`]; those of
/// a source that cannot be read. An image that cannot be used is no error.
pub fn read_images(path: &Path, options: &Options, take: &mut dyn FnMut(ReadImage)) -> Result<()> {
    read_labelled_images(path, options, &mut |ReadExample { name, content, .. }| {
        take(ReadImage { name, pixels: content });
    })
}

/// Like [`read_images`], with the class of each image: that of its folder, or of its label in the source.
///
/// # Errors
///
/// Those of [`read_images`].
pub fn read_labelled_images(
    path: &Path,
    options: &Options,
    take: &mut dyn FnMut(ReadExample<Vec<u8>>),
) -> Result<()> {
    options.check()?;
    // Which files a data set was made of, and of what classes and splits they are, says nothing about others.
    let Options { size, crop, shape, channels, background, binarize, invert, limits, .. } = options.clone();
    let kind = Some(Kind::Images);
    let options = Options {
        size,
        crop,
        shape,
        channels,
        background,
        binarize,
        invert,
        limits,
        kind,
        ..Options::default()
    };
    let limits = options.limits.within_memory();
    let (Some((height, width)), Some(channels)) = (options.size, options.channels) else {
        let (value, reason) = ("left out".to_owned(), "all images become of one size");
        return Err(Error::BadOption { option: "size", value, reason, remedy: "give size and channels" });
    };
    if !path.exists() {
        return Err(Error::NotFound { path: path.to_owned() });
    }
    let target = Target { width, height, channels, crop: options.crop, background: options.background };
    let layout =
        Layout { kind: Kind::Images, shape: target.shape(), labelled: false, factors: 0, objects: 0 };
    let memory = Memory::new(&limits);
    let read = |Item { name, label, payload, .. }: Item, classes: &[String]| {
        let (_, decoded) = decode_payload(payload, &limits, &memory);
        let pixels = decoded.map(|(pixels, _share)| {
            let mut image = prepare(pixels, &target);
            change_values(&mut image, &layout, &options);
            image
        });
        let content = pixels.map_err(|reason| reason.text);
        ReadExample { name, class: class_of(label, classes), content }
    };
    let single = || {
        let payload = Payload::File(path.to_owned());
        read(Item { name: file_name(path), split: None, label: None, payload }, &[])
    };
    if path.is_file() && is_image_name(&file_name(path)) {
        take(single());
        return Ok(());
    }
    let mut source = match source::open(path, &options) {
        // A picture without an ending, or something that is none: decoding says which.
        Err(
            Error::UnknownFormat { .. } | Error::NoDataSet { .. } | Error::BadOption { option: "kind", .. },
        ) if path.is_file() => {
            take(single());
            return Ok(());
        }
        opened => opened?,
    };
    let classes = source.plan().classes.clone();
    each_batch(&mut *source, |batches| {
        for batch in batches {
            let mut items = batch.into_iter();
            while items.len() > 0 {
                let chunk: Vec<Item> = items.by_ref().take(CHUNK).collect();
                let images: Vec<_> = chunk.into_par_iter().map(|item| read(item, &classes)).collect();
                images.into_iter().for_each(&mut *take);
            }
        }
        Ok(())
    })
}

/// A source, and the names of its classes.
pub(crate) type WithClasses = (Box<dyn Source>, Vec<String>);

/// Opens a source whose examples are read one after another; `None` for a file without a byte, which
/// `take` gets as an example that cannot be used.
pub(crate) fn open_examples<T>(
    path: &Path,
    options: &Options,
    take: &mut dyn FnMut(ReadExample<T>),
) -> Result<Option<WithClasses>> {
    options.check()?;
    if !path.exists() {
        return Err(Error::NotFound { path: path.to_owned() });
    }
    if let Some(empty) = empty_file(path) {
        take(empty);
        return Ok(None);
    }
    let source = source::open(path, options)?;
    let classes = source.plan().classes.clone();
    Ok(Some((source, classes)))
}

/// The example that a file without a byte is, which as a source is an error: why it cannot be used.
pub(crate) fn empty_file<T>(path: &Path) -> Option<ReadExample<T>> {
    let is_empty = path.is_file() && path.metadata().is_ok_and(|file| file.len() == 0);
    is_empty.then(|| ReadExample {
        name: file_name(path),
        class: None,
        content: Err("it is empty".to_owned()),
    })
}

/// The name of a class by its number.
pub(crate) fn class_of(label: Option<u32>, classes: &[String]) -> Option<String> {
    classes.get(label? as usize).cloned()
}
