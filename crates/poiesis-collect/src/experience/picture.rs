//! A picture of episodes: the sum of rewards so far over time, a curve for each.

use super::{EpisodeView, Episodes};
use crate::preview::{COLOURS, Preview};

/// Width and height of the picture in pixels, and the margin around the curves.
const WIDTH: usize = 640;
const HEIGHT: usize = 400;
const MARGIN: usize = 12;
/// The colour of the line at 0.
const ZERO: [u8; 3] = [190, 190, 186];

/// The curves of some episodes: what reward has been gathered after each step, from the first step at the left to the last of the
/// longest episode at the right. A grey line is at 0. Where rewards are not known, the first number of the observations instead.
pub(crate) fn curves(episodes: &Episodes, chosen: &[usize]) -> Preview {
    let rewarded = chosen.iter().all(|&i| !episodes.episode(i).rewards.is_empty());
    let values = |i: usize| values(episodes.episode(i), episodes.observation(), rewarded);
    let longest = chosen.iter().map(|&i| episodes.episode(i).transitions).max().unwrap_or(1);
    let (mut low, mut high) = (0.0_f64, 0.0_f64);
    for value in chosen.iter().flat_map(|&i| values(i)) {
        (low, high) = (low.min(value), high.max(value));
    }
    let room = if high > low { high - low } else { 1.0 };
    let row = |value: f64| {
        let part = (high - value) / room;
        MARGIN + (part * (HEIGHT - 2 * MARGIN - 1) as f64).round() as usize
    };
    let column = |step: usize| MARGIN + step * (WIDTH - 2 * MARGIN - 1) / longest;
    let mut picture = Preview::blank(WIDTH, HEIGHT);
    (MARGIN..WIDTH - MARGIN).for_each(|x| picture.set(x, row(0.0), ZERO));
    for (number, &i) in chosen.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let mut before: Option<(usize, usize)> = None;
        for (step, value) in values(i).enumerate() {
            let (x, y) = (column(step), row(value));
            let (from_x, from_y) = before.unwrap_or((x, y));
            segment(&mut picture, (from_x, from_y), (x, y), colour);
            before = Some((x, y));
        }
    }
    picture
}

/// The values of a curve, one more than there are transitions.
fn values(episode: EpisodeView<'_>, observation: usize, rewarded: bool) -> impl Iterator<Item = f64> {
    let mut sum = 0.0;
    (0..=episode.transitions).map(move |step| {
        if !rewarded {
            return f64::from(episode.observations[step * observation]);
        }
        if step > 0 {
            sum += f64::from(episode.rewards[step - 1]);
        }
        sum
    })
}

/// Draws a line from one pixel to another, which is not to the left of it.
fn segment(picture: &mut Preview, from: (usize, usize), to: (usize, usize), colour: [u8; 3]) {
    let (across, down) = (to.0 - from.0, to.1 as isize - from.1 as isize);
    let steps = across.max(down.unsigned_abs()).max(1);
    for step in 0..=steps {
        let x = from.0 + across * step / steps;
        let y = from.1 as isize + down * step as isize / steps as isize;
        picture.blend(x, y as usize, colour);
    }
}
