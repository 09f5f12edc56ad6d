//! Counts equal examples in bounded memory: their hashes go to a file, which is then read once for each slice of
//! the hash space that fits in memory.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::split::Split;

/// How many hashes are held in memory at a time: 64 MiB.
const IN_MEMORY: u64 = 4 << 20;

/// The hashes seen so far.
pub(crate) struct Duplicates {
    path: PathBuf,
    file: BufWriter<File>,
    count: u64,
}

/// Fifteen bytes of the hash, then the split: short enough for memory, long enough that collisions do not occur.
type Record = [u8; 16];

impl Duplicates {
    /// Begins with an empty file in the folder of the data set.
    pub(crate) fn create(folder: &Path) -> Result<Duplicates> {
        let path = folder.join("hashes");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| Error::write(&path, e))?;
        Ok(Duplicates { path, file: BufWriter::new(file), count: 0 })
    }

    pub(crate) fn push(&mut self, hash: &[u8; 32], split: Split) -> Result<()> {
        let mut record: Record = [0; 16];
        record[..15].copy_from_slice(&hash[..15]);
        record[15] = split.index() as u8;
        self.count += 1;
        self.file.write_all(&record).map_err(|e| Error::write(&self.path, e))
    }

    /// How many examples equal an earlier one, and how many of these have equals in another split. Removes the file.
    pub(crate) fn finish(self) -> Result<(u64, u64)> {
        let count = self.count;
        let path = self.path.clone();
        let counted =
            self.count_in_slices(count.div_ceil(IN_MEMORY).max(1)).map_err(|e| Error::write(&path, e))?;
        fs::remove_file(&path).map_err(|e| Error::write(&path, e))?;
        Ok(counted)
    }

    fn count_in_slices(self, slices: u64) -> std::io::Result<(u64, u64)> {
        let mut file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        let (mut duplicates, mut across) = (0, 0);
        for slice in 0..slices {
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(1 << 16, &file);
            let mut records: Vec<Record> = Vec::new();
            let mut record: Record = [0; 16];
            for _ in 0..self.count {
                reader.read_exact(&mut record)?;
                if slice_of(&record, slices) == slice {
                    records.push(record);
                }
            }
            records.sort_unstable();
            for equal in records.chunk_by(|a, b| a[..15] == b[..15]) {
                // Sorted by split within equals: the first is the original, others are its duplicates.
                duplicates += equal.len() as u64 - 1;
                across += equal.iter().filter(|record| record[15] != equal[0][15]).count() as u64;
            }
        }
        Ok((duplicates, across))
    }
}

fn slice_of(record: &Record, slices: u64) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&record[..8]);
    ((u128::from(u64::from_be_bytes(head)) * u128::from(slices)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_are_counted_the_same_in_any_number_of_slices() {
        for slices in [1, 2, 7] {
            let folder = tempfile::tempdir().unwrap();
            let mut duplicates = Duplicates::create(folder.path()).unwrap();
            for i in 0..1000_u32 {
                let hash = *blake3::hash(&(i % 900).to_le_bytes()).as_bytes();
                // The last 40 of the 100 repeated ones are in another split than their originals.
                let split = if i >= 960 { Split::Test } else { Split::Train };
                duplicates.push(&hash, split).unwrap();
            }
            assert_eq!(duplicates.count_in_slices(slices).unwrap(), (100, 40), "{slices} slices");
        }
    }
}
