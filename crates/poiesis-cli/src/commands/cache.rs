//! `poiesis cache`: lists what raw data were packed into, and removes it.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use poiesis::error::in_bytes;
use poiesis_collect::{Cache as Content, Cached, CachedState};
use serde_json::{Value, json};

use crate::data::cache;
use crate::render::{count, failure, json, note, program, result, table};

/// List the cache of packed data, or clear it
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis cache
      what raw data were packed into, with sizes and ages
  poiesis cache --clear
      remove all of it, after asking; data are packed again when they are needed
  poiesis cache --clear --yes
      remove it without asking

Raw data given to train, inspect, evaluate and other commands are packed into this folder once: POIESIS_CACHE, or the \
cache folder of this system. Only data sets that were packed there, and what killed processes left of them, are removed.")]
pub(crate) struct Cache {
    /// Remove everything that was packed.
    #[arg(long)]
    clear: bool,
    /// Remove without asking.
    #[arg(long, requires = "clear")]
    yes: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Cache {
    pub(crate) fn run(self) -> Result<()> {
        let folder = cache()?;
        let content = Content::open(&folder)?;
        if self.json {
            let removed = if self.clear { self.clear(&content)? } else { Vec::new() };
            return json(&to_json(&folder, &content, &removed));
        }
        if content.entries.is_empty() {
            note(&format!("nothing is packed in {}", folder.display()));
        } else if !self.clear {
            let now = SystemTime::now();
            let rows: Vec<Vec<String>> = content.entries.iter().map(|entry| row(entry, now)).collect();
            let table = table(&["DATA", ">SIZE", ">AGE", "STATE", "FOLDER"], &rows);
            let all = in_bytes(content.bytes());
            result(&format!(
                "{table}\n{all} in {}; {} cache --clear removes it\n",
                folder.display(),
                program()
            ))?;
        } else {
            let removed = self.clear(&content)?;
            let bytes = removed.iter().map(|entry| entry.bytes).sum();
            result(&format!("removed {}, {}\n", data_sets(removed.len()), in_bytes(bytes)))?;
        }
        for path in &content.foreign {
            note(&format!("note: {} is not part of the cache and is left alone", path.display()));
        }
        Ok(())
    }

    /// Removes everything that no process is writing; returns what was removed.
    fn clear<'a>(&self, content: &'a Content) -> Result<Vec<&'a Cached>> {
        let (busy, idle): (Vec<&Cached>, Vec<&Cached>) =
            content.entries.iter().partition(|entry| entry.state == CachedState::BeingWritten);
        for entry in busy {
            note(&format!("note: {} is being written and stays", entry.folder.display()));
        }
        if idle.is_empty() || self.yes {
            idle.iter().try_for_each(|entry| entry.remove())?;
            return Ok(idle);
        }
        let bytes = idle.iter().map(|entry| entry.bytes).sum();
        let what = format!("{}, {}", data_sets(idle.len()), in_bytes(bytes));
        if !io::stdin().is_terminal() {
            let hint = format!("{} cache --clear --yes", program());
            return Err(failure(
                format!("this is not a terminal, so {what} cannot be removed without --yes"),
                hint,
            ));
        }
        note(&format!("remove {what}? They are packed again when they are needed. [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(Vec::new());
        }
        idle.iter().try_for_each(|entry| entry.remove())?;
        Ok(idle)
    }
}

fn data_sets(number: usize) -> String {
    match number {
        1 => "1 data set".to_owned(),
        number => format!("{} data sets", count(number as u64)),
    }
}

fn row(entry: &Cached, now: SystemTime) -> Vec<String> {
    vec![
        entry.name.clone(),
        in_bytes(entry.bytes),
        age(entry.written, now),
        entry.state.name().to_owned(),
        entry.folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    ]
}

/// How long ago something was written, in whole minutes, hours or days.
fn age(written: Option<SystemTime>, now: SystemTime) -> String {
    let seconds = written.and_then(|written| now.duration_since(written).ok()).map(|age| age.as_secs());
    match seconds {
        None => "unknown".to_owned(),
        Some(seconds) if seconds < 3600 => format!("{} min", seconds / 60),
        Some(seconds) if seconds < 48 * 3600 => format!("{} h", seconds / 3600),
        Some(seconds) => format!("{} days", count(seconds / 86_400)),
    }
}

fn to_json(folder: &Path, content: &Content, removed: &[&Cached]) -> Value {
    let entry = |entry: &Cached| {
        let written = entry.written.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        json!({
            "data": entry.name, "folder": entry.folder, "bytes": entry.bytes, "state": entry.state.name(),
            "written": written.map(|at| at.as_secs()), "removed": removed.contains(&entry),
        })
    };
    json!({
        "folder": folder, "bytes": content.bytes(), "foreign": content.foreign,
        "entries": content.entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ages_are_whole_units() {
        let now = SystemTime::now();
        let ages = [59, 3599, 7200, 47 * 3600, 3 * 86_400].map(|age| Some(now - Duration::from_secs(age)));
        assert_eq!(ages.map(|written| age(written, now)), ["0 min", "59 min", "2 h", "47 h", "3 days"]);
        assert_eq!(age(None, now), "unknown");
    }
}
