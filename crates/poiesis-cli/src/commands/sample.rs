//! `poiesis sample`: new examples from a trained model.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result};
use clap::Args;
use poiesis::Trained;
use poiesis::atomic;
use poiesis::data::{Content, MediaKind};
use poiesis::generate::{Chunk, Condition, Request, rows_by_class};
use poiesis::media::{Clip, Codec, Media, files};
use poiesis::picture::{self, Picture, waveform_and_spectrogram};
use serde_json::{Value, json};

use super::given_examples::some_of;
use super::pictures;
use crate::args::{Chosen, OfRun, Out, class_of, with_condition};
use crate::render::{Meter, counted, exists, expect_empty, expect_none, failure, note, result};

/// How many clips are drawn as pictures.
const DRAWN: usize = 16;

/// The `--class` of samples without a class.
pub(crate) const NO_CLASS: &str = "none";

/// Draw new images, texts or sounds from a trained model
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis sample runs/dcgan-shapes
  poiesis sample runs/dcgan-shapes --count 16 --seed 7 --out grid.png
  poiesis sample runs/dcgan-shapes --count 10000 --out samples/      a folder with one file per sample
  poiesis sample runs/transformer-tinyshakespeare --prime 'ROMEO:' --length 2000 --temperature 0.8
  poiesis sample runs/char-rnn-names --count 20
  poiesis sample runs/wavenet-fsdd --class 7 --count 4 --out seven.wav
  poiesis sample runs/transformer-mails --class none                 a model that also learned mail without a class
  poiesis sample runs/dcgan-shapes --count 1000 --out samples.npy    for NumPy: uint8 [1000, height, width, channels]
  poiesis sample runs/draw-shapes --steps --columns 10              a row for each sample
  poiesis sample runs/draw-shapes --steps --out writing.gif         an animation

Sample i of a seed is the same for any --count. Text goes to the terminal while it is generated, or to --out. \
A model conditioned on classes draws them in turn, and the grid has a row for each; a model that also learned examples without a \
class draws one of those first in each turn, so a single text is one of those, also where it continues --prime. \
Sound becomes one WAV file with pauses between clips, and a picture of it. If --out is a folder, each sample \
becomes a file in it. If it ends in .npy, all become one NumPy array: images as uint8, points as float32, sound as int16 \
[samples, frames, channels]; if it ends in .jsonl, each text becomes a record. The PNG of a grid has its sampling parameters as metadata, unless --no-metadata is \
given.")]
pub(crate) struct Sample {
    #[command(flatten)]
    pub(crate) of: OfRun,
    /// Number of samples [default: 64 images, or as many of each class as fit into 64; 1 text, 4 sounds].
    #[arg(long, short = 'n', value_name = "N", value_parser = pictures::positive)]
    pub(crate) count: Option<usize>,
    /// Seed of the samples.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
    /// Number of the first sample.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..1 << 40))]
    pub(crate) first: u64,
    /// Class of the samples, for a model conditioned on classes: its name or number, or `none` for samples without a class, of a model that
    /// also learned such examples and has no class of that name [default: each in turn].
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// Text to continue.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prime: Option<String>,
    /// WAV file to continue.
    #[arg(long, value_name = "FILE", conflicts_with = "prime")]
    pub(crate) prime_sound: Option<PathBuf>,
    /// Maximum tokens of a text [default: 1000], or seconds of a sound [default: 2].
    #[arg(long, value_name = "N", value_parser = pictures::length)]
    pub(crate) length: Option<f64>,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Show how images are made, step by step, with a model that makes them so: a row for each as PNG, or an animation as GIF.
    #[arg(long)]
    pub(crate) steps: bool,
    /// Columns of the grid [default: as many as rows, or a row for each class]; with --steps, how many steps are shown [default: all].
    #[arg(long, value_name = "N", value_parser = pictures::positive)]
    pub(crate) columns: Option<usize>,
    /// Do not save the sampling parameters in the PNG.
    #[arg(long)]
    pub(crate) no_metadata: bool,
    #[command(flatten)]
    pub(crate) out: Out,
}

impl Sample {
    pub(crate) fn run(self) -> Result<()> {
        self.of_model(&self.of.open()?)
    }

    /// Samples of an open model.
    pub(crate) fn of_model(&self, trained: &Trained) -> Result<()> {
        self.write(trained).map_err(|error| with_condition(error, trained))
    }

    fn write(&self, trained: &Trained) -> Result<()> {
        self.expect_flags_apply(trained)?;
        if self.out.out.as_deref() == Some(Path::new("-")) {
            let hint = match trained.spec.media() {
                MediaKind::Text => "leave it out: texts go to standard output",
                _ => "give the name of a file, or a folder such as samples/",
            };
            return Err(failure(
                "--out - is no file: samples are not written to standard output by it",
                hint,
            ));
        }
        if self.steps {
            return self.step_by_step(trained);
        }
        let request = self.request(trained)?;
        tell_unlearned(trained, &request);
        if self.ends_in("npy") {
            return self.array(trained, &request);
        }
        let ending = match &trained.spec.content {
            // The picture alone.
            Content::Points(_) if self.ends_in("png") => "png",
            Content::Points(_)
                if self.to_folder().is_none() && self.out.out.is_some() && !self.ends_in("csv") =>
            {
                let out = self.out.out.as_deref().unwrap_or(Path::new("")).display();
                let hint = "give one that ends in .csv, .npy for NumPy, or .png for a picture";
                return Err(failure(
                    format!("{out} is not the name of a file that points can be written to"),
                    hint,
                ));
            }
            Content::Points(_) => files::extension(&trained.spec),
            _ => files::sheet_extension(&trained.spec),
        };
        match self.to_folder() {
            Some(folder) => self.folder(trained, &request, folder),
            None if ending == "txt" => self.text(trained, &request, self.out.out.as_deref()),
            None => self.sheet(trained, &request, ending),
        }
    }

    /// Whether each sample becomes a file in a folder.
    fn to_folder(&self) -> Option<&Path> {
        self.out.out.as_deref().filter(|out| out.extension().is_none() || out.is_dir())
    }

    /// Whether all samples become one file with this ending.
    fn ends_in(&self, ending: &str) -> bool {
        let extension = self.out.out.as_deref().and_then(Path::extension);
        self.to_folder().is_none() && extension.is_some_and(|found| found.eq_ignore_ascii_case(ending))
    }

    /// Refuses flags of what is written that mean nothing for the kind of the samples.
    fn expect_flags_apply(&self, trained: &Trained) -> Result<()> {
        let run = &trained.info.id;
        match trained.spec.media() {
            MediaKind::Sound if self.prime.is_some() => {
                let what = format!("--prime is a text, and {run} was trained on sound");
                return Err(failure(what, "give the beginning, a WAV file, with --prime-sound"));
            }
            MediaKind::Text if self.prime_sound.is_some() => {
                let what = format!("--prime-sound is a sound, and {run} was trained on text");
                return Err(failure(what, "give the beginning with --prime"));
            }
            _ => {}
        }
        if self.ends_in("npy") {
            let flags = [
                ("--columns", self.columns.is_some()),
                ("--scale", self.out.scale.is_some()),
                ("--no-metadata", self.no_metadata),
                ("--steps", self.steps),
            ];
            return expect_none("an array of NumPy", &flags);
        }
        let images = trained.spec.media() == MediaKind::Images;
        let one_file = self.to_folder().is_none();
        let is_drawn = images || (one_file && trained.spec.media() != MediaKind::Text);
        let in_columns = one_file && matches!(trained.spec.media(), MediaKind::Images | MediaKind::Sound);
        let what = match one_file {
            true => format!("samples of {}", trained.spec.media().name()),
            false => format!("a folder of samples of {}", trained.spec.media().name()),
        };
        expect_none(
            &what,
            &[
                ("--columns", self.columns.is_some() && !in_columns),
                ("--scale", self.out.scale.is_some() && !images),
                ("--no-metadata", self.no_metadata && !is_drawn),
            ],
        )
    }

    pub(super) fn request(&self, trained: &Trained) -> Result<Request> {
        let prompt = match (&self.prime, &self.prime_sound) {
            (Some(text), _) => Some(Media::Text(text.clone().into_bytes())),
            (None, Some(file)) => Some(files::read(file, &trained.spec)?),
            (None, None) => None,
        };
        let no_class = self.is_for_no_class(trained);
        let class = class_of(trained, self.class.as_deref().filter(|_| !no_class))?;
        let codec = Codec::new(&trained.spec, trained.abilities().autoregressive);
        let usual = match (codec.usual_count(), trained.turns().count()) {
            // As many of each class.
            (usual, turns @ 2..) if self.class.is_none() && usual >= 2 * turns => usual / turns * turns,
            (usual, _) => usual,
        };
        Ok(Request {
            seed: self.seed,
            first: self.first,
            count: self.count.unwrap_or(usual) as u64,
            condition: Condition { class, no_class, prompt, keep: None },
            params: self.chosen.params(),
            max_len: self.length.map(|length| max_len(trained, &codec, length)).transpose()?,
            ..Request::default()
        })
    }

    /// Whether samples without a class are asked for. A class that is called so is asked for instead, and a model that has learned no such
    /// examples refuses the word like any other that is not a class.
    fn is_for_no_class(&self, trained: &Trained) -> bool {
        let is_class = trained.info.data.classes.iter().any(|class| class == NO_CLASS);
        self.class.as_deref() == Some(NO_CLASS) && trained.turns().no_class && !is_class
    }

    /// All samples as one array of NumPy.
    fn array(&self, trained: &Trained, request: &Request) -> Result<()> {
        let out = self.out.resolve(trained, "samples", "npy")?;
        // Texts are refused before any is generated.
        files::to_npy(&[], &trained.spec, &out)?;
        let mut drawn = Vec::new();
        self.draw(trained, request, |_, media| {
            drawn.push(media);
            Ok(())
        })?;
        atomic::write(&out, &files::to_npy(&drawn, &trained.spec, &out)?)?;
        let frames = |clip: &Clip| clip.samples.len() / usize::from(clip.shape.channels);
        let lengths: Vec<usize> = drawn.iter().filter_map(clip).map(frames).collect();
        if lengths.iter().any(|length| *length != lengths[0]) {
            let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
            note(&format!("note: shorter clips end with silence; frames: {}", lengths.join(", ")));
        }
        result(&format!("{}\n", out.display()))
    }

    /// Texts as records of JSON, one a line, as `collect` reads them.
    fn records(&self, trained: &Trained, request: &Request) -> Result<()> {
        let out = self.out.resolve(trained, "samples", "jsonl")?;
        let (mut lines, mut replaced) = (String::new(), 0);
        self.draw(trained, request, |index, media| {
            if let Media::Text(text) = media {
                replaced += u64::from(std::str::from_utf8(&text).is_err());
                let mut record = json!({ "text": String::from_utf8_lossy(&text) });
                if trained.turns().count() > 0 {
                    record["class"] = class_name(trained, request, index).into();
                }
                lines.push_str(&format!("{record}\n"));
            }
            Ok(())
        })?;
        atomic::write(&out, lines.as_bytes())?;
        if replaced > 0 {
            let texts = counted(replaced, "text");
            note(&format!("note: bytes that are no UTF-8 were replaced in {texts}; .txt keeps them"));
        }
        result(&format!("{}\n", out.display()))
    }

    /// Texts, written to the terminal or a file while they are generated.
    fn text(&self, trained: &Trained, request: &Request, out: Option<&Path>) -> Result<()> {
        if self.ends_in("jsonl") {
            return self.records(trained, request);
        }
        let mut writer: Box<dyn Write> = match out {
            Some(path) if path.exists() && !self.out.force => return Err(exists(path, "--out")),
            Some(path) => {
                Box::new(fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
            }
            None => Box::new(std::io::stdout()),
        };
        // One at a time, so that each can be read while it is generated.
        let request = Request { batch_size: 1, ..request.clone() };
        let last = request.indices().end - 1;
        let separator = Codec::new(&trained.spec, None).separator();
        let in_turn = out.is_none() && request.takes_turns() && trained.turns().count() > 0;
        let (mut written, mut told) = (Ok(()), None);
        trained.generate(&request, &mut |index, chunk| {
            // Not among the texts themselves, which may be read by a program.
            if in_turn && told.replace(index) != Some(index) {
                note(&match class_name(trained, &request, index) {
                    Some(class) => format!("class {class}:"),
                    None => "without a class:".to_owned(),
                });
            }
            written = match chunk {
                Chunk::Part(Media::Text(part)) => writer.write_all(&part).and_then(|()| writer.flush()),
                Chunk::Part(_) | Chunk::Progress { .. } => Ok(()),
                Chunk::Whole(_) => writer.write_all(if index < last { separator } else { b"\n" }),
            };
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written?;
        match out {
            Some(path) => result(&format!("{}\n", path.display())),
            None => Ok(()),
        }
    }

    /// All samples in one file: a grid of images, joined clips, or a table of points.
    fn sheet(&self, trained: &Trained, request: &Request, ending: &str) -> Result<()> {
        let out = self.out.resolve(trained, &format!("samples-seed{}", self.seed), ending)?;
        let beside = out.with_extension("png");
        if beside != out && beside.exists() && !self.out.force {
            return Err(exists(&beside, "--out"));
        }
        let mut drawn = Vec::new();
        self.draw(trained, request, |_, media| {
            drawn.push(media);
            Ok(())
        })?;
        let turns = trained.turns();
        let classes = rows_by_class(turns.count(), request).filter(|_| self.columns.is_none());
        let mut note = self.note(trained, self.first, drawn.len(), request.condition.class);
        let columns = |count| self.columns.unwrap_or_else(|| picture::columns(count));
        let images: Vec<&Picture> = drawn.iter().filter_map(Media::picture).collect();
        if let Some(first) = images.first() {
            let each: Vec<&[u8]> = images.iter().map(|image| image.data()).collect();
            let (height, width) = (first.height(), first.width());
            let channels = first.channels();
            let grid = match classes {
                Some(classes) => {
                    if let Some(note) = &mut note {
                        let name = |class: u32| &trained.info.data.classes[class as usize];
                        let each = (0..classes as u64).map(|turn| turns.class(turn).map(name));
                        note["classes"] = json!(each.collect::<Vec<_>>());
                    }
                    let first = (self.first % classes as u64) as usize;
                    picture::grid_by_class(&each, height, width, channels, classes, first)
                }
                None => picture::grid(&each, height, width, channels, columns(each.len())),
            };
            let factor = self.out.scale.map_or_else(|| picture::viewing_factor(height, width), usize::from);
            grid.enlarged(factor).write_png(&out, note.as_ref())?;
            return result(&format!("{}\n", out.display()));
        }
        match Media::sheet(&drawn, &trained.spec, None) {
            Some(Media::Image(plot)) => {
                plot.write_png(&beside, note.as_ref())?;
                if beside == out {
                    return result(&format!("{}\n", out.display()));
                }
                atomic::write(&out, &files::to_csv(&drawn, trained.spec.points()?))?;
                return result(&format!("{}\n{}\n", out.display(), beside.display()));
            }
            Some(Media::Sound(all)) => {
                files::write_wav(&out, &all)?;
                let shown: Vec<Picture> = drawn.iter().filter_map(clip).take(DRAWN).map(drawing).collect();
                let each: Vec<&[u8]> = shown.iter().map(Picture::data).collect();
                let (width, height, channels) = (shown[0].width(), shown[0].height(), shown[0].channels());
                picture::grid(&each, height, width, channels, columns(each.len()))
                    .write_png(&beside, note.as_ref())?;
                return result(&format!("{}\n{}\n", out.display(), beside.display()));
            }
            _ => {}
        }
        result(&format!("{}\n", out.display()))
    }

    /// A file for each sample.
    fn folder(&self, trained: &Trained, request: &Request, folder: &Path) -> Result<()> {
        expect_empty(folder, self.out.force)?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let ending = files::extension(&trained.spec);
        self.draw(trained, request, |index, media| {
            let path = folder.join(format!("{index:06}.{ending}"));
            match &media {
                Media::Image(image) => {
                    let image = image.enlarged(self.out.scale.map_or(1, usize::from));
                    let class = request.class_of(index, trained.turns());
                    image.write_png(&path, self.note(trained, index, 1, class).as_ref())?;
                }
                other => atomic::write(&path, &files::to_bytes(other, &trained.spec, &path)?)?,
            }
            Ok(())
        })?;
        note(&format!("{} of {}", counted(request.count, "sample"), trained.info.id));
        result(&format!("{}\n", folder.display()))
    }

    /// Generates the samples, and passes on each with its number.
    fn draw(
        &self,
        trained: &Trained,
        request: &Request,
        mut take: impl FnMut(u64, Media) -> Result<()>,
    ) -> Result<()> {
        let meter = Meter::new("sampling", "samples", Some(request.count), false);
        let mut taken: Result<(), Error> = Ok(());
        trained.generate(request, &mut |index, chunk| {
            if let Chunk::Whole(media) = chunk {
                taken = take(index, media);
                meter.at(index + 1 - request.first, Some(request.count));
            }
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        meter.end();
        taken
    }

    /// The parameters in a picture of `count` samples from number `first`, all of `class` if one is given.
    pub(super) fn note(
        &self,
        trained: &Trained,
        first: u64,
        count: usize,
        class: Option<u32>,
    ) -> Option<Value> {
        let mut made = json!({ "verb": "sample", "seed": self.seed, "first": first, "count": count });
        pictures::name_class(&mut made, trained, class);
        (!self.no_metadata).then(|| pictures::parameters(trained, made))
    }
}

/// The class of a sample; `None` for one without.
fn class_name<'a>(trained: &'a Trained, request: &Request, index: u64) -> Option<&'a str> {
    let class = request.class_of(index, trained.turns())?;
    trained.info.data.classes.get(class as usize).map(String::as_str)
}

/// Says which of the classes that are drawn the model has seen no example of.
fn tell_unlearned(trained: &Trained, request: &Request) {
    let data = &trained.info.data;
    let drawn = |class: usize| match request.condition.class {
        Some(wanted) => wanted as usize == class,
        None => request.takes_turns() && class < trained.turns().classes,
    };
    let unseen = data.classes.iter().zip(&data.class_counts).enumerate();
    let unseen = unseen.filter(|(class, (_, count))| **count == 0 && drawn(*class));
    let names: Vec<String> = unseen.map(|(_, (name, _))| name.clone()).collect();
    if !names.is_empty() {
        let names = some_of(&names);
        note(&format!("note: no training example was of class {names}, so its samples show nothing learned"));
    }
}

/// A length in tokens of a text, which are whole, or in frames of a sound, which has at least one.
fn max_len(trained: &Trained, codec: &Codec, length: f64) -> Result<usize> {
    let tokens = trained.spec.media() == MediaKind::Text;
    match &trained.spec.content {
        Content::Sound(shape) if codec.max_len(length) == 0 => Err(failure(
            format!("a sound of {length} seconds (--length) has no frame"),
            format!("give at least {} seconds, which is one frame", 1.0 / f64::from(shape.sample_rate)),
        )),
        _ if tokens && length.fract() != 0.0 => Err(failure(
            format!("--length counts the tokens of a text and cannot be {length}"),
            "give a whole number of at least 1, such as 2000",
        )),
        _ => Ok(codec.max_len(length)),
    }
}

fn clip(media: &Media) -> Option<&Clip> {
    match media {
        Media::Sound(clip) => Some(clip),
        _ => None,
    }
}

fn drawing(clip: &Clip) -> Picture {
    waveform_and_spectrogram(&clip.mono(), clip.shape.sample_rate)
}

impl Out {
    /// The file to write, with this extension; an error if it may not be replaced.
    pub(crate) fn resolve(&self, trained: &Trained, what: &str, ending: &str) -> Result<PathBuf> {
        let Some(out) = &self.out else {
            let out = crate::render::free(&format!("{}-{what}", trained.info.id), ending);
            atomic::expect_writable(&out)?;
            return Ok(out);
        };
        if !out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending)) {
            let what = format!("{} is not the name of a {} file", out.display(), ending.to_uppercase());
            return Err(failure(what, format!("give one that ends in .{ending}")));
        }
        if out.exists() && !self.force {
            return Err(exists(out, "--out"));
        }
        atomic::expect_writable(out)?;
        Ok(out.clone())
    }
}
