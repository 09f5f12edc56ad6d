//! `poiesis decompress`: restores the files of an archive.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::Error;
use poiesis::apply::compress::{Archive, Header, decompress, output_files};
use poiesis::error::in_bytes;
use poiesis::run::Run;
use poiesis_collect::regular;

use crate::args::WhichWeights;
use crate::render::{
    Meter, count, counted, duration, exists, facts, failure, note, program, quoted, result, table,
};

/// Restore the files of an archive made by compress
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis decompress letter.poi --model runs/transformer-novels
  poiesis decompress digits.poi --model runs/gated-pixelcnn-mnist --out digits/
  poiesis decompress digits.poi --list

Everything is checked before anything is written: the archive's checksum, the model's fingerprint, and the \
checksum of each document.")]
pub(crate) struct Decompress {
    /// The archive.
    archive: PathBuf,
    /// Folder of the run with the model that compressed it [default: the one named in the archive, below runs/].
    #[arg(long, value_name = "RUN")]
    model: Option<PathBuf>,
    #[command(flatten)]
    which: WhichWeights,
    /// Folder to write to.
    #[arg(long, short, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// Replace existing files.
    #[arg(long)]
    force: bool,
    /// List the content, without a model.
    #[arg(long, conflicts_with_all = ["model", "step", "raw", "device", "out", "force"])]
    list: bool,
}

impl Decompress {
    pub(crate) fn run(self) -> Result<()> {
        let path = &self.archive;
        let bytes = regular::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !Archive::begins(&bytes) {
            let what = format!("{} is no archive of Poiesis", path.display());
            return Err(failure(what, format!("give a file that `{} compress` has written", program())));
        }
        let archive = Archive::from_bytes(&bytes).with_context(|| path.display().to_string())?;
        if self.list {
            return list(&archive);
        }
        let run = match &self.model {
            Some(run) => run.clone(),
            None => below_runs(&archive.header.run)?,
        };
        poiesis::device::compute_with(&archive.header.instructions);
        let trained = self.which.open(&run).map_err(|error| match error.downcast_ref() {
            Some(Error::NotARun { .. } | Error::NoSuchCheckpoint { .. }) => {
                self.with_command(&error, &archive.header, &run)
            }
            _ => error,
        })?;
        poiesis::atomic::expect_writable(&self.out.join("document"))?;
        let meter = Meter::new("decompressing", "values", None, false);
        let documents = decompress(&trained, &archive, &mut |done, total| meter.at(done, Some(total)))
            .map_err(|error| match archive.header.fingerprint == trained.fingerprint() {
                true => anyhow::Error::from(error).context(path.display().to_string()),
                false => self.with_command(&error.into(), &archive.header, &run),
            })?;
        let seconds = meter.end();
        let files = output_files(&documents, &self.out, &trained.spec)?;
        if let Some(file) = files.iter().find(|file| file.path.exists() && !self.force) {
            return Err(exists(&file.path, "--out"));
        }
        for file in &files {
            file.write()?;
        }
        note(&format!("{} in {}", counted(files.len() as u64, "file"), duration(seconds)));
        let shown = files.iter().take(10).map(|file| format!("{}\n", file.path.display()));
        let more = if files.len() > 10 { format!("and {} more\n", files.len() - 10) } else { String::new() };
        result(&format!("{}{more}", shown.collect::<String>()))
    }
}

impl Decompress {
    /// The error for a run that did not make the archive, with the command that opens it with the one that did.
    fn with_command(&self, error: &anyhow::Error, header: &Header, given: &Path) -> anyhow::Error {
        let Header { run: name, step, averaged, .. } = header;
        let places = [given.with_file_name(name), Path::new("runs").join(name)];
        let Some(run) = places.iter().find(|place| Run::exists(place)) else {
            let hint = format!("give the folder of the run called `{name}` (--model RUN)");
            return failure(error.to_string(), hint);
        };
        let word = |path: &Path| quoted(&path.display().to_string());
        let out =
            if self.out == Path::new(".") { String::new() } else { format!(" --out {}", word(&self.out)) };
        let raw = if *averaged { "" } else { " --raw" };
        let (program, archive, run) = (program(), word(&self.archive), word(run));
        let command = format!("{program} decompress {archive} --model {run} --step {step}{raw}{out}");
        failure(error.to_string(), command)
    }
}

/// The run that an archive names, below the folder of runs and nowhere else.
fn below_runs(run: &str) -> Result<PathBuf> {
    let plain = Path::new(run).file_name().is_some_and(|name| name == run);
    if !plain {
        return Err(failure(
            format!("the archive names {run:?}, which is no run below runs/"),
            "give its run with --model",
        ));
    }
    Ok(Path::new("runs").join(run))
}

fn list(archive: &Archive) -> Result<()> {
    let header = &archive.header;
    let weights = if header.averaged { "averaged" } else { "trained" };
    let head = facts(&[
        (
            "model",
            format!("{} of {}, step {}, {weights} weights", header.model, header.run, count(header.step)),
        ),
        ("fingerprint", header.fingerprint.clone()),
        ("instructions", header.instructions.clone()),
    ]);
    let row = |entry: &poiesis::apply::compress::EntryHeader| vec![in_bytes(entry.bytes), entry.name.clone()];
    let rows: Vec<Vec<String>> = header.entries.iter().map(row).collect();
    result(&format!("{head}\n{}", table(&[">SIZE", "NAME"], &rows)))
}
