//! What the tests of the real program share: a place of its own for each, tiny models, and how to look at results.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder to run the program in, with a cache and nothing else.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `text.txt` and a folder `clips` of sounds, for models that learn them.
    pub(crate) fn provide(&self) {
        let line = |i: usize| format!("line {i} of a text that goes on, {} and on\n", i * i % 97);
        fs::write(self.path("text.txt"), (0..200).map(line).collect::<String>()).unwrap();
        fs::create_dir_all(self.path("clips")).unwrap();
        for clip in 0..12 {
            let sample = |i: usize| ((i as f64 * 0.05 * (clip + 1) as f64).sin() * 8000.0) as i16;
            let samples: Vec<i16> = (0..400 + 10 * clip).map(sample).collect();
            fs::write(self.path(&format!("clips/{clip:02}.wav")), wav(&samples)).unwrap();
        }
    }

    /// The program in this place, with these arguments.
    pub(crate) fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poiesis"));
        command
            .args(arguments.iter().map(AsRef::as_ref))
            .current_dir(self.folder.path())
            .env("POIESIS_CACHE", self.path("cache"))
            .env_remove("POIESIS_DATA")
            .env_remove("POIESIS_THREADS")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program, which must succeed, and returns what it printed as a result.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let output = self.run(&words(arguments));
        assert!(output.status.success(), "{arguments}\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the program, which must fail with one clear message, and returns that.
    pub(crate) fn fails(&self, arguments: &str) -> String {
        let output = self.run(&words(arguments));
        expect_failure(arguments, &output)
    }
}

/// Checks that the program failed as it should: exit 1, the last words an error, no trace of a panic.
pub(crate) fn expect_failure(what: &str, output: &Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}\n{said}\n{}", text(&output.stdout));
    assert!(!said.contains("panicked") && !said.contains("has a bug"), "{what}\n{said}");
    let place = said.rfind("error: ").unwrap_or_else(|| panic!("{what} names no error\n{said}"));
    let error = said[place..].trim_end();
    assert!(!error.ends_with('.'), "a message has no final full stop: {error}");
    error.to_owned()
}

pub(crate) fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Reads JSON that was printed.
pub(crate) fn parse(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Training of a model small enough to take milliseconds a step; see [`Place::provide`] for text and sound.
pub(crate) fn tiny(model: &str, out: &str, more: &str) -> String {
    let shapes = "--data shapes --size 16 --set data.count=300";
    let (data, own) = match model {
        "dcgan" => (shapes, "width=4 latent_dim=8"),
        "gan" => (
            "--data rings --set data.count=300",
            "latent_dim=4 generator_hidden_dims=[8] discriminator_hidden_dims=[8] dropout=0.2 minibatch_kernels=2",
        ),
        "improved-gan" => (
            shapes,
            "latent_dim=8 generator_hidden_dims=[8] discriminator_hidden_dims=[8,8] labels_per_class=4 \
             historical_averaging=0.1 virtual_batch_norm=true",
        ),
        "infogan" => {
            (shapes, "noise_dim=4 generator_widths=[8,4] discriminator_widths=[4,8] hidden_dim=8 q_dim=8")
        }
        "r3gan" => (
            shapes,
            "latent_dim=4 width=4 max_width=8 group_width=4 conditional=true augment_target=0.6 augment_images=500 \
             penalty_every=2",
        ),
        "draw" => (
            "--data shapes --size 8 --set data.channels=1 --set data.count=300",
            "glimpses=3 width=8 latent_dim=2",
        ),
        "air" => (
            "--data scenes --size 12 --set data.channels=1 --set data.count=300",
            "max_objects=2 width=8 what_dim=2 object_size=4 hidden_dim=6 presence_steps=30",
        ),
        "vae" => (shapes, "width=4 latent_dim=8 blocks=0"),
        "iaf-vae" => (shapes, "width=4 maps=2 blocks=1 flow_width=4 posterior=iaf"),
        "realnvp" => (shapes, "width=2 blocks=1 couplings=2"),
        "glow" => (shapes, "depth=1 width=4 dequantization=variational dequantization_width=2"),
        "ppo" => ("--env cartpole --envs 2", "rollout_steps=32 hidden_dims=[8] normalize_rewards=true"),
        "vime" => (
            "--env cartpole --envs 2",
            "rollout_steps=32 hidden_dims=[8] bonus_weight=0.1 dynamics_hidden_dims=[8] dynamics_updates=4 \
             replay_start=100 replay_size=400",
        ),
        "pixelcnn" => (shapes, "width=6 blocks=1 head=6 levels=8"),
        "gated-pixelcnn" => (shapes, "width=6 layers=2 head=6 levels=8"),
        "pixelrnn" => (shapes, "hidden_dim=6 layers=1 head=6 distribution=softmax"),
        "pixelcnn-pp" => (shapes, "width=8 blocks=1 mixtures=2 dropout=0.2"),
        "char-rnn" => ("--data text.txt", "width=16 context=16 dropout=0.1 vocabulary=bytes"),
        "transformer" => {
            ("--data text.txt", "width=16 layers=1 heads=2 context=16 dropout=0.1 vocabulary=bytes")
        }
        "wavenet" => ("--data clips", "stacks=1 layers=3 width=8 skip=8 context=64"),
        other => panic!("there is no tiny {other}"),
    };
    // What a test expects does not depend on the speed of the machine.
    let data = if data.starts_with("--data") { format!("{data} --paper-defaults") } else { data.to_owned() };
    let own: String = own.split(' ').map(|setting| format!("--set {setting} ")).collect();
    format!(
        "train {model} {data} {own} --batch-size 8 --steps 60 --checkpoint-every 6 --set log_every=4 \
         --set sample_frames=5 --set sample_count=4 --set sample_length=60 --out {out} {more}"
    )
}

/// A mono WAV file of 16-bit samples.
pub(crate) fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = 2 * samples.len() as u32;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1u16, 1].map(u16::to_le_bytes).concat());
    file.extend([8000u32, 16_000].map(u32::to_le_bytes).concat());
    file.extend([2u16, 16].map(u16::to_le_bytes).concat());
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// Every file below a folder with its content.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Fails with the names of the files that differ between two folders.
pub(crate) fn expect_equal_files(a: &Path, b: &Path) {
    let (of_a, of_b) = (files(a), files(b));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&of_a), names(&of_b), "{} and {}", a.display(), b.display());
    assert!(!of_a.is_empty(), "{} is empty", a.display());
    let differing: Vec<_> =
        of_a.iter().filter(|(name, bytes)| &of_b[*name] != *bytes).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "{} and {} differ in {differing:?}", a.display(), b.display());
}
