//! What a source is like, looked at before it is packed, and kept beside the packed data so that it is looked at once.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache;
use crate::collect::cache_name;
use crate::error::Result;
use crate::options::Options;
use crate::stored_card::is_packed;

/// What `look` finds in a source, or what it found before with the same files and options; `None` for packed data. `look` says too
/// whether to keep what it found, which is in a file with this `ending` in the folder `cache`.
pub(crate) fn kept_or_found<T: Serialize + DeserializeOwned>(
    path: &Path,
    options: &Options,
    cache: Option<&Path>,
    ending: &str,
    look: impl FnOnce() -> Result<(bool, Option<T>)>,
) -> Result<Option<T>> {
    options.check()?;
    if path.is_dir() && is_packed(path) {
        return Ok(None);
    }
    let Some(cache) = cache else { return Ok(look()?.1) };
    let file = cache::summary_file(cache, &cache_name(path, options)?, ending);
    if let Some(kept) = cache::read_summary(&file) {
        return Ok(kept);
    }
    let (keep, found) = look()?;
    if keep {
        cache::keep_summary(&file, &found);
    }
    Ok(found)
}
