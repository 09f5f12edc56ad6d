//! `poiesis sample --steps`: how images are made, step by step.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use poiesis::Trained;
use poiesis::generate::Request;
use poiesis::picture::{self, Picture, Timing, animation};

use super::sample::Sample;
use crate::render::{Meter, expect_none, result};

/// Samples, unless another number is given.
const COUNT: usize = 8;

impl Sample {
    /// Shows the steps of the samples in one file.
    pub(super) fn step_by_step(&self, trained: &Trained) -> Result<()> {
        let ends_in = |ending: &str| {
            self.out.out.as_deref().and_then(Path::extension).is_some_and(|e| e.eq_ignore_ascii_case(ending))
        };
        let ending = if ends_in("gif") { "gif" } else { "png" };
        let unused = [("--no-metadata", self.no_metadata && ending == "gif")];
        expect_none("an animation, which has no metadata", &unused)?;
        let out = self.out.resolve(trained, &format!("steps-seed{}", self.seed), ending)?;
        let request = Request { count: self.count.unwrap_or(COUNT) as u64, ..self.request(trained)? };
        let rows = self.rows_of_steps(trained, &request)?;
        trained.spec.images()?;
        let first = &rows[0][0];
        let (height, width, channels) = (first.height(), first.width(), first.channels());
        let scale = self.out.scale.map_or_else(|| picture::viewing_factor(height, width), usize::from);
        if ending == "gif" {
            let mut frame = |step: usize| {
                let images: Vec<&[u8]> = rows.iter().map(|row| row[step].data()).collect();
                let columns = picture::columns(images.len());
                Ok(picture::grid(&images, height, width, channels, columns).enlarged(scale))
            };
            animation::write_gif(&out, rows[0].len(), Timing::default(), &mut frame)?;
        } else {
            let images: Vec<Vec<&[u8]>> =
                rows.iter().map(|row| row.iter().map(Picture::data).collect()).collect();
            let mut note = self.note(trained, self.first, rows.len(), request.condition.class);
            if let Some(note) = &mut note {
                note["shows"] = "steps".into();
            }
            picture::rows(&images, height, width, channels).enlarged(scale).write_png(&out, note.as_ref())?;
        }
        result(&format!("{}\n", out.display()))
    }

    /// The images of each sample after its steps, or after as many of them as are to be shown.
    fn rows_of_steps(&self, trained: &Trained, request: &Request) -> Result<Vec<Vec<Picture>>> {
        let meter = Meter::new("sampling", "samples", Some(request.count), false);
        let mut rows = Vec::new();
        trained.steps(request, &mut |index, steps| {
            let shown = chosen(steps.len(), self.columns.unwrap_or(usize::MAX));
            rows.push(shown.into_iter().filter_map(|step| steps[step].picture().cloned()).collect());
            meter.at(index + 1 - request.first, Some(request.count));
            ControlFlow::Continue(())
        })?;
        meter.end();
        Ok(rows)
    }
}

/// `most` of the numbers below `count`, evenly spread, the last among them; all where there are no more.
fn chosen(count: usize, most: usize) -> Vec<usize> {
    let shown = most.min(count);
    (1..=shown).map(|i| i * count / shown - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_shown_are_spread_and_end_with_the_last() {
        assert_eq!(chosen(5, usize::MAX), [0, 1, 2, 3, 4]);
        assert_eq!(chosen(64, 4), [15, 31, 47, 63]);
        assert_eq!(chosen(7, 1), [6]);
    }
}
