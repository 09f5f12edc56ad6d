//! Takes the members that a data set consists of out of the archive of a repository.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tar::{EntryType, Header};

use crate::error::{Error, Fault, Result};
use crate::part::Part;
use crate::published::Archive;
use crate::transfer::End;

/// Most bytes that an archive may unpack to, for each of its own.
const LARGEST: u64 = 64;

/// Writes the members of an archive that are kept into a tar, which depends on their names and content alone: sorted by name, readable by
/// all, of nobody, at time 0. `limit` is the size that it must have.
pub(crate) fn repack(archive: &Path, kept: &Archive, limit: u64, out: &mut Part) -> Result<(), End> {
    let members = members(archive, kept, limit)?;
    out.clear()?;
    write(&members, out).map_err(Error::io("write", out.path()))?;
    Ok(())
}

/// The members that are kept, by their names.
fn members(archive: &Path, kept: &Archive, limit: u64) -> Result<BTreeMap<String, Vec<u8>>, End> {
    let file = File::open(archive).map_err(Error::io("read", archive))?;
    let size = file.metadata().map_err(Error::io("read", archive))?.len();
    let unpacked = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
    let unpacked = unpacked.take(size.saturating_mul(LARGEST));
    let fault = |error: io::Error| Fault::Archive(error.to_string());
    let (mut members, mut bytes) = (BTreeMap::new(), 0);
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries().map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let path = entry.path_bytes().into_owned();
        let Some(name) = below_the_top(&path).filter(|name| kept.keeps(name)).map(str::to_owned) else {
            continue;
        };
        let mut content = Vec::new();
        entry.take(limit + 1).read_to_end(&mut content).map_err(fault)?;
        bytes += content.len() as u64;
        if bytes > limit {
            return Err(Fault::Archive(format!("it holds more than {limit} bytes of the data set")).into());
        }
        members.insert(name, content);
    }
    if members.is_empty() {
        return Err(Fault::Archive("it holds nothing of the data set".to_owned()).into());
    }
    Ok(members)
}

impl Archive {
    /// Whether a member is kept.
    fn keeps(&self, name: &str) -> bool {
        self.members
            .iter()
            .any(|kept| name == kept || (kept.ends_with('/') && name.starts_with(kept.as_str())))
    }
}

/// A path without the folder that all paths of such an archive begin with.
fn below_the_top(path: &[u8]) -> Option<&str> {
    std::str::from_utf8(path).ok()?.trim_start_matches("./").split_once('/').map(|(_, below)| below)
}

fn write(members: &BTreeMap<String, Vec<u8>>, out: &mut Part) -> io::Result<()> {
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(1 << 16, out));
    for (name, content) in members {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        tar.append(&header, content.as_slice())?;
    }
    tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}
