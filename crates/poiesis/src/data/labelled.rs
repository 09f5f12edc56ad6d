//! Images of which only some have labels that a model may see.

use burn::tensor::Tensor;
use poiesis_collect::View;

use super::{Amount, ImageBatches, ImageNeeds, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::rng;

/// Training images for semi-supervised learning: batches of all images, and batches of those whose labels are used.
pub struct LabelledImages {
    all: ImageBatches,
    others: ImageBatches,
    labelled: Option<ImageBatches>,
}

impl LabelledImages {
    /// Examples in a batch.
    pub fn batch_size(&self) -> usize {
        self.all.batch_size()
    }

    /// Images of step `step`, with or without labels, `[batch, height, width, channels]` in [-1, 1].
    pub fn images(&self, step: u64) -> Tensor<4> {
        self.all.images(step)
    }

    /// Other images of step `step`, in an order of their own.
    pub fn other_images(&self, step: u64) -> Tensor<4> {
        self.others.images(step)
    }

    /// Labelled images of step `step` and their classes; `None` where no labels are used.
    pub fn labelled(&self, step: u64) -> Option<(Tensor<4>, Vec<u32>)> {
        self.labelled.as_ref().map(|labelled| (labelled.images(step), labelled.classes(step)))
    }
}

/// What a semi-supervised model of images needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelledNeeds {
    /// How it reads pixels.
    pub images: ImageNeeds,
    /// Which labels are used.
    pub labels: Labels,
}

/// Which labels of the training images are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// None.
    None,
    /// All there are.
    All,
    /// This many of each class, chosen at random by the seed of the run.
    PerClass(usize),
}

impl Source for LabelledImages {
    type Needs = LabelledNeeds;

    fn open(needs: &LabelledNeeds, options: &SourceOptions<'_>) -> Result<LabelledImages> {
        let seeded = |seed| ImageBatches::open(&needs.images, &SourceOptions { seed, ..*options });
        let all = seeded(options.seed)?;
        // Any other seed gives another order.
        let others = seeded(options.seed ^ 0x5eed)?;
        let view = options.examples.images()?;
        let chosen = match needs.labels {
            Labels::None => None,
            Labels::All => Some((0..view.len()).filter(|&i| view.label(i).is_some()).collect()),
            Labels::PerClass(count) => Some(per_class(view, options.spec.classes, count, options.seed)?),
        };
        let labelled = chosen.map(|chosen| seeded(options.seed).and_then(|all| all.only(chosen)));
        Ok(LabelledImages { all, others, labelled: labelled.transpose()? })
    }

    fn amount(&self) -> Amount {
        self.all.amount()
    }
}

/// The examples whose labels are used: `count` of each class, in ascending order.
fn per_class(view: &View, classes: usize, count: usize, seed: u64) -> Result<Vec<usize>> {
    let mut of_class = vec![Vec::new(); classes];
    for i in 0..view.len() {
        if let Some(label) = view.label(i) {
            of_class[label as usize].push(i);
        }
    }
    let mut chosen = Vec::with_capacity(classes * count);
    for (class, examples) in of_class.iter().enumerate() {
        let len = examples.len();
        if len < count {
            let reason = format!("class {class} has {len} labelled training images");
            let remedy = format!("give at most {len}");
            return Err(Error::invalid_value("labels_per_class", &count.to_string(), &reason, &remedy));
        }
        let place = |i| rng::permute(seed, class as u64, i as u64, len as u64) as usize;
        chosen.extend((0..count).map(|i| examples[place(i)]));
    }
    chosen.sort_unstable();
    Ok(chosen)
}
