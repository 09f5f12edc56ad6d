//! `poiesis animate`: the samples drawn during training as an animation.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::picture::{Picture, Timing, animation};
use poiesis::run::{Run, samples};
use poiesis::{atomic, catalogue};

use crate::data::is_agent;
use crate::render::{exists, failure, free, program, result};

/// Turn the samples drawn during training into an animation
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis animate runs/dcgan-shapes
  poiesis animate runs/vae-mnist --out learning.gif --fps 8 --hold 3
  poiesis animate runs/dcgan-emoji64 --out learning.png      APNG: larger, lossless")]
pub(crate) struct Animate {
    /// Folder of the run.
    run: PathBuf,
    /// File to write: .gif, or .png for an APNG [default: a new GIF in the current folder].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Frames per second.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=50))]
    fps: u32,
    /// Seconds to show the last frame.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = clap::value_parser!(u32).range(0..=60))]
    hold: u32,
    /// Enlarge pixels by this factor.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=32))]
    scale: u8,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
}

impl Animate {
    pub(crate) fn run(self) -> Result<()> {
        let run = Run::open(&self.run)?;
        let frames = samples::list(&run.samples_path(), "png")?;
        if frames.is_empty() {
            let (model, run) = (&run.info().model, self.run.display());
            if catalogue::find(model).is_ok_and(is_agent) {
                let remedy = format!("{} play {run} --record FILE.gif shows what it does", program());
                return Err(failure(format!("{run} is an agent, which draws no samples"), remedy));
            }
            return Err(failure(format!("{run} has no samples yet"), "train it further"));
        }
        let out = self.out.clone().unwrap_or_else(|| free(&run.info().id, "gif"));
        if out.exists() && !self.force {
            return Err(exists(&out, "--out"));
        }
        atomic::expect_writable(&out)?;
        let timing = Timing { delay: 1000 / self.fps, hold: 1000 * self.hold, ..Timing::default() };
        let mut read =
            |index: usize| -> poiesis::Result<Picture> { Ok(Picture::read_png(&frames[index].1)?.0) };
        // Earlier versions drew smaller pictures of the plane.
        let [height, width] = animation::largest(frames.len(), &mut read)?;
        let mut frame = |index: usize| -> poiesis::Result<Picture> {
            Ok(read(index)?.in_middle_of(height, width).enlarged(usize::from(self.scale)))
        };
        let extension = out.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("gif") => animation::write_gif(&out, frames.len(), timing, &mut frame)?,
            Some("png" | "apng") => animation::write_apng(&out, frames.len(), timing, &mut frame)?,
            _ => {
                let what = format!("{} is neither a GIF nor a PNG", out.display());
                return Err(failure(what, "give a name that ends in .gif or .png"));
            }
        }
        result(&format!("{} ({} frames)\n", out.display(), frames.len()))
    }
}
