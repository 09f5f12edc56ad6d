//! What zip and tar archives share: which entries are read at all, and how much of each. Nothing is ever written
//! to disk under the name of an entry.

use std::io::Read;

use super::Payload;
use super::names::escapes;
use crate::options::Limits;

/// Reads an image out of an archive, or says why not. `size` is what the archive claims, which may be wrong.
pub(crate) fn read_entry(path: &str, size: u64, reader: &mut dyn Read, limits: &Limits) -> Payload {
    if escapes(path) {
        return Payload::Refused("its path leads out of the archive".to_owned());
    }
    let limit = limits.file_bytes;
    if size > limit {
        return Payload::Refused(format!("it unpacks to {size} bytes, above the limit of {limit}"));
    }
    // The claimed size is only trusted as far as a modest allocation goes.
    let mut bytes = Vec::with_capacity(size.min(1 << 20) as usize);
    match reader.take(limit + 1).read_to_end(&mut bytes) {
        Err(error) => Payload::Refused(format!("it cannot be unpacked: {error}")),
        Ok(_) if bytes.len() as u64 > limit => {
            Payload::Refused(format!("it unpacks to more than the limit of {limit} bytes"))
        }
        Ok(_) => Payload::Encoded(bytes),
    }
}
