//! One shard of a packed data set: a safetensors file that is written in one pass and read through a memory map.
//!
//! The examples come first in the file and labels, factors and boxes after them, so that a writer only keeps four
//! bytes a label in memory. The header is written last, into room left for it, padded with spaces as the format
//! allows.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::card::{Card, Kind, ShardCard};
use crate::error::{Error, Result};
use crate::regular;
use crate::split::Split;

/// The label of an example that has none, in a data set where others have one.
pub(crate) const NO_LABEL: u32 = u32::MAX;

/// Where the data begins: room for the length and the text of the header.
const DATA_START: u64 = 1024;

/// What all shards of a data set have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    pub(crate) labelled: bool,
    pub(crate) factors: usize,
    /// Most objects of an image; 0 where no boxes are stored.
    pub(crate) objects: usize,
}

impl Layout {
    /// The layout that a card promises: there are labels exactly when there are classes.
    pub(crate) fn of(card: &Card) -> Layout {
        Layout {
            kind: card.kind,
            shape: card.shape.clone(),
            labelled: !card.classes.is_empty(),
            factors: card.factors.len(),
            objects: card.objects.unwrap_or(0),
        }
    }

    /// Bytes of one example.
    pub(crate) fn example_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype().bitsize() / 8
    }

    fn dtype(&self) -> Dtype {
        match self.kind {
            Kind::Images => Dtype::U8,
            Kind::Points => Dtype::F32,
            Kind::Text | Kind::Sound | Kind::Experience => unreachable!("it has a layout of its own"),
        }
    }

    /// The tensors of a shard with `rows` examples, in the order in which they lie in the file.
    fn tensors(&self, rows: usize) -> Tensors {
        let name = match self.kind {
            Kind::Images => "images",
            Kind::Points => "points",
            Kind::Text | Kind::Sound | Kind::Experience => unreachable!("it has a layout of its own"),
        };
        let mut shape = vec![rows];
        shape.extend(&self.shape);
        let mut tensors = Tensors::default();
        tensors.push(name, self.dtype(), shape);
        if self.labelled {
            tensors.push("labels", Dtype::U32, vec![rows]);
        }
        if self.factors > 0 {
            tensors.push("factors", Dtype::F32, vec![rows, self.factors]);
        }
        if self.objects > 0 {
            tensors.push("boxes", Dtype::F32, vec![rows, self.objects, 4]);
        }
        tensors
    }
}

/// Names, types and places of the tensors of a shard, one after another.
#[derive(Default)]
pub(crate) struct Tensors {
    list: Vec<(String, TensorInfo)>,
    end: usize,
}

impl Tensors {
    pub(crate) fn push(&mut self, name: &str, dtype: Dtype, shape: Vec<usize>) {
        let start = self.end;
        self.end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        self.list.push((name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, self.end) }));
    }
}

/// Writes one split of a data set, beginning a new shard whenever one is full.
pub(crate) struct SplitWriter {
    folder: PathBuf,
    split: Split,
    layout: Layout,
    rows_per_shard: usize,
    current: Option<ShardWriter>,
    finished: Vec<ShardCard>,
}

impl SplitWriter {
    pub(crate) fn new(folder: &Path, split: Split, layout: &Layout, shard_bytes: u64) -> Self {
        let rows_per_shard = (shard_bytes / layout.example_bytes() as u64).max(1) as usize;
        Self {
            folder: folder.to_owned(),
            split,
            layout: layout.clone(),
            rows_per_shard,
            current: None,
            finished: Vec::new(),
        }
    }

    /// Appends one example. `factors` must have as many values as the layout says, and there must be no more boxes.
    pub(crate) fn push(
        &mut self,
        example: &[u8],
        label: Option<u32>,
        factors: &[f32],
        boxes: &[[f32; 4]],
    ) -> Result<()> {
        if self.current.as_ref().is_some_and(|shard| shard.rows == self.rows_per_shard) {
            self.finish_shard()?;
        }
        let shard = match &mut self.current {
            Some(shard) => shard,
            none => {
                let file = shard_name(self.split, self.finished.len());
                none.insert(ShardWriter::create(&self.folder, file, &self.layout)?)
            }
        };
        shard.push(example, label.unwrap_or(NO_LABEL), factors, boxes)
    }

    /// Gives all that was written so far, and all that follows, to another split.
    pub(crate) fn rename(&mut self, split: Split) -> Result<()> {
        self.finish_shard()?;
        self.split = split;
        rename(&self.folder, &mut self.finished, split)
    }

    /// Completes the last shard and returns the list of all.
    pub(crate) fn finish(mut self) -> Result<Vec<ShardCard>> {
        self.finish_shard()?;
        Ok(self.finished)
    }

    fn finish_shard(&mut self) -> Result<()> {
        if let Some(shard) = self.current.take() {
            self.finished.push(shard.finish()?);
        }
        Ok(())
    }
}

pub(crate) fn shard_name(split: Split, index: usize) -> String {
    format!("{split}-{index:05}.safetensors")
}

/// Gives finished shards to another split.
pub(crate) fn rename(folder: &Path, shards: &mut [ShardCard], split: Split) -> Result<()> {
    for (index, shard) in shards.iter_mut().enumerate() {
        let file = shard_name(split, index);
        let (from, to) = (folder.join(&shard.file), folder.join(&file));
        std::fs::rename(&from, &to).map_err(|e| Error::write(&to, e))?;
        shard.file = file;
    }
    Ok(())
}

/// Begins a shard: a new file with room for the header.
pub(crate) fn create_shard(path: &Path) -> Result<BufWriter<File>> {
    let mut file = File::create_new(path)
        .map(|f| BufWriter::with_capacity(1 << 20, f))
        .map_err(|e| Error::write(path, e))?;
    file.write_all(&[b' '; DATA_START as usize]).map_err(|e| Error::write(path, e))?;
    Ok(file)
}

/// Completes a shard whose first tensor has been written: the others follow, then the header is filled in. Returns
/// the size of the file.
pub(crate) fn finish_shard(
    file: &mut BufWriter<File>,
    tensors: Tensors,
    others: &[&[u8]],
) -> std::io::Result<u64> {
    others.iter().try_for_each(|bytes| file.write_all(bytes))?;
    let bytes = file.stream_position()?;
    let metadata = Metadata::new(None, tensors.list).map_err(std::io::Error::other)?;
    let header = serde_json::to_vec(&metadata)?;
    assert!(header.len() as u64 <= DATA_START - 8, "the header of a shard fits the room left for it");
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&(DATA_START - 8).to_le_bytes())?;
    file.write_all(&header)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(bytes)
}

struct ShardWriter {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    layout: Layout,
    rows: usize,
    labels: Vec<u8>,
    factors: Vec<u8>,
    boxes: Vec<u8>,
}

impl ShardWriter {
    fn create(folder: &Path, name: String, layout: &Layout) -> Result<Self> {
        let path = folder.join(&name);
        let file = create_shard(&path)?;
        let (labels, factors, boxes) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { path, name, file, layout: layout.clone(), rows: 0, labels, factors, boxes })
    }

    fn push(&mut self, example: &[u8], label: u32, factors: &[f32], boxes: &[[f32; 4]]) -> Result<()> {
        assert_eq!(example.len(), self.layout.example_bytes(), "an example of another size than the layout");
        assert_eq!(factors.len(), self.layout.factors, "another number of factors than the layout");
        self.file.write_all(example).map_err(|e| Error::write(&self.path, e))?;
        if self.layout.labelled {
            self.labels.extend(label.to_le_bytes());
        }
        self.factors.extend(factors.iter().flat_map(|f| f.to_le_bytes()));
        // What is left of the row is boxes without a size.
        assert!(boxes.len() <= self.layout.objects, "more boxes than the layout has");
        let row = self.boxes.len() + 16 * self.layout.objects;
        self.boxes.extend(boxes.as_flattened().iter().flat_map(|side| side.to_le_bytes()));
        self.boxes.resize(row, 0);
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<ShardCard> {
        let tensors = self.layout.tensors(self.rows);
        let bytes = finish_shard(&mut self.file, tensors, &[&self.labels, &self.factors, &self.boxes])
            .map_err(|e| Error::write(&self.path, e))?;
        Ok(ShardCard { file: self.name, count: self.rows, elements: 0, bytes })
    }
}

/// A shard opened for reading.
#[derive(Debug)]
pub(crate) struct Shard {
    map: Mmap,
    examples: Range<usize>,
    example_bytes: usize,
    labels: Option<Range<usize>>,
    factors: Vec<f32>,
    factor_count: usize,
    /// `objects` for each row, of which those that are there come first.
    boxes: Vec<[f32; 4]>,
    objects: usize,
    rows: usize,
    /// Whether examples are numbers of four bytes, which [`Shard::open`] has found at their places.
    points: bool,
}

// Numbers are read in place as they lie in the file, the lowest byte first.
const _: () = assert!(cfg!(target_endian = "little"), "packed data sets are read on little-endian machines");

impl Shard {
    /// Opens a shard and checks its size, its header and its labels against the card, which has so many classes.
    pub(crate) fn open(folder: &Path, card: &ShardCard, layout: &Layout, classes: usize) -> Result<Shard> {
        let path = folder.join(&card.file);
        let (map, ranges) = open_shard(&path, card.bytes, &layout.tensors(card.count))?;
        let mut ranges = ranges.into_iter();
        let examples = ranges.next().unwrap_or_default();
        let points = layout.kind == Kind::Points;
        if points && bytemuck::try_cast_slice::<u8, f32>(&map[examples.clone()]).is_err() {
            return Err(Error::corrupt(&path, "its points do not begin at a multiple of four bytes"));
        }
        let labels = if layout.labelled { ranges.next() } else { None };
        if let Some(labels) = labels.clone() {
            check_labels(&path, &map[labels], classes)?;
        }
        // Labels may leave the factors at any alignment, so these few numbers are copied.
        let mut numbers = |stored: bool| match stored {
            true => ranges.next().map(|range| floats(&map[range])).unwrap_or_default(),
            false => Vec::new(),
        };
        let (factors, boxes) = (numbers(layout.factors > 0), numbers(layout.objects > 0));
        let boxes = boxes.as_chunks::<4>().0.to_vec();
        if layout.objects > 0 {
            check_boxes(&path, &boxes, layout.objects)?;
        }
        Ok(Shard {
            map,
            examples,
            example_bytes: layout.example_bytes(),
            labels,
            factors,
            factor_count: layout.factors,
            boxes,
            objects: layout.objects,
            rows: card.count,
            points,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn example(&self, row: usize) -> &[u8] {
        let start = self.examples.start + row * self.example_bytes;
        &self.map[start..start + self.example_bytes]
    }

    /// The coordinates of a point.
    ///
    /// # Panics
    ///
    /// When the examples are not points.
    pub(crate) fn point(&self, row: usize) -> &[f32] {
        assert!(self.points, "the examples of this data set are not points");
        bytemuck::cast_slice(self.example(row))
    }

    pub(crate) fn label(&self, row: usize) -> Option<u32> {
        let start = self.labels.as_ref()?.start + row * 4;
        let bytes = &self.map[start..start + 4];
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).filter(|&label| label != NO_LABEL)
    }

    pub(crate) fn factors(&self, row: usize) -> Option<&[f32]> {
        let start = row * self.factor_count;
        (self.factor_count > 0).then(|| &self.factors[start..start + self.factor_count])
    }

    pub(crate) fn boxes(&self, row: usize) -> Option<&[[f32; 4]]> {
        if self.objects == 0 {
            return None;
        }
        let row = &self.boxes[row * self.objects..(row + 1) * self.objects];
        Some(&row[..row.partition_point(is_box)])
    }
}

/// Maps a shard, checks its size and that its header has these tensors, and returns where they lie.
pub(crate) fn open_shard(path: &Path, bytes: u64, tensors: &Tensors) -> Result<(Mmap, Vec<Range<usize>>)> {
    let map = map(path)?;
    if map.len() as u64 != bytes {
        let reason = format!("it has {} bytes where dataset.json says {bytes}", map.len());
        return Err(Error::corrupt(path, reason));
    }
    let (header, metadata) = SafeTensors::read_metadata(&map)
        .map_err(|e| Error::corrupt(path, format!("its header is not valid safetensors ({e})")))?;
    let start = header + 8;
    let mut ranges = Vec::new();
    for (name, expected) in &tensors.list {
        let found = metadata.info(name);
        let Some(info) = found.filter(|i| i.dtype == expected.dtype && i.shape == expected.shape) else {
            let found = found.map_or("none".to_owned(), |i| format!("{:?} {:?}", i.dtype, i.shape));
            let expected = format!("{:?} {:?}", expected.dtype, expected.shape);
            let reason = format!("tensor {name} should be {expected}, but the header has {found}");
            return Err(Error::corrupt(path, reason));
        };
        ranges.push(start + info.data_offsets.0..start + info.data_offsets.1);
    }
    Ok((map, ranges))
}

/// Checks that each label is that of a class, or of none.
pub(crate) fn check_labels(path: &Path, labels: &[u8], classes: usize) -> Result<()> {
    let labels = labels.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes));
    let unknown = |&(_, label): &(usize, u32)| label as usize >= classes && label != NO_LABEL;
    labels.enumerate().find(unknown).map_or(Ok(()), |(row, label)| {
        Err(Error::corrupt(
            path,
            format!("example {row} is of class {label}, and dataset.json names {classes}"),
        ))
    })
}

/// Whether a box is there: one that is not has no size.
fn is_box(sides: &[f32; 4]) -> bool {
    sides[2] > 0.0
}

/// Checks that boxes lie in their images, `objects` to a row, and that those without a size are zeros at the end of a row.
fn check_boxes(path: &Path, boxes: &[[f32; 4]], objects: usize) -> Result<()> {
    // Left and width are rounded each for itself.
    const END: f32 = 1.0 + 1e-5;
    let fits = |&[left, top, width, height]: &[f32; 4]| {
        left >= 0.0 && top >= 0.0 && width > 0.0 && height > 0.0 && left + width <= END && top + height <= END
    };
    let row_fits = |row: &[[f32; 4]]| {
        let (there, absent) = row.split_at(row.iter().take_while(|sides| is_box(sides)).count());
        there.iter().all(fits) && absent.as_flattened().iter().all(|side| *side == 0.0)
    };
    match boxes.chunks(objects).position(|row| !row_fits(row)) {
        Some(row) => Err(Error::corrupt(path, format!("the boxes of example {row} do not lie in its image"))),
        None => Ok(()),
    }
}

/// Little-endian bytes as numbers.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn map(path: &Path) -> Result<Mmap> {
    let file = regular::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::corrupt(path, "the file is missing"),
        _ => Error::read(path, e),
    })?;
    #[expect(
        unsafe_code,
        reason = "a memory map is the only way to read a data set larger than memory in place"
    )]
    // SAFETY: the map is read-only and nothing in this crate changes a shard after it got its final name. Another
    // program that truncates the file meanwhile ends this process with a signal; there is no portable defence.
    let map = unsafe { Mmap::map(&file) };
    map.map_err(|e| Error::read(path, e))
}
