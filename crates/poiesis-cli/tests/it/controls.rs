//! How long training goes on, where it starts, and which checkpoint is kept: epochs, early stopping, fine-tuning, the best checkpoint.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Place, expect_equal_files, parse, text, tiny, words};

/// The held-out values of a run by step.
fn held_out(run: &Path) -> Vec<(u64, f64)> {
    let rows = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = rows.lines().map(parse);
    let value = |row: &serde_json::Value| {
        let values = row.as_object().unwrap();
        values.iter().find(|(name, _)| name.starts_with("validation_")).and_then(|(_, value)| value.as_f64())
    };
    rows.filter_map(|row| Some((row["step"].as_u64()?, value(&row)?))).collect()
}

fn checkpoints(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn info(run: &Path) -> serde_json::Value {
    parse(&fs::read_to_string(run.join("run.json")).unwrap())
}

/// A run whose learning rate is soon nearly 0, so that the held-out value becomes no better after some steps.
fn plateau(out: &str, more: &str) -> String {
    tiny("transformer", out, &format!("--set optimizer.decay=0.3 --set ema_decay=0 {more}"))
}

/// The step of the first of the lowest values.
fn best_of(values: &[(u64, f64)]) -> u64 {
    values.iter().fold((0, f64::INFINITY), |best, &next| if next.1 < best.1 { next } else { best }).0
}

#[test]
fn training_ends_after_so_many_evaluations_without_a_better_one() {
    let place = Place::new();
    place.provide();
    let said = place.ok(&plateau("run", "--until-no-better 3"));
    let run = place.path("run");
    let values = held_out(&run);
    let (best, last) = (best_of(&values), values.last().unwrap().0);
    assert!(best > 0 && last < 60 && last == best + 3 * 6, "{values:?}");
    let (ended, because) =
        (format!("ended early, after step {last} of 60"), "became no better in 3 evaluations");
    assert!(said.contains(&ended) && said.contains(because), "{said}");
    assert!(said.contains(&format!("after step {best}; the flag --best uses it")), "{said}");
    let about = info(&run);
    assert_eq!((about["state"].as_str(), about["last_step"].as_u64()), (Some("done"), Some(last)));
    assert_eq!(
        (about["best"]["step"].as_u64(), about["best"]["metric"].as_str()),
        (Some(best), Some("validation_nll"))
    );
    let kept: Vec<String> =
        [best, last - 12, last - 6, last].iter().map(|step| format!("step-{step:09}")).collect();
    assert_eq!(checkpoints(&run), kept, "the newest three and the best");

    let again = place.ok(&plateau("run", "--until-no-better 3"));
    assert!(again.contains("ended already"), "{again}");
    assert_eq!(held_out(&run), values);
    place.ok("resume run --until-no-better 4 --quiet");
    assert_eq!(info(&run)["last_step"].as_u64(), Some(last + 6), "a longer patience goes further");
    place.ok("resume run --until-no-better 0 --quiet");
    assert_eq!(info(&run)["last_step"].as_u64(), Some(60), "without one all steps are done");
    assert_eq!(checkpoints(&run)[0], format!("step-{best:09}"));
}

#[test]
fn a_run_that_is_killed_ends_early_at_the_same_step_with_the_same_bytes() {
    let place = Place::new();
    place.provide();
    let patience = "--until-no-better 3 --quiet";
    place.ok(&plateau("unbroken/run", patience));
    let arguments = plateau("killed/run", patience);
    let killed = place.path("killed/run");
    let rows = || fs::read_to_string(killed.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    let mut kills = 0;
    // Rows are written every two or four steps, and the run has about fifteen.
    for target in [3, 6, 9, 11, 13] {
        let mut child =
            place.command(&words(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while rows() < target && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 2, "killed {kills} times");
    place.ok(&arguments);
    let unbroken = place.path("unbroken/run");
    assert_eq!(held_out(&killed), held_out(&unbroken));
    expect_equal_files(&unbroken.join("checkpoints"), &killed.join("checkpoints"));
    expect_equal_files(&unbroken.join("samples"), &killed.join("samples"));
}

#[cfg(unix)]
#[test]
fn an_evaluation_that_only_an_interruption_made_does_not_count() {
    let place = Place::new();
    place.provide();
    let patience = "--until-no-better 3 --quiet";
    place.ok(&plateau("unbroken/run", patience));
    let arguments = plateau("part/run", patience);
    let part = place.path("part/run");
    for _ in 0..3 {
        let before = fs::read_to_string(part.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
        let mut child =
            place.command(&words(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let rows = || fs::read_to_string(part.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
        while rows() <= before && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
        child.wait().unwrap();
    }
    place.ok(&arguments);
    let unbroken = place.path("unbroken/run");
    let planned = |run: &Path| -> Vec<(u64, f64)> {
        held_out(run).into_iter().filter(|(step, _)| step % 6 == 0).collect()
    };
    assert_eq!(planned(&part), planned(&unbroken));
    let (ours, theirs) = (info(&part), info(&unbroken));
    for key in ["last_step", "state", "best", "reason"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    let last = format!("checkpoints/step-{:09}", theirs["last_step"].as_u64().unwrap());
    expect_equal_files(&unbroken.join(&last), &part.join(&last));
}

#[test]
fn a_run_in_two_pieces_counts_as_an_unbroken_one() {
    let place = Place::new();
    place.provide();
    // Nothing changes, so no evaluation is better than the first, and each of the others counts.
    let still = "--until-no-better 3 --set optimizer.kind=adam --set optimizer.learning_rate=0 --quiet";
    let still = format!("{still} --set optimizer.schedule=constant");
    place.ok(&tiny("transformer", "unbroken/run", &still));
    // The first piece ends where no checkpoint is due.
    place.ok(&tiny("transformer", "pieces/run", &still).replace("--steps 60", "--steps 21"));
    let (unbroken, pieces) = (place.path("unbroken/run"), place.path("pieces/run"));
    assert_eq!(held_out(&pieces).last().unwrap().0, 21);
    place.ok("resume pieces/run --steps 60 --quiet");
    assert_eq!(info(&unbroken)["last_step"], 24, "three evaluations after the first");
    for key in ["last_step", "state", "best", "reason"] {
        assert_eq!(info(&pieces)[key], info(&unbroken)[key], "{key}");
    }
    for step in [6, 24] {
        let checkpoint = format!("checkpoints/step-{step:09}");
        expect_equal_files(&unbroken.join(&checkpoint), &pieces.join(&checkpoint));
    }

    // The last step may still be the best, as long as the run is not continued.
    let learning = "--set optimizer.schedule=constant --set ema_decay=0 --set keep_checkpoints=1 --quiet";
    place.ok(&tiny("transformer", "run", learning).replace("--steps 60", "--steps 15"));
    let run = place.path("run");
    assert_eq!(best_of(&held_out(&run)), 15, "{:?}", held_out(&run));
    assert_eq!(info(&run)["best"]["step"], 15);
    assert_eq!(checkpoints(&run), ["step-000000012", "step-000000015"]);
    let again = place.ok("resume run");
    assert!(again.contains("after the last step"), "{again}");
    place.ok("sample run --best --count 1");
}

#[test]
fn the_best_checkpoint_is_kept_and_opened_by_name() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("transformer", "first", "--set optimizer.learning_rate=0.3 --quiet"));
    // Such steps make a trained model worse at once.
    let worse = "--init-from first --set optimizer.kind=adam --set optimizer.learning_rate=0.3 --quiet";
    place.ok(&tiny("transformer", "run", &format!("{worse} --set keep_checkpoints=1")));
    let run = place.path("run");
    let values = held_out(&run);
    assert_eq!(values[0], (0, held_out(&place.path("first")).last().unwrap().1), "as the other ended");
    assert_eq!(best_of(&values), 0, "{values:?}");
    assert_eq!(checkpoints(&run), ["step-000000000", "step-000000060"]);
    let drawn = |arguments: &str| place.ok(&format!("sample {arguments} --seed 3 --count 2 --length 40"));
    let (best, newest) = (drawn("run --best"), drawn("run"));
    assert_eq!(best, drawn("run --step 0"));
    assert_eq!(best, drawn("first"), "the weights are those of the other run");
    assert_ne!(best, newest);
    let said = text(&place.run(&words("sample run --best --step 0")).stderr);
    assert!(said.contains("--best") && said.contains("--step"), "{said}");
    place.ok("evaluate run --best --json");

    place.ok(&tiny("dcgan", "gan", "--quiet"));
    let said = place.fails("sample gan --best");
    assert!(said.contains("gan has no best checkpoint") && said.contains("without --best"), "{said}");
    assert!(said.contains("training `dcgan` measures nothing on held-out examples"), "{said}");
    place.ok(&tiny("vae", "all", "--set data.holdout=0 --quiet"));
    let said = place.fails("sample all --best");
    assert!(said.contains("its data have no held-out examples"), "{said}");
}

#[test]
fn early_stopping_needs_something_that_is_measured() {
    let place = Place::new();
    for (arguments, reason) in [
        (tiny("dcgan", "a", "--until-no-better 3"), "measures nothing on held-out examples"),
        (tiny("ppo", "b", "--until-no-better 3"), "measures nothing on held-out examples"),
        (tiny("vae", "c", "--until-no-better 3 --set data.holdout=0"), "no held-out examples"),
    ] {
        let said = place.fails(&arguments);
        assert!(said.contains("`train.patience` cannot be 3") && said.contains(reason), "{said}");
        assert!(said.contains("--until-no-better N"), "{said}");
    }
    assert!(["a", "b", "c"].iter().all(|run| !place.path(run).exists()));
}

#[test]
fn a_fine_tuned_run_takes_weights_settings_and_data_from_another() {
    let place = Place::new();
    place.ok(&tiny("vae", "first", "--quiet"));
    let short = "--steps 12 --checkpoint-every 6 --batch-size 8 --set sample_frames=2 --set sample_count=4";
    let said = place.run(&words(&format!("train vae --init-from first --init-step 54 {short}")));
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said = text(&said.stderr);
    assert!(
        said.contains("starts from") && said.contains("step 54, averaged weights, fingerprint"),
        "{said}"
    );
    let run = place.path("runs/vae-shapes-from-first");
    let (there, here) = (held_out(&place.path("first")), held_out(&run));
    assert_eq!(here[0], (0, there.iter().find(|(step, _)| *step == 54).unwrap().1));
    let about = info(&run);
    let parent = &about["parent"];
    assert_eq!((parent["step"].as_u64(), parent["weights"].as_str()), (Some(54), Some("averaged")));
    assert_eq!(parent["fingerprint"].as_str().unwrap().len(), 64);
    assert!(parent["run"].as_str().unwrap().ends_with("/first"));
    let config =
        |run: &Path| -> toml::Table { fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap() };
    let (first, second) = (config(&place.path("first")), config(&run));
    assert_eq!((&first["vae"], &first["data"]), (&second["vae"], &second["data"]));
    assert_ne!(first["train"], second["train"]);

    let shown = parse(&place.ok(&format!(
        "train vae --init-from first --data scenes --set data.count=100 {short} --dry-run --json"
    )));
    assert_eq!(shown["starts_from"]["step"].as_u64(), Some(60));
    let setting = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
        (found["value"].clone(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(setting("vae.width"), (4.into(), "run first".to_owned()));
    assert_eq!(setting("data.size"), (16.into(), "run first".to_owned()));
    assert_eq!(setting("data.source"), ("scenes".into(), "--data".to_owned()));
}

#[test]
fn weights_that_do_not_fit_are_refused_with_what_differs() {
    let place = Place::new();
    place.ok(&tiny("vae", "first", "--quiet"));
    let fails = |arguments: &str| place.fails(&format!("train {arguments} --init-from first --out other"));
    let said = fails("vae --set vae.width=8");
    assert!(
        said.contains("`vae.width` is 4 there and 8 here") && said.contains("these arrays differ: `"),
        "{said}"
    );
    assert!(said.contains("leave out `vae.width`"), "{said}");
    let said = fails("vae --size 32");
    assert!(said.contains("its images are 16×16×3 and these 32×32×3"), "{said}");
    let said = fails("dcgan");
    assert!(said.contains("a run of the model `vae`, and `dcgan` is to be trained"), "{said}");
    let said = fails("vae --init-step 55");
    assert!(said.contains("no checkpoint of step 55") && said.contains("--init-step"), "{said}");
    assert!(!place.path("other").exists());
    let said = place.fails("train vae --init-from first --out first");
    assert!(said.contains("it is the run that is to be trained"), "{said}");
    place.ok(&tiny("vae", "drawn", "--quiet"));
    let said = place.fails(&tiny("vae", "drawn", "--init-from first"));
    assert!(said.contains("the run to start from is nothing there"), "{said}");
    let said = place.fails(&tiny("vae", "drawn", "--init-from gone"));
    assert!(said.contains("gone is not a run") && said.contains("resume drawn` continues"), "{said}");

    place.provide();
    place.ok(&tiny("char-rnn", "bytes", "--quiet"));
    fs::write(place.path("other.txt"), "abcdefgh\n".repeat(300)).unwrap();
    let said = place
        .fails("train char-rnn --init-from bytes --data other.txt --set vocabulary=characters --out other");
    assert!(said.contains("stand for different text") && said.contains("`vocabulary` bytes"), "{said}");
    place
        .ok("train char-rnn --init-from bytes --data other.txt --steps 3 --batch-size 8 --out other --quiet");
}

#[test]
fn epochs_become_steps_once_the_data_are_known() {
    let place = Place::new();
    place.provide();
    let without_steps =
        |model: &str, out: &str, more: &str| tiny(model, out, more).replace("--steps 60 ", "");
    for (model, unit) in
        [("vae", "images"), ("gan", "points"), ("transformer", "tokens"), ("wavenet", "samples")]
    {
        let shown = parse(&place.ok(&without_steps(model, "run", "--epochs 0.5 --dry-run --json")));
        let number = |key: &str| shown["epochs"][key].as_u64().unwrap();
        assert_eq!(shown["epochs"]["unit"], unit, "{model}");
        let steps = (number("examples") as f64 / 2.0 / number("each_step") as f64).ceil() as u64;
        assert_eq!(number("steps"), steps, "{model}");
        let settings = shown["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["key"] == "train.steps").unwrap();
        assert_eq!((found["value"].as_u64(), found["origin"].as_str()), (Some(steps), Some("--epochs 0.5")));
    }
    let said = place.run(&words(&without_steps("vae", "run", "--epochs 0.3")));
    let said = text(&said.stderr);
    let about = info(&place.path("run"));
    let train = about["data"]["counts"][0][1].as_u64().unwrap();
    assert!(said.contains(&format!("0.3 epochs of {train} images, 8 a step")), "{said}");
    let steps = |epochs: f64| (epochs * train as f64 / 8.0).ceil() as u64;
    assert_eq!(about["steps"].as_u64(), Some(steps(0.3)));
    // The same command again finds the run done, and more epochs train it further.
    let again = place.ok(&without_steps("vae", "run", "--epochs 0.3"));
    assert!(again.contains(&format!("done already: {} steps", steps(0.3))), "{again}");
    place.ok("resume run --epochs 0.5 --quiet");
    assert_eq!(info(&place.path("run"))["last_step"].as_u64(), Some(steps(0.5)));

    let said = text(&place.run(&words(&tiny("vae", "other", "--epochs 2"))).stderr);
    assert!(said.contains("--epochs") && said.contains("--steps"), "{said}");
    let said = place.fails(&without_steps("vae", "other", "--epochs 2 --set train.steps=5"));
    assert!(said.contains("--set train.steps"), "{said}");
    let said = place.fails(&without_steps("ppo", "other", "--epochs 2"));
    assert!(said.contains("which learns from what it does") && said.contains("--steps N"), "{said}");
    assert!(!place.path("other").exists());
}
