//! IDX, the format of MNIST and its family: big-endian header `00 00 08 rank`, one u32 a dimension, then bytes,
//! row by row. Files may be compressed with gzip. Labels are in a second file next to the images.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::gzipped_copies::without_gzipped_copies;
use super::{
    FETCH, Halt, Item, Payload, Plan, Sink, Source, check_image, file_name, source_name, split_of,
    splits_differ,
};
use crate::error::{Error, Result};
use crate::prepare::Pixels;
use crate::regular;
use crate::split::Split;

pub(crate) struct Idx {
    parts: Vec<Part>,
    /// All pixels are 0 or 1 and are stored as 0 or 255.
    binary: bool,
    plan: Plan,
}

/// One file of images with its labels.
struct Part {
    images: PathBuf,
    header: Header,
    labels: Option<Vec<u8>>,
    split: Option<Split>,
}

/// Whether a file name is that of IDX images: `…-images-idx3-ubyte`, `….idx3-ubyte`, `….idx`, each also with `.gz`.
pub(crate) fn is_images(path: &Path) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    ["idx3-ubyte", "idx4-ubyte", ".idx3", ".idx4"].iter().any(|ending| name.ends_with(ending))
        || (name.ends_with(".idx") && !name.contains("label"))
}

/// Whether a file name is that of IDX labels: `…-labels-idx1-ubyte`, `….idx1`, `…label….idx`, each also with `.gz`.
pub(crate) fn is_labels(path: &Path) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    ["idx1-ubyte", ".idx1"].iter().any(|ending| name.ends_with(ending))
        || (name.ends_with(".idx") && name.contains("label"))
}

impl Idx {
    /// All IDX images among the files of a folder, with splits taken from their names.
    pub(crate) fn open(folder: &Path, files: &[PathBuf]) -> Result<Idx> {
        let images: Vec<_> = files.iter().filter(|file| is_images(file)).cloned().collect();
        let (images, packed) = without_gzipped_copies(images);
        let mut idx = Self::plan_for(source_name(folder), &images.iter().collect::<Vec<_>>(), files)?;
        idx.plan.notes.extend(packed);
        Ok(idx)
    }

    /// One file of images, with its labels if they are next to it.
    pub(crate) fn open_one(images: &Path, files: &[PathBuf]) -> Result<Idx> {
        Self::plan_for(source_name(images), &[&images.to_owned()], files)
    }

    fn plan_for(name: String, images: &[&PathBuf], files: &[PathBuf]) -> Result<Idx> {
        let mut parts = Vec::new();
        let mut brightest = 0;
        for images in images {
            let (header, max) = check_images(images)?;
            brightest = brightest.max(max);
            let labels =
                labels_next_to(images, files).map(|path| read_labels(path, header.count)).transpose()?;
            parts.push(Part { images: (*images).clone(), header, labels, split: split_of(images) });
        }
        // The train split first, not in alphabetical order.
        parts.sort_by_key(|part| part.split);
        let binary = brightest == 1;
        let has_splits = splits_differ(parts.iter().map(|part| &part.images));
        let classes =
            parts.iter().flat_map(|p| p.labels.iter().flatten()).max().map_or(0, |&max| usize::from(max) + 1);
        let mut notes = Vec::new();
        if binary {
            notes.push("all pixels of the source are 0 or 1; they are stored as 0 and 255".to_owned());
        }
        let plan = Plan {
            name,
            classes: (0..classes).map(|class| class.to_string()).collect(),
            has_splits,
            total: Some(parts.iter().map(|p| p.header.count as u64).sum()),
            notes,
            ..Plan::default()
        };
        Ok(Idx { parts, binary, plan })
    }
}

impl Source for Idx {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for part in &self.parts {
            let mut reader = reader(&part.images)?;
            let header = Header::read(&mut reader, &part.images)?;
            let name = file_name(&part.images);
            for i in 0..header.count {
                let mut bytes = vec![0; header.image_bytes()];
                reader.read_exact(&mut bytes).map_err(|e| read_error(&part.images, e))?;
                if self.binary {
                    bytes.iter_mut().for_each(|v| *v *= 255);
                }
                let (width, height, channels) = (header.width, header.height, header.channels);
                sink.send(Item {
                    name: format!("{name} image {i}"),
                    split: part.split,
                    label: part.labels.as_ref().map(|labels| u32::from(labels[i])),
                    payload: Payload::Pixels(Pixels { width, height, channels, bytes }),
                })?;
            }
        }
        Ok(())
    }
}

/// The dimensions of a file of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    count: usize,
    height: u32,
    width: u32,
    channels: u8,
}

impl Header {
    fn image_bytes(&self) -> usize {
        self.height as usize * self.width as usize * usize::from(self.channels)
    }

    fn read(reader: &mut impl Read, path: &Path) -> Result<Header> {
        let dims = read_dims(reader, path)?;
        let (count, height, width, channels) = match dims[..] {
            [count, height, width] => (count, height, width, 1),
            [count, height, width, channels @ (1..=4)] => (count, height, width, channels),
            _ => {
                let reason = format!(
                    "its dimensions {dims:?} are not those of images (count, height, width and 1 to 4 channels)"
                );
                return Err(Error::malformed(path, reason));
            }
        };
        if count == 0 || !(1..=65_535).contains(&height) || !(1..=65_535).contains(&width) {
            return Err(Error::malformed(
                path,
                format!("its dimensions {dims:?} hold no images of a usable size"),
            ));
        }
        Ok(Header { count: count as usize, height, width, channels: channels as u8 })
    }
}

/// Reads a whole file of images once: it must be exactly as long as its header says. Returns the header and the
/// brightest value.
fn check_images(path: &Path) -> Result<(Header, u8)> {
    let mut reader = reader(path)?;
    let header = Header::read(&mut reader, path)?;
    let expected = header.image_bytes() as u128 * header.count as u128;
    let (mut found, mut brightest) = (0_u128, 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = reader.read(&mut buffer).map_err(|e| read_error(path, e))?;
        if read == 0 {
            break;
        }
        found += read as u128;
        if found > expected {
            break;
        }
        brightest = buffer[..read].iter().fold(brightest, |max, &v| max.max(v));
    }
    if found != expected {
        let Header { count, height, width, channels } = header;
        let more = if found > expected { "holds more" } else { "ends early" };
        let reason =
            format!("its header promises {count} images of {width}x{height}x{channels}, but the file {more}");
        return Err(Error::damaged(path, reason, FETCH));
    }
    check_image(header.image_bytes() as u64, path)?;
    Ok((header, brightest))
}

fn read_labels(path: &Path, images: usize) -> Result<Vec<u8>> {
    let mut reader = reader(path)?;
    let dims = read_dims(&mut reader, path)?;
    if dims.len() != 1 || dims[0] as usize != images {
        let reason = format!("its dimensions {dims:?} do not fit the {images} images");
        return Err(Error::malformed(path, reason));
    }
    let mut labels = Vec::new();
    reader.take(images as u64 + 1).read_to_end(&mut labels).map_err(|e| read_error(path, e))?;
    if labels.len() != images {
        let reason = format!("its header promises {images} labels, but it holds another number");
        return Err(Error::damaged(path, reason, FETCH));
    }
    Ok(labels)
}

/// The sizes of all dimensions in the header.
fn read_dims(reader: &mut impl Read, path: &Path) -> Result<Vec<u32>> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => Error::malformed(path, "it is empty or too short for an IDX header"),
        _ => read_error(path, e),
    })?;
    let [0, 0, kind, rank @ 1..=8] = magic else {
        return Err(Error::malformed(path, "it does not begin like an IDX file"));
    };
    if kind != 8 {
        return Err(Error::malformed(
            path,
            format!("its values are of type {kind:#x}, and only bytes (0x8) are read"),
        ));
    }
    let mut dims = Vec::new();
    for _ in 0..rank {
        let mut dim = [0; 4];
        reader.read_exact(&mut dim).map_err(|e| read_error(path, e))?;
        dims.push(u32::from_be_bytes(dim));
    }
    Ok(dims)
}

/// Opens a file and undoes gzip where the first bytes show it.
fn reader(path: &Path) -> Result<Box<dyn Read + Send>> {
    let open = || regular::open(path).map_err(|e| Error::read(path, e));
    let mut magic = [0; 2];
    let zipped = open()?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    let file = BufReader::with_capacity(1 << 16, open()?);
    Ok(if zipped {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

fn read_error(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged(path, "it ends early", FETCH),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::damaged(path, format!("it cannot be decompressed ({error})"), FETCH)
        }
        _ => Error::read(path, error),
    }
}

/// The file of labels beside a file of images, by the naming of MNIST.
fn labels_next_to<'a>(images: &Path, files: &'a [PathBuf]) -> Option<&'a PathBuf> {
    let plain = |path: &Path| {
        let name = file_name(path).to_ascii_lowercase();
        name.strip_suffix(".gz").unwrap_or(&name).to_owned()
    };
    let wanted = plain(images).replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let beside = |file: &Path| file.parent() == images.parent();
    files.iter().find(|file| beside(file) && plain(file) == wanted && plain(file) != plain(images))
}
