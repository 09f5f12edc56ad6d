//! `poiesis compress`: lossless compression with a trained model.

use std::cmp::Ordering;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::apply::compress::{Compressed, Document, compress};
use poiesis::data::MediaKind;
use poiesis::error::in_bytes;
use poiesis::run::Run;
use poiesis::{Error, Trained, atomic};
use poiesis_collect::Split;

use super::discover::OfData;
use super::inspect::split;
use super::pictures::positive;
use crate::args::WhichWeights;
use crate::render::{
    Meter, counted, duration, exists, expect_none, facts, failure, in_json, json, quoted, result, shape,
};

/// Compress files losslessly with a trained model
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis compress letter.txt --model runs/transformer-novels -o letter.poi
  poiesis compress digits/*.png --model runs/gated-pixelcnn-mnist -o digits.poi
  poiesis compress --split test --images 1000 --model runs/gated-pixelcnn-mnist -o test.poi
  poiesis compress seven.wav --class 7 --model runs/wavenet-fsdd -o seven.poi
  poiesis compress --split test --model runs/vae-cifar10 -o test.poi
  poiesis decompress letter.poi --model runs/transformer-novels

The likelier a file is under the model, the smaller it becomes. The archive can only be opened with exactly the \
weights it was made with, so keep the run. Texts and sounds come back byte for byte, images with the same pixels and \
whatever else their PNG files hold, such as colour profiles. Paths are kept, as tar does. Any number of threads gives \
the same archive.

A model with latents, such as vae, compresses images to its bound (bits-back coding). The first image is coded with some \
initial bits, which are in the archive too: give many images at once.")]
pub(crate) struct Compress {
    /// Files of the model's kind: PNG images of its size, texts, or 16-bit WAV files of its rate.
    files: Vec<PathBuf>,
    /// Folder of the run with the model.
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    #[command(flatten)]
    which: WhichWeights,
    /// Archive to write.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Replace the archive if it exists.
    #[arg(long)]
    force: bool,
    /// Compress images of this split of the run's data instead of files.
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "files")]
    split: Option<Split>,
    /// With --split, the number of images, from its beginning [default: all].
    #[arg(long, value_name = "N", value_parser = positive, requires = "split")]
    images: Option<usize>,
    /// Class of the files, for a model conditioned on classes: its name or number [default: the first].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    data: OfData,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

impl Compress {
    pub(crate) fn run(self) -> Result<()> {
        if self.files.is_empty() && self.split.is_none() {
            let hint = "give files, or --split test for images of the run's data";
            return Err(failure("there is nothing to compress", hint));
        }
        expect_none("files", &[("--data", self.data.is_given() && self.split.is_none())])?;
        if self.out.exists() && !self.force {
            return Err(exists(&self.out, "--out"));
        }
        atomic::expect_writable(&self.out)?;
        let trained = self.which.open(&self.model)?;
        trained.coding()?;
        self.expect_files(&trained)?;
        let documents = self.documents(&trained)?;
        let unknown = self.class.is_some() && trained.num_classes() == 0;
        expect_none("a model without classes", &[("--class", unknown)])?;
        let class = self.class.as_deref().map(|class| trained.class(class)).transpose()?;
        let meter = Meter::new("compressing", "values", None, self.json);
        let told = &mut |done, total| meter.at(done, Some(total));
        let compressed = compress(&trained, &documents, class, told)?;
        let seconds = meter.end();
        atomic::write(&self.out, &compressed.bytes)?;
        if self.json {
            return json(&serde_json::json!({
                "out": in_json(&self.out), "documents": documents.len(), "original_bytes": compressed.original,
                "compressed_bytes": compressed.bytes.len(), "header_bytes": compressed.header,
                "initial_bytes": compressed.initial, "model_bits": compressed.bits, "seconds": seconds,
            }));
        }
        self.report(&compressed, documents.len(), seconds)
    }

    fn report(&self, compressed: &Compressed, documents: usize, seconds: f64) -> Result<()> {
        let size = compressed.bytes.len();
        let words = size - compressed.header;
        let (code_words, header) = (in_bytes(words as u64), in_bytes(compressed.header as u64));
        let over = |bytes: usize| 100.0 * (bytes as f64 / (compressed.bits / 8.0).max(1.0) - 1.0);
        let mut rows = vec![
            ("archive", self.out.display().to_string()),
            (
                "from",
                format!("{} in {}", in_bytes(compressed.original), counted(documents as u64, "document")),
            ),
            (
                "to",
                format!(
                    "{} in {}: {:.3} bits per byte, {}",
                    in_bytes(size as u64),
                    duration(seconds),
                    8.0 * size as f64 / compressed.original.max(1) as f64,
                    times(compressed.original, size as u64),
                ),
            ),
        ];
        match compressed.initial {
            None => rows.push((
                "of which",
                format!(
                    "code words {code_words} ({:+.3} % over the model's −log₂ p), header {header}",
                    over(words)
                ),
            )),
            Some(initial) => {
                // A byte of an image is one of its values.
                let per_dim = |bits: f64| bits / compressed.original.max(1) as f64;
                rows.push((
                    "of which",
                    format!(
                        "code words {code_words}, of them {} of initial bits, header {header}",
                        in_bytes(initial as u64)
                    ),
                ));
                rows.push(("bound", format!("{:.4} bits/dim, the model's", per_dim(compressed.bits))));
                rows.push((
                    "taken",
                    format!(
                        "{:.4} bits/dim ({:+.2} %), {:.4} without initial bits ({:+.2} %)",
                        per_dim(8.0 * words as f64),
                        over(words),
                        per_dim(8.0 * (words - initial) as f64),
                        over(words - initial)
                    ),
                ));
            }
        }
        result(&facts(&rows))
    }

    /// Refuses folders: what is compressed are files.
    fn expect_files(&self, trained: &Trained) -> Result<()> {
        let Some(folder) = self.files.iter().find(|path| path.is_dir()) else { return Ok(()) };
        let bare = quoted(&folder.components().collect::<PathBuf>().display().to_string());
        let pattern = match trained.spec.media() {
            MediaKind::Images => "*.png",
            MediaKind::Sound => "*.wav",
            _ => "*",
        };
        let hint = match Run::exists(folder) {
            true => {
                format!("--model {bare} names the run with the model; give the files to compress beside it")
            }
            false => format!("give the files in it: {bare}/{pattern}"),
        };
        let what =
            format!("{} is a folder, and this model compresses {}", folder.display(), compressed_by(trained));
        Err(failure(what, hint))
    }

    fn documents(&self, trained: &Trained) -> Result<Vec<Document>> {
        let Some(split) = self.split else {
            let unreadable = |error: Error| match error {
                Error::Picture { .. } | Error::Sound { .. } => {
                    let said = error.to_string();
                    failure(
                        said.trim_end_matches('.'),
                        format!("this model compresses {}", compressed_by(trained)),
                    )
                }
                other => other.into(),
            };
            let read = |file: &PathBuf| Document::read(file, &trained.spec).map_err(unreadable);
            return self.files.iter().map(read).collect();
        };
        trained.spec.images()?;
        let view = self.data.open(trained)?.require(split)?;
        let images = self.images.unwrap_or(view.len()).min(view.len());
        let content = (0..images).flat_map(|index| view.image(index)).copied().collect();
        Ok(vec![Document { name: split.to_string(), content, chunks: Vec::new() }])
    }
}

/// How an archive of `size` bytes compares with the `original` ones.
fn times(original: u64, size: u64) -> String {
    match original.cmp(&size) {
        Ordering::Greater => format!("{:.2} times smaller", original as f64 / size.max(1) as f64),
        Ordering::Equal => "as large as before".to_owned(),
        Ordering::Less => format!("{:.2} times as large as before", size as f64 / original.max(1) as f64),
    }
}

/// The files that a model compresses.
fn compressed_by(trained: &Trained) -> String {
    match trained.spec.media() {
        MediaKind::Images => format!("PNG images of {}", shape(&trained.info.data.shape)),
        MediaKind::Sound => "16-bit WAV files".to_owned(),
        _ => "texts".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_is_larger_is_not_called_smaller() {
        assert_eq!(times(300, 200), "1.50 times smaller");
        assert_eq!(times(300, 400), "1.33 times as large as before");
        assert_eq!(times(300, 300), "as large as before");
    }
}
