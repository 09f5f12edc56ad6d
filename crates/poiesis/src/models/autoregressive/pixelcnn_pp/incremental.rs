//! The network value by value: what a later pixel can see of each layer is kept, so that a pixel costs one pixel's work.
//!
//! The stream of the rows above is computed a row at a time, before the row's first pixel; the stream of everything before, a
//! pixel at a time. A row or pixel of half the size is computed with the first of the two that it stands for: by then all that
//! it sees is there, and the second reads it again. Kernels reach one row up, so two rows of each layer are kept.
//!
//! Whole images go through the same code, with all rows kept and all pixels at once. Each value is the same chain of
//! operations either way (see [`poiesis_kernels::inference`]), so that the log_probs agree to the bit.

use std::ops::Range;

use burn::tensor::Tensor;
use poiesis_kernels::inference::{self, PackedLinear, Rows};
use poiesis_kernels::logistic_mixture_log_probs;

use super::network::{Network, Residual, Resize};
use super::weight_norm::Normed;
use super::{HALVINGS, PixelCnnPp};
use crate::abilities::IncrementalDecoder;
use crate::data::ImageShape;
use crate::nn::Activation;

/// How many values a channel of a pixel has.
pub(super) const LEVELS: usize = 256;
/// Rows that a kernel sees.
const REACH: usize = 2;
/// The two streams, as they are numbered here.
const ABOVE: usize = 0;
const BEFORE: usize = 1;

/// A pixel: number of the image, row, column.
type Place = [usize; 3];

/// The pixels that are computed at each size, the image's own first.
type Places = [Vec<Place>; HALVINGS + 1];

/// Features of the pixels of several images, of which the last few rows are kept.
struct Map {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    features: usize,
}

impl Map {
    fn new(images: usize, [rows, columns]: [usize; 2], features: usize) -> Map {
        Map { values: vec![0.0; images * rows * columns * features], rows, columns, features }
    }

    /// Where the features of a pixel begin.
    fn start(&self, [image, row, column]: Place) -> usize {
        ((image * self.rows + row % self.rows) * self.columns + column) * self.features
    }

    fn at(&self, place: Place) -> &[f32] {
        &self.values[self.start(place)..][..self.features]
    }

    fn at_mut(&mut self, place: Place) -> &mut [f32] {
        let start = self.start(place);
        &mut self.values[start..][..self.features]
    }

    /// Takes the features of `places`, one row for each.
    fn write(&mut self, places: &[Place], features: &[f32]) {
        for (&place, features) in places.iter().zip(features.chunks_exact(self.features)) {
            self.at_mut(place).copy_from_slice(features);
        }
    }

    /// Adds the product with the first features of `places` to the rows of `out`.
    fn add_product(&self, places: &[Place], product: &PackedLinear, out: &mut [f32]) {
        let starts: Vec<Option<usize>> = places.iter().map(|&place| Some(self.start(place))).collect();
        product.forward_add(Rows::pieces(&self.values, product.inputs(), &starts), out);
    }
}

/// The numbers of a tensor.
fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The sum of the biases of layers whose results are added up.
fn biases(layers: &[&Normed]) -> Vec<f32> {
    let mut sum = numbers(layers[0].bias.val());
    layers[1..].iter().for_each(|layer| inference::add(&mut sum, &numbers(layer.bias.val())));
    sum
}

/// A convolution as a product with what its kernel sees.
struct Layer {
    product: PackedLinear,
    /// Rows down and columns to the right from a pixel's place in the input to each element of the kernel.
    taps: Vec<[isize; 2]>,
    /// Pixels of the input for one of the result.
    stride: usize,
}

impl Layer {
    /// `layer` with its kernel moved up and to the left, and with `bias` for its own.
    fn new(layer: &Normed, [up, left]: [usize; 2], bias: Option<&[f32]>) -> Layer {
        let [rows, columns, inputs, outputs] = layer.direction.dims();
        let tap = |i: usize| {
            let from = [rows - 1 + up, layer.left + left];
            [(i / columns) as isize - from[0] as isize, (i % columns) as isize - from[1] as isize]
        };
        let product = PackedLinear::new(&numbers(layer.weight()), bias, rows * columns * inputs, outputs);
        Layer { product, taps: (0..rows * columns).map(tap).collect(), stride: layer.stride }
    }

    /// What a transposed convolution does for the pixels whose row and column are `phase` above twice those of a pixel of the
    /// input.
    fn of_phase(layer: &Normed, phase: [usize; 2]) -> Layer {
        let [rows, columns, inputs, outputs] = layer.direction.dims();
        let all = numbers(layer.weight());
        let (mut weight, mut taps) = (Vec::new(), Vec::new());
        for i in 0..rows * columns {
            // Row i goes to row 2 i + element of the kernel, column j to column 2 j + element − left.
            let down = phase[0] as isize - (i / columns) as isize;
            let right = (phase[1] + layer.left) as isize - (i % columns) as isize;
            if down % 2 == 0 && right % 2 == 0 {
                weight.extend_from_slice(&all[i * inputs * outputs..(i + 1) * inputs * outputs]);
                taps.push([down / 2, right / 2]);
            }
        }
        let bias = numbers(layer.bias.val());
        let product = PackedLinear::new(&weight, Some(&bias), taps.len() * inputs, outputs);
        Layer { product, taps, stride: 1 }
    }

    fn forward(&self, input: &Map, places: &[Place]) -> Vec<f32> {
        let mut out = vec![0.0; places.len() * self.product.outputs()];
        let starts = self.starts(input, places);
        self.product.forward(Rows::pieces(&input.values, input.features, &starts), &mut out);
        out
    }

    fn forward_add(&self, input: &Map, places: &[Place], out: &mut [f32]) {
        let starts = self.starts(input, places);
        self.product.forward_add(Rows::pieces(&input.values, input.features, &starts), out);
    }

    /// Where the pixels begin that the kernel sees from each place.
    fn starts(&self, input: &Map, places: &[Place]) -> Vec<Option<usize>> {
        let start = |[image, row, column]: Place, [down, right]: [isize; 2]| {
            let row = (row * self.stride).checked_add_signed(down)?;
            let column = (column * self.stride).checked_add_signed(right)?;
            (column < input.columns).then(|| input.start([image, row, column]))
        };
        places.iter().flat_map(|&place| self.taps.iter().map(move |&tap| start(place, tap))).collect()
    }
}

/// A residual block of one stream.
struct Block {
    /// With the bias of the short-cuts.
    first: Layer,
    /// One for each set of features that comes in.
    short_cuts: Vec<PackedLinear>,
    second: Layer,
    /// `[classes, 2 · width]`, or nothing.
    class: Vec<f32>,
}

impl Block {
    fn new(block: &Residual) -> Block {
        let [_, _, inputs, width] = block.first.direction.dims();
        let mut added = vec![&block.first];
        added.extend(&block.short_cut);
        let short_cuts = block.short_cut.iter().flat_map(|layer| {
            let part = |weight: &[f32]| PackedLinear::new(weight, None, inputs, width);
            numbers(layer.weight()).chunks_exact(inputs * width).map(part).collect::<Vec<_>>()
        });
        Block {
            short_cuts: short_cuts.collect(),
            first: Layer::new(&block.first, [0, 0], Some(&biases(&added))),
            second: Layer::new(&block.second, [0, 0], Some(&biases(&[&block.second]))),
            class: block.class.as_ref().map(|class| numbers(class.val())).unwrap_or_default(),
        }
    }
}

/// What leads from one set of features of a stream to the next.
enum Part {
    Block(Block),
    Halve(Layer),
    /// A layer for each phase.
    Double([Layer; 4]),
}

impl Part {
    fn resize(layer: &Normed) -> Part {
        if layer.transposed {
            Part::Double([[0, 0], [0, 1], [1, 0], [1, 1]].map(|phase| Layer::of_phase(layer, phase)))
        } else {
            Part::Halve(Layer::new(layer, [0, 0], Some(&biases(&[layer]))))
        }
    }
}

/// A step of both streams.
struct Step {
    parts: [Part; 2],
    /// Size of the result: how often the sides are halved.
    size: usize,
    /// Number of the features that come in by a short-cut from the way down.
    mirror: Option<usize>,
}

/// Features of a stream after a step, and inside of the step's block.
struct Features {
    plain: Map,
    active: Map,
    hidden: Map,
}

impl Features {
    fn write(&mut self, places: &[Place], plain: &[f32]) {
        self.plain.write(places, plain);
        self.active.write(places, &concat_elu(plain, self.plain.features));
    }
}

/// As the network's, of rows of `width` features.
fn concat_elu(x: &[f32], width: usize) -> Vec<f32> {
    let rows = x.chunks_exact(width);
    let mut both: Vec<f32> = rows.flat_map(|row| row.iter().copied().chain(row.iter().map(|x| -x))).collect();
    inference::activate(&mut both, Activation::Elu);
    both
}

/// The network for images side by side, with the features that were computed.
struct Stack {
    shape: ImageShape,
    classes: Vec<u32>,
    /// The images with their channel of ones.
    x: Map,
    above: Layer,
    /// The layers of one row above and of the column to the left.
    before: [Layer; 2],
    steps: Vec<Step>,
    output: PackedLinear,
    /// Of each stream, at the beginning and after each step.
    features: [Vec<Features>; 2],
}

impl Stack {
    /// Keeps `rows` rows of each layer at most.
    fn new(model: &PixelCnnPp, classes: Vec<u32>, rows: usize) -> Stack {
        let Network { input, shrinking, growing, output } = &model.network;
        let mut steps: Vec<Step> = Vec::new();
        let resize = |Resize { above, before }: &Resize| [above, before].map(Part::resize);
        let mut passed = vec![0];
        for (number, size) in shrinking.iter().enumerate() {
            for pair in &size.blocks {
                let parts = [&pair.above, &pair.before].map(|block| Part::Block(Block::new(block)));
                steps.push(Step { parts, size: number, mirror: None });
                passed.push(steps.len());
            }
            if let Some(halve) = &size.next {
                steps.push(Step { parts: resize(halve), size: number + 1, mirror: None });
                passed.push(steps.len());
            }
        }
        passed.pop();
        for (number, size) in growing.iter().enumerate() {
            let number = HALVINGS - number;
            for pair in &size.blocks {
                let parts = [&pair.above, &pair.before].map(|block| Part::Block(Block::new(block)));
                steps.push(Step { parts, size: number, mirror: passed.pop() });
            }
            if let Some(double) = &size.next {
                steps.push(Step { parts: resize(double), size: number - 1, mirror: None });
            }
        }
        let ImageShape { height, width: columns, channels } = model.shape;
        let width = model.config.width;
        let map = |size: usize, features| {
            Map::new(classes.len(), [rows.min(height >> size), columns >> size], features)
        };
        let features = |size| Features {
            plain: map(size, width),
            active: map(size, 2 * width),
            hidden: map(size, 2 * width),
        };
        let stream = || std::iter::once(0).chain(steps.iter().map(|step| step.size)).map(features).collect();
        Stack {
            x: map(0, channels + 1),
            above: Layer::new(&input.above, [1, 0], Some(&biases(&[&input.above]))),
            before: [
                Layer::new(&input.row, [1, 0], Some(&biases(&[&input.row, &input.column]))),
                Layer::new(&input.column, [0, 1], None),
            ],
            output: PackedLinear::new(
                &numbers(output.weight()),
                Some(&biases(&[output])),
                width,
                output.gain.dims()[0],
            ),
            features: [stream(), stream()],
            shape: model.shape,
            classes,
            steps,
        }
    }

    /// Takes the value of a channel of a pixel.
    fn put(&mut self, place: Place, channel: usize, value: u32) {
        let channels = self.shape.channels;
        let pixel = self.x.at_mut(place);
        pixel[channel] = to_unit(value);
        pixel[channels] = 1.0;
    }

    /// Computes the features of a stream.
    fn run(&mut self, stream: usize, places: &Places) {
        let input = if stream == ABOVE {
            self.above.forward(&self.x, &places[0])
        } else {
            let [row, column] = &self.before;
            let mut sum = row.forward(&self.x, &places[0]);
            column.forward_add(&self.x, &places[0], &mut sum);
            sum
        };
        self.features[stream][0].write(&places[0], &input);
        for number in 0..self.steps.len() {
            let Step { parts, size, mirror } = &self.steps[number];
            let places = &places[*size];
            if places.is_empty() {
                continue;
            }
            let plain = match &parts[stream] {
                Part::Halve(layer) => layer.forward(&self.features[stream][number].plain, places),
                Part::Double(layers) => double(layers, &self.features[stream][number].plain, places),
                Part::Block(block) => {
                    let hidden = self.enter(stream, number, block, *mirror, places);
                    self.features[stream][number + 1].hidden.write(places, &hidden);
                    self.leave(stream, number, block, places)
                }
            };
            self.features[stream][number + 1].write(places, &plain);
        }
    }

    /// The first half of a block, between features `number` and the next: what its second convolution sees.
    fn enter(
        &self,
        stream: usize,
        number: usize,
        block: &Block,
        mirror: Option<usize>,
        places: &[Place],
    ) -> Vec<f32> {
        let of = &self.features;
        let mut hidden = block.first.forward(&of[stream][number].active, places);
        let beside = (stream == BEFORE).then(|| &of[ABOVE][number + 1].active);
        let mirror = mirror.map(|mirror| &of[stream][mirror].active);
        for (map, product) in beside.into_iter().chain(mirror).zip(&block.short_cuts) {
            map.add_product(places, product, &mut hidden);
        }
        concat_elu(&hidden, of[stream][number].plain.features)
    }

    /// The second half.
    fn leave(&self, stream: usize, number: usize, block: &Block, places: &[Place]) -> Vec<f32> {
        let from = &self.features[stream][number].plain;
        let width = from.features;
        let mut gated = block.second.forward(&self.features[stream][number + 1].hidden, places);
        if !block.class.is_empty() {
            for (row, [image, ..]) in gated.chunks_exact_mut(2 * width).zip(places) {
                inference::add(row, &block.class[self.classes[*image] as usize * 2 * width..][..2 * width]);
            }
        }
        let mut plain = vec![0.0; places.len() * width];
        inference::gate_halves(&gated, width, Activation::Identity, Activation::Sigmoid, &mut plain);
        for (plain, &place) in plain.chunks_exact_mut(width).zip(places) {
            inference::add(plain, from.at(place));
        }
        plain
    }

    /// The parameters of the log_probs of `places`, one row for each.
    fn parameters(&self, places: &[Place]) -> Vec<f32> {
        let active = &self.features[BEFORE][self.steps.len()].active;
        let starts: Vec<Option<usize>> = places.iter().map(|&place| Some(active.start(place))).collect();
        let mut out = vec![0.0; places.len() * self.output.outputs()];
        self.output.forward(Rows::pieces(&active.values, self.output.inputs(), &starts), &mut out);
        out
    }
}

/// Each pixel from those of half the sides, by the layer of its phase.
fn double(layers: &[Layer; 4], input: &Map, places: &[Place]) -> Vec<f32> {
    let outputs = layers[0].product.outputs();
    let mut out = vec![0.0; places.len() * outputs];
    for (phase, layer) in layers.iter().enumerate() {
        let of_phase: Vec<usize> =
            (0..places.len()).filter(|&i| places[i][1] % 2 * 2 + places[i][2] % 2 == phase).collect();
        let halved: Vec<Place> =
            of_phase.iter().map(|&i| [places[i][0], places[i][1] / 2, places[i][2] / 2]).collect();
        for (&i, result) in of_phase.iter().zip(layer.forward(input, &halved).chunks_exact(outputs)) {
            out[i * outputs..(i + 1) * outputs].copy_from_slice(result);
        }
    }
    out
}

/// At each size the pixels that the rows and columns of the image begin, of each of `images` images.
fn places(images: usize, rows: Range<usize>, columns: Range<usize>) -> Places {
    std::array::from_fn(|size| {
        let begun = |i: usize| i.is_multiple_of(1 << size).then_some(i >> size);
        let (rows, columns) = (rows.clone().filter_map(begun), columns.clone().filter_map(begun));
        let pixels = rows.flat_map(|row| columns.clone().map(move |column| [row, column]));
        (0..images).flat_map(|image| pixels.clone().map(move |[row, column]| [image, row, column])).collect()
    })
}

/// A value on the scale of images.
fn to_unit(value: u32) -> f32 {
    value as f32 / 127.5 - 1.0
}

/// Images that are read or written side by side.
pub(super) struct PixelDecoder {
    stack: Stack,
    /// Values that were taken.
    taken: usize,
    /// Whether the parameters of the pixel of the next value are known.
    known: bool,
    parameters: Vec<f32>,
    /// The values of the pixel's channels that were taken, `[images, channels]`.
    earlier: Vec<f32>,
    log_probs: Vec<f32>,
}

impl PixelDecoder {
    pub(super) fn new(model: &PixelCnnPp, classes: &[Option<u32>]) -> PixelDecoder {
        let classes: Vec<u32> = classes.iter().map(|class| class.unwrap_or(0)).collect();
        let log_probs = vec![0.0; classes.len() * LEVELS];
        let stack = Stack::new(model, classes, REACH);
        PixelDecoder { stack, taken: 0, known: false, parameters: Vec::new(), earlier: Vec::new(), log_probs }
    }

    /// Row, column and channel of the next value.
    fn next(&self) -> [usize; 3] {
        let ImageShape { height, width, channels } = self.stack.shape;
        let pixel = self.taken / channels;
        assert!(pixel < height * width, "{} values are whole images of {:?}", self.taken, self.stack.shape);
        [pixel / width, pixel % width, self.taken % channels]
    }

    /// Computes what the pixel of the next value sees, once.
    fn look(&mut self) {
        if self.known {
            return;
        }
        let [row, column, _] = self.next();
        let images = self.stack.classes.len();
        let one = |i: usize| i..i + 1;
        if column == 0 {
            self.stack.run(ABOVE, &places(images, one(row), 0..self.stack.shape.width));
        }
        let here = places(images, one(row), one(column));
        self.stack.run(BEFORE, &here);
        self.parameters = self.stack.parameters(&here[0]);
        self.known = true;
    }
}

impl IncrementalDecoder for PixelDecoder {
    fn log_probs(&mut self) -> &[f32] {
        self.look();
        let channels = self.stack.shape.channels;
        let channel = self.taken % channels;
        let earlier: Vec<f32> =
            self.earlier.chunks_exact(channels).flat_map(|pixel| &pixel[..channel]).copied().collect();
        logistic_mixture_log_probs(&self.parameters, &earlier, channels, &mut self.log_probs);
        &self.log_probs
    }

    fn append(&mut self, values: &[u32]) {
        let images = self.stack.classes.len();
        assert_eq!(values.len(), images, "{} values for {images} images", values.len());
        // Later pixels read what is computed here, even where nobody asks for this pixel's log_probs.
        self.look();
        let [row, column, channel] = self.next();
        let channels = self.stack.shape.channels;
        self.earlier.resize(images * channels, 0.0);
        for (image, &value) in values.iter().enumerate() {
            assert!((value as usize) < LEVELS, "{value} is not one of {LEVELS} values");
            self.stack.put([image, row, column], channel, value);
            self.earlier[image * channels + channel] = to_unit(value);
        }
        self.taken += 1;
        self.known = channel + 1 < channels;
    }
}

/// The log_probs of all values of an image, `[values, 256]`.
pub(super) struct WholeImages {
    stack: Stack,
    places: Places,
}

impl WholeImages {
    pub(super) fn new(model: &PixelCnnPp) -> WholeImages {
        let ImageShape { height, width, .. } = model.shape;
        WholeImages { stack: Stack::new(model, vec![0], height), places: places(1, 0..height, 0..width) }
    }

    /// Appends the log_probs of the values of `image`, of the given class.
    ///
    /// # Panics
    ///
    /// When it has another number of values than images have.
    pub(super) fn log_probs(&mut self, image: &[u32], class: u32, log_probs: &mut Vec<f32>) {
        let channels = self.stack.shape.channels;
        assert_eq!(image.len(), self.stack.shape.dims(), "values of an image {:?}", self.stack.shape);
        self.stack.classes[0] = class;
        for (&place, pixel) in self.places[0].iter().zip(image.chunks_exact(channels)) {
            pixel.iter().enumerate().for_each(|(channel, &value)| self.stack.put(place, channel, value));
        }
        self.stack.run(ABOVE, &self.places);
        self.stack.run(BEFORE, &self.places);
        let parameters = self.stack.parameters(&self.places[0]);
        let pixels = self.places[0].len();
        let first = log_probs.len();
        log_probs.resize(first + image.len() * LEVELS, 0.0);
        let mut of_channel = vec![0.0; pixels * LEVELS];
        for channel in 0..channels {
            let earlier: Vec<f32> = image
                .chunks_exact(channels)
                .flat_map(|pixel| pixel[..channel].iter().map(|&value| to_unit(value)))
                .collect();
            logistic_mixture_log_probs(&parameters, &earlier, channels, &mut of_channel);
            for (pixel, row) in of_channel.chunks_exact(LEVELS).enumerate() {
                log_probs[first + (pixel * channels + channel) * LEVELS..][..LEVELS].copy_from_slice(row);
            }
        }
    }
}
