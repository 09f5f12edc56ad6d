//! `scenes`: a few of the shapes of `shapes` on black, apart from each other, with how many there are and a box around each, so that what a
//! model finds can be compared with it. In grey they are white, otherwise each has a colour of its own.

use rand_chacha::ChaCha8Rng;

use super::shapes::{self, Outline, Placed};
use super::{Made, below, random, uniform};

/// Fewest and most objects of a scene, unless the user says otherwise.
pub(crate) const OBJECTS: (u32, u32) = (0, 2);

/// More objects than this rarely find room beside each other.
pub(crate) const MOST: u32 = 4;

/// Radius of the circle around a shape, as a fraction of the shorter side of the image.
const SIZE: (f32, f32) = (0.13, 0.18);
/// Degrees, anticlockwise, as in `shapes`.
const ANGLE: (f32, f32) = (-30.0, 30.0);
/// Room between two boxes, as a fraction of each side.
const ROOM: f32 = 0.03;

/// The class of a scene is the number of its objects.
pub(crate) fn counts(most: u32) -> Vec<String> {
    let name = |count| match count {
        0 => "no object".to_owned(),
        1 => "1 object".to_owned(),
        count => format!("{count} objects"),
    };
    (0..=most).map(name).collect()
}

/// Makes image `index` of shape `[height, width, channels]`. The same index shows the same scene at any resolution.
pub(crate) fn make(index: u64, seed: u64, shape: &[usize], (fewest, most): (u32, u32)) -> Made {
    let mut rng = random(seed, "scenes", index);
    let count = fewest + below(&mut rng, (most - fewest + 1) as usize) as u32;
    // Scenes whose boxes meet are drawn anew as a whole, so that all others are as likely as each other.
    let (objects, boxes) = loop {
        let (objects, boxes): (Vec<_>, Vec<_>) = (0..count).map(|_| object(&mut rng, shape)).unzip();
        if all_apart(&boxes, [ROOM; 2]) {
            break (objects, boxes);
        }
    };
    let mut example = vec![0; shape.iter().product()];
    for (object, hue) in &objects {
        let colour = if shape[2] == 1 { [255; 3] } else { shapes::colour(*hue) };
        let drawn = object.draw(shape, [0; 3], colour);
        example.iter_mut().zip(drawn).for_each(|(value, drawn)| *value = (*value).max(drawn));
    }
    Made { example, label: count, factors: Vec::new(), boxes }
}

/// An object inside of the image with its hue, and the box around it.
fn object(rng: &mut ChaCha8Rng, shape: &[usize]) -> ((Placed, f32), [f32; 4]) {
    let class = below(rng, shapes::CLASSES.len());
    let mut between = |(low, high): (f32, f32)| low + (high - low) * uniform(rng);
    let (size, angle, hue) = (between(SIZE), between(ANGLE).to_radians(), between((0.0, 1.0)));
    let outline: Outline = shapes::outline(class);
    let [to_left, to_right, up, down] = outline.reach(angle);
    // Radii as fractions of width and height.
    let shorter = shape[0].min(shape[1]) as f32;
    let [across, along] = [shape[1], shape[0]].map(|side| size * shorter / side as f32);
    let (width, height) = ((to_left + to_right) * across, (up + down) * along);
    let (left, top) = (between((0.0, 1.0 - width)), between((0.0, 1.0 - height)));
    let placed = Placed { outline, size, x: left + to_left * across, y: top + up * along, angle };
    ((placed, hue), [left, top, width, height])
}

/// Whether no two boxes are nearer to each other than `room` in both directions.
pub(crate) fn all_apart(boxes: &[[f32; 4]], room: [f32; 2]) -> bool {
    let apart = |a: &[f32; 4], b: &[f32; 4]| {
        (0..2).any(|axis| {
            let end = |of: &[f32; 4]| of[axis] + of[axis + 2] + room[axis];
            end(a) <= b[axis] || end(b) <= a[axis]
        })
    };
    boxes.iter().enumerate().all(|(i, a)| boxes[..i].iter().all(|b| apart(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_apart_when_they_are_along_one_side() {
        let [a, right, below] = [[0.1, 0.1, 0.2, 0.2], [0.35, 0.1, 0.2, 0.2], [0.1, 0.5, 0.2, 0.2]];
        assert!(all_apart(&[a, right, below], [0.04; 2]));
        assert!(
            !all_apart(&[a, right], [0.06; 2]) && !all_apart(&[a, a], [0.0; 2]) && all_apart(&[a], [1.0; 2])
        );
    }
}
