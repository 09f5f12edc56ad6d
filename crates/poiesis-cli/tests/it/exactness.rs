//! The same bytes come out however often training is killed and however many threads compute.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Place, expect_equal_files, tiny, words};

/// Compares all that two runs left behind: their last checkpoints, their sample grids, their metrics. Pictures hold
/// the name of their run, so both must have the same.
fn expect_equal_runs(a: &Path, b: &Path) {
    expect_equal_files(&a.join("samples"), &b.join("samples"));
    expect_equal_training(a, b);
}

/// The same of runs without samples, as those of agents are.
fn expect_equal_training(a: &Path, b: &Path) {
    expect_equal_files(&a.join("checkpoints/step-000000060"), &b.join("checkpoints/step-000000060"));
    // Only the time differs between one machine's hour and another's.
    let metrics = |run: &Path| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let mut rows: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        rows.iter_mut().for_each(|row| {
            row.as_object_mut().unwrap().remove("elapsed");
        });
        rows
    };
    assert_eq!(metrics(a), metrics(b));
}

/// Kills training again and again, at moments drawn from `seed`, until it gets through.
///
/// How far a run is decides when it is killed, so that a slow machine kills as often as a fast one; a random delay
/// on top lets the kill strike anywhere: in a step, in the writing of a checkpoint, a picture or a line of metrics.
fn killed_runs_end_as_unbroken_ones(model: &str, seed: u64) {
    killed_runs_with(model, "", seed);
}

/// The same with more settings.
fn killed_runs_with(model: &str, settings: &str, seed: u64) {
    killed_runs_in(&Place::new(), model, settings, seed);
}

/// The same in a place that may have something already.
fn killed_runs_in(place: &Place, model: &str, settings: &str, seed: u64) {
    let acts = ["ppo", "vime"].contains(&model);
    let expect_equal = if acts { expect_equal_training } else { expect_equal_runs };
    place.provide();
    place.ok(&tiny(model, "unbroken/run", &format!("--threads 2 {settings}")));
    place.ok(&tiny(model, "one/run", &format!("--threads 1 {settings}")));
    expect_equal(&place.path("unbroken/run"), &place.path("one/run"));

    let arguments = tiny(model, "killed/run", &format!("--threads 2 {settings}"));
    let killed = place.path("killed/run");
    let mut random = Random(seed);
    let (mut kills, mut resumed) = (0, 0);
    // The last rows are left to the run that gets through.
    while lines(&killed) < 12 && kills < 20 {
        let before = checkpoints(&killed);
        let target = lines(&killed) + random.below(3) as usize;
        let child = place.command(&words(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        while lines(&killed) < target && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_micros(random.below(6_000)));
        kills += usize::from(child.try_wait().unwrap().is_none());
        resumed += usize::from(before > 0);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.ok(&arguments);
    assert!(kills >= 2 && resumed >= 1, "killed {kills} times, {resumed} of them after a checkpoint");
    expect_equal(&place.path("unbroken/run"), &killed);
}

/// Knuth's linear congruential generator: kills strike at the same points of progress in every run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn lines(run: &Path) -> usize {
    fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

fn checkpoints(run: &Path) -> usize {
    fs::read_dir(run.join("checkpoints")).map_or(0, |entries| entries.flatten().count())
}

#[test]
fn a_killed_dcgan_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("dcgan", 1);
}

#[test]
fn a_killed_vae_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("vae", 2);
}

#[test]
fn a_killed_pixelcnn_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("pixelcnn", 3);
}

#[test]
fn a_killed_gated_pixelcnn_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("gated-pixelcnn", 4);
}

#[test]
fn a_killed_pixelrnn_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("pixelrnn", 5);
}

#[test]
fn a_killed_pixelcnn_pp_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("pixelcnn-pp", 6);
}

#[test]
fn a_killed_char_rnn_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("char-rnn", 7);
}

#[test]
fn a_killed_transformer_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("transformer", 8);
}

#[test]
fn a_killed_wavenet_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("wavenet", 9);
}

#[test]
fn a_killed_gan_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("gan", 11);
}

#[test]
fn a_killed_improved_gan_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("improved-gan", 12);
}

#[test]
fn a_killed_infogan_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("infogan", 13);
}

#[test]
fn a_killed_r3gan_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("r3gan", 14);
}

#[test]
fn a_killed_draw_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("draw", 15);
}

#[test]
fn a_killed_air_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("air", 16);
}

#[test]
fn a_killed_iaf_vae_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("iaf-vae", 17);
}

#[test]
fn a_killed_realnvp_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("realnvp", 18);
}

#[test]
fn a_killed_glow_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("glow", 19);
}

#[test]
fn a_killed_vae_with_a_learned_prior_and_a_discriminator_ends_as_an_unbroken_one() {
    let learned = "--set prior=vamp --set pseudo_inputs=5";
    let factor = "--set total_correlation=5 --set discriminator_hidden_dims=[8]";
    killed_runs_with("vae", &format!("{learned} {factor}"), 20);
}

#[test]
fn a_killed_ppo_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("ppo", 21);
}

#[test]
fn a_killed_vime_ends_as_an_unbroken_one() {
    killed_runs_end_as_unbroken_ones("vime", 22);
}

#[test]
fn a_killed_run_in_bf16_ends_as_an_unbroken_one() {
    if poiesis::config::Precision::Bf16.is_supported() {
        killed_runs_with("transformer", "--set precision=bf16", 10);
        return;
    }
    println!("only the refusal: this processor has no AVX512-BF16");
    let place = Place::new();
    place.provide();
    let fault = place.fails(&tiny("transformer", "run", "--set precision=bf16"));
    assert!(fault.contains("train.precision") && fault.contains("AVX512-BF16") && fault.contains("use f32"));
}

#[test]
fn a_killed_fine_tuned_vae_ends_as_an_unbroken_one() {
    let place = Place::new();
    place.ok(&tiny("vae", "first/run", "--quiet"));
    killed_runs_in(&place, "vae", "--init-from first/run", 23);
    // The run has its own copy of what it starts from.
    let arguments = tiny("vae", "orphan/run", "--init-from first/run");
    let mut child =
        place.command(&words(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while lines(&place.path("orphan/run")) == 0 && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir_all(place.path("first")).unwrap();
    place.ok("resume orphan/run --quiet");
    expect_equal_runs(&place.path("unbroken/run"), &place.path("orphan/run"));
}

#[test]
fn sample_i_is_the_same_however_many_are_drawn() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "run", "--quiet"));
    place.ok("sample run --seed 7 --count 64 --out many --threads 2");
    place.ok("sample run --seed 7 --count 8 --out few --threads 1");
    place.ok("sample run --seed 7 --count 3 --first 5 --out some");
    place.ok("sample run --seed 8 --count 8 --out others");
    let read =
        |folder: &str, index: usize| fs::read(place.path(folder).join(format!("{index:06}.png"))).unwrap();
    for index in 0..8 {
        assert_eq!(read("many", index), read("few", index), "image {index}");
        assert_ne!(read("few", index), read("others", index), "image {index}");
    }
    for index in 5..8 {
        assert_eq!(read("many", index), read("some", index), "image {index}");
    }
    assert_eq!(fs::read_dir(place.path("many")).unwrap().count(), 64);
}

#[test]
fn resume_does_what_train_does() {
    let place = Place::new();
    place.ok(&tiny("vae", "whole/run", "--quiet"));
    let arguments = tiny("vae", "part/run", "");
    let mut child =
        place.command(&words(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let patience = Instant::now();
    while checkpoints(&place.path("part/run")) == 0 && patience.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(place.ok("runs part").contains("killed"));
    place.ok("resume part/run --quiet");
    expect_equal_runs(&place.path("whole/run"), &place.path("part/run"));
}
