//! Times training steps of a model and prints one line of JSON, for `bench/`:
//!
//! `train_speed dcgan 64x64x3 kernel=4 width=64 --batch 64 --steps 20 --threads 2`
//!
//! `train_speed transformer text layers=4 width=128 --batch 12`
//!
//! The second word is the size of images, shapes made by code, or `text`, which is characters drawn at random. The words after it
//! are settings of the model, or `device=vulkan`. A step fetches its batch, trains, and reads its losses.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use poiesis::catalogue;
use poiesis::config::{Layer, resolve};
use poiesis::data::{DataSpec, Examples, ImageShape};
use poiesis::device::device;
use poiesis::model::Start;
use poiesis::rng;
use poiesis_collect::{Dataset, Options, Split, VocabularyKind, collect};

/// Images of the data set that is trained on.
const IMAGES: usize = 2048;
/// Characters of a text, and how many different ones there are.
const CHARACTERS: u64 = 100_000;
const ALPHABET: u64 = 65;

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    // As in training, the steps run on one of the threads that do the arithmetic.
    rayon::scope(|_| measure())
}

fn measure() -> Result<(), Fault> {
    let wish = Wish::parse(std::env::args().skip(1))?;
    let entry = catalogue::find(&wish.model)?;
    let settings = wish.settings.iter().map(|setting| Layer::assignment("the command line", setting));
    let mut config = resolve(&entry.defaults()?, &settings.collect::<Result<Vec<_>, _>>()?)?.config;
    config.train.batch_size = wish.batch;
    config.train.precision.set(&config.device)?;

    let folder = std::env::temp_dir().join(format!("poiesis-train-speed-{}", std::process::id()));
    let dataset = match wish.images {
        Some(shape) => images(shape, &folder)?,
        None => text(&folder)?,
    };

    let device = device(&config.device)?.autodiff();
    let spec = DataSpec::of(&dataset)?;
    let examples = Examples::of(&dataset, Split::Train).ok_or("no training data")?;
    let mut session = entry.start(Start { config: &config, spec: &spec, examples, device })?;
    let mut times = Vec::new();
    let mut loss = f64::NAN;
    for step in 0..wish.warmup + wish.steps {
        let began = Instant::now();
        loss = session.step(step, 1.0)?.read()[0].1;
        times.push(1e3 * began.elapsed().as_secs_f64());
    }
    std::fs::remove_dir_all(folder)?;

    let mut times = times.split_off(wish.warmup as usize);
    times.sort_by(f64::total_cmp);
    let median = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2.0;
    writeln!(std::io::stdout(), "{{\"ms\": {median}, \"min_ms\": {}, \"loss\": {loss}}}", times[0])?;
    Ok(())
}

fn images(shape: ImageShape, folder: &Path) -> Result<Dataset, Fault> {
    let ImageShape { height, width, channels } = shape;
    let options = Options {
        count: Some(IMAGES),
        size: Some((height as u32, width as u32)),
        channels: Some(channels as u8),
        ..Options::default()
    };
    collect("shapes".as_ref(), folder, &options, &|_| ())?;
    Ok(Dataset::open(folder)?)
}

fn text(folder: &Path) -> Result<Dataset, Fault> {
    let file = folder.with_extension("txt");
    let mut generator = rng::generator(0, "text", 0);
    // From the digit 0 on.
    let text: String =
        (0..CHARACTERS).map(|_| char::from(b'0' + rng::below(&mut generator, ALPHABET) as u8)).collect();
    std::fs::write(&file, text)?;
    let options = Options { vocabulary: Some(VocabularyKind::Characters), ..Options::default() };
    collect(&file, folder, &options, &|_| ())?;
    std::fs::remove_file(file)?;
    Ok(Dataset::open(folder)?)
}

/// The command line.
struct Wish {
    model: String,
    /// Shape of images; none for text.
    images: Option<ImageShape>,
    settings: Vec<String>,
    batch: usize,
    steps: u64,
    warmup: u64,
}

impl Wish {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Wish, Fault> {
        let model = words.next().ok_or("name a model, then a size such as 64x64x3 or `text`")?;
        let images = match words.next().ok_or("give a size such as 64x64x3, or `text`")?.as_str() {
            "text" => None,
            size => {
                let sides = size.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
                Some(ImageShape::from_slice(&sides)?)
            }
        };
        let mut wish = Wish { model, images, settings: Vec::new(), batch: 64, steps: 20, warmup: 3 };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("`{word}` wants a number"));
            match word.as_str() {
                "--batch" => wish.batch = value()?.parse()?,
                "--steps" => wish.steps = value()?.parse()?,
                "--warmup" => wish.warmup = value()?.parse()?,
                // The number of threads is the pool's, set by RAYON_NUM_THREADS; named for symmetry.
                "--threads" => drop(value()?),
                _ => wish.settings.push(word),
            }
        }
        Ok(wish)
    }
}
