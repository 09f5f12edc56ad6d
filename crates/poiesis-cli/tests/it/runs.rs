//! `poiesis runs`: listing runs with their measures, showing, comparing and removing them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, expect_failure, parse, text, tiny, words};
use poiesis::picture::Picture;

/// A VAE and a GAN of milliseconds a step in `runs`.
fn place() -> Place {
    let place = Place::new();
    place.ok(&tiny("vae", "runs/vae-a", "--quiet"));
    place.ok(&tiny("gan", "runs/gan-a", "--quiet"));
    place
}

#[test]
fn runs_are_listed_with_their_most_telling_measure() {
    let place = place();
    let listed = place.ok("runs");
    let line = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{name}: {text}"))
    };
    assert!(line(&listed, "RUN").contains("MEASURE"), "{listed}");
    assert!(line(&listed, "runs/vae-a").contains("bits/dim "), "{listed}");
    assert!(line(&listed, "runs/gan-a").contains("d_loss ") && listed.contains("(training)"), "{listed}");

    let json = parse(&place.ok("runs --sort name --json"));
    assert_eq!(json[0]["path"], "runs/gan-a");
    assert_eq!(
        (&json[0]["measure"]["name"], &json[0]["measure"]["by"]),
        (&"d_loss".into(), &"training".into())
    );
    assert_eq!(
        (&json[1]["measure"]["name"], &json[1]["measure"]["by"]),
        (&"bits/dim".into(), &"validation".into())
    );
    assert_eq!(json[1]["measure"]["step"], 60);
    assert!(json[1]["newest_checkpoint"] == 60 && json[1]["info"]["model"] == "vae");

    // An evaluation of the last step says more.
    place.ok("evaluate runs/vae-a --importance-samples 1 --samples 20 --directions 8");
    let json = parse(&place.ok("runs --model vae --json"));
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["measure"]["by"], "evaluation");
    place.ok("evaluate runs/gan-a");
    assert!(line(&place.ok("runs --sort measure"), "runs/gan-a").contains("modes "));

    assert!(place.fails("runs --model vea").contains("did you mean `vae`"));
    let said = text(&place.run(&words("runs --model dcgan")).stderr);
    assert!(said.contains("no run in runs is of dcgan"), "{said}");
    let said = text(&place.run(&words("runs runs/vae-a")).stderr);
    assert!(said.contains("runs/vae-a is a run itself") && said.contains("runs show runs/vae-a"), "{said}");
    let said = place.fails("runs elsewhere");
    assert!(said.contains("there is no folder elsewhere\nhint: give the folder that holds runs"), "{said}");
    let said = place.fails("runs shwo");
    assert!(said.contains("did you mean `") && said.contains(" runs show`?"), "{said}");
    assert!(place.fails("runs elsewhere --json").contains("there is no folder"));
}

#[test]
fn a_run_is_shown_with_all_that_is_known_of_it() {
    let place = place();
    let page = place.ok("runs show vae-a");
    for part in [
        "run         runs/vae-a",
        "16×16 RGB",
        "fingerprint ",
        "done: 60 steps, ",
        "steps/s",
        "encoder ",
        "bits/dim ",
        "vae.width",
        "settings have their defaults; --all lists them",
        "validation_bound  ",
        "CHECKPOINT AT STEP",
        "newest",
        "samples/step-000000060.png",
        "what to try next",
        "sample runs/vae-a --seed 1",
    ] {
        assert!(page.contains(part), "`{part}` is not in\n{page}");
    }
    assert!(page.contains(['▁', '█']), "{page}");
    assert!(!page.contains("vae.likelihood") && !page.contains("resume runs/vae-a"), "{page}");
    let all = place.ok("runs show runs/vae-a --all");
    assert!(all.contains("vae.likelihood") && !all.contains("have their defaults"), "{all}");
    place.ok("evaluate runs/vae-a --importance-samples 1 --samples 20 --directions 8");
    fs::write(place.path("runs/vae-a/CARD.md"), "mine").unwrap();
    let page = place.ok("runs show runs/vae-a");
    assert!(
        page.contains("negative log-likelihood, bound") && page.contains("evaluated at step 60"),
        "{page}"
    );
    assert!(page.contains("not of the run: CARD.md"), "{page}");

    let json = parse(&place.ok("runs show vae-a --json"));
    assert_eq!((&json["state"], &json["step"]), (&"done".into(), &60.into()));
    assert_eq!(json["measure"]["name"], "bits/dim");
    let setting = |key: &str| {
        let settings = json["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(setting("vae.width")["value"], "4");
    assert_ne!(setting("vae.width")["default"], "4");
    assert!(json["metrics"][0]["held_out"] == true && json["metrics"][0]["last"]["step"] == 60);
    let newest = json["checkpoints"].as_array().unwrap().last().unwrap();
    assert!(newest["newest"] == true && newest["bytes"].as_u64().unwrap() > 1000, "{newest}");
    assert_eq!(json["evaluations"][0]["values"][0]["metric"], "bound");
    assert_eq!(json["others"], serde_json::json!(["CARD.md"]));

    let wrong = place.fails("runs show nothing");
    assert!(wrong.contains("nothing is not a run") && wrong.contains("hint: "), "{wrong}");
    // A run whose model this version does not know is shown too.
    let path = place.path("runs/vae-a/config.toml");
    let config = fs::read_to_string(&path).unwrap().replace("\"vae\"", "\"of-tomorrow\"");
    fs::write(&path, config).unwrap();
    assert!(place.ok("runs show vae-a").contains("vae.likelihood"), "no default is known");
}

#[test]
fn a_stopped_run_says_how_to_continue() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));
    let path = place.path("run/run.json");
    let info = fs::read_to_string(&path).unwrap().replace("\"done\"", "\"stopped\"");
    fs::write(&path, info.replace("\"steps\": 60", "\"steps\": 120")).unwrap();
    let page = place.ok("runs show run");
    assert!(page.contains("stopped: 60 of 120 steps, 50 %") && page.contains("resume run"), "{page}");
}

#[test]
fn runs_are_compared_by_settings_measures_and_curves() {
    let place = place();
    let other = tiny("vae", "runs/vae-b", "--quiet --seed 3").replace("latent_dim=8", "latent_dim=5");
    place.ok(&other);
    let table = place.ok("runs compare vae-a vae-b --out curves.png");
    let line = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {table}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(line("vae.latent_dim"), ["vae.latent_dim", "8", "5"]);
    assert_eq!(line("seed"), ["seed", "0", "3"]);
    assert!(table.contains("SETTINGS that differ (") && !table.contains("vae.width"), "{table}");
    assert!(line("held-out bits/dim, last").contains(&"*"), "{table}");
    assert!(!line("bound").contains(&"*"), "losses of training are not marked: {table}");
    assert!(table.contains("validation_bound over the steps, on one scale"), "{table}");
    let (picture, note) = Picture::read_png(&place.path("curves.png")).unwrap();
    assert!(picture.width() > 1000 && picture.height() > 500);
    let note = note.unwrap();
    assert_eq!((&note["metric"], &note["runs"][1]), (&"validation_bound".into(), &"runs/vae-b".into()));

    let refused = place.fails("runs compare vae-a vae-b --out curves.png");
    assert!(refused.contains("curves.png exists") && refused.contains("--force"), "{refused}");
    place.ok("runs compare vae-a vae-b --metric kl --out curves.png --force");
    assert_eq!(Picture::read_png(&place.path("curves.png")).unwrap().1.unwrap()["metric"], "kl");
    assert!(place.fails("runs compare vae-a vae-b --metric kll").contains("did you mean `kl`"));
    assert!(place.fails("runs compare vae-a").contains("one run cannot be compared"));
    assert!(place.fails("runs compare vae-a vae-c").contains("vae-c is not a run"));

    // Models that share neither settings nor data are shown side by side, and nothing is marked.
    let output = place.run(&words("runs compare vae-a gan-a"));
    let table = text(&output.stdout);
    assert!(output.status.success() && !table.contains('*'), "{table}");
    assert!(text(&output.stderr).contains("they learned from different data"), "{}", text(&output.stderr));
    let json = parse(&place.ok("runs compare vae-a vae-b --json"));
    assert!(json["equal"].as_u64().unwrap() > 40);
    assert_eq!(json["settings"].as_array().unwrap().len(), 2);
    assert_eq!(json["logged"][0]["best"].as_array().unwrap().len(), 1);
}

#[test]
fn runs_are_removed_only_when_that_was_said() {
    let place = place();
    let refused = place.fails("runs rm vae-a");
    assert!(
        refused.contains("this is not a terminal") && refused.ends_with("runs rm vae-a --yes"),
        "{refused}"
    );
    assert!(place.path("runs/vae-a/run.json").exists());

    // Files of others are named, and stay.
    fs::write(place.path("runs/vae-a/thesis.txt"), "years").unwrap();
    let refused = place.fails("runs rm runs/gan-a vae-a --yes");
    assert!(refused.contains("runs/vae-a has what no run has: thesis.txt"), "{refused}");
    assert!(refused.ends_with("runs rm runs/gan-a vae-a --yes --everything"), "{refused}");
    assert!(place.path("runs/gan-a/run.json").exists(), "none is removed where one is refused");
    for (named, why) in [("nothing", "is not a run"), ("cache", "is not a run")] {
        let refused = place.fails(&format!("runs rm {named} --yes"));
        assert!(refused.contains(why), "{refused}");
    }
    let removed = place.ok("runs rm gan-a runs/gan-a/ --yes");
    assert!(removed.starts_with("removed runs/gan-a: ") && removed.lines().count() == 1, "{removed}");
    let removed = parse(&place.ok("runs rm vae-a --yes --everything --json"));
    assert_eq!(removed[0]["path"], "runs/vae-a");
    assert!(removed[0]["files"].as_u64().unwrap() > 5);
    assert_eq!(fs::read_dir(place.path("runs")).unwrap().count(), 0);
}

#[test]
fn what_was_removed_is_listed_where_a_later_one_fails() {
    let place = Place::new();
    for run in ["outer", "outer/inner", "other"] {
        place.ok(&tiny("gan", run, "--quiet"));
    }
    // The second goes with the first.
    let output = place.run(&words("runs rm outer outer/inner other --yes --everything --json"));
    let error = expect_failure("runs rm", &output);
    assert!(error.contains("outer/inner") && error.contains("it is not a run any more"), "{error}");
    let hint = "hint: this run was not removed; check it, then give the command again";
    assert!(error.ends_with(hint), "{error}");
    let removed = parse(&text(&output.stdout));
    assert_eq!((removed.as_array().unwrap().len(), &removed[0]["path"]), (1, &"outer".into()));
    assert!(!place.path("outer").exists() && place.path("other/run.json").exists());
}

#[test]
fn a_run_that_is_trained_stays() {
    let place = Place::new();
    let endless = tiny("vae", "run", "--quiet").replace("--steps 60", "--steps 1000000");
    let mut child = place.command(&words(&endless)).spawn().unwrap();
    while !place.path("run/checkpoints/step-000000006/COMPLETE").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before its first checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let refused = place.fails("runs rm run --yes --everything");
    let shown = place.ok("runs show run");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        refused.contains("is being trained") && refused.ends_with("hint: wait for it, or stop it"),
        "{refused}"
    );
    assert!(shown.contains("running: ") && shown.contains(" left"), "{shown}");
    assert!(place.ok("runs show run").contains("killed: "));
    place.ok("runs rm run --yes");
    assert!(!place.path("run").exists());
}

#[cfg(unix)]
#[test]
fn links_are_neither_removed_for_what_they_lead_to_nor_followed() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.ok(&tiny("gan", "run", "--quiet"));
    symlink(place.path("run"), place.path("link")).unwrap();
    let refused = place.fails("runs rm link/ --yes");
    assert!(refused.contains("it is a link") && refused.contains("the folder that it leads to"), "{refused}");
    fs::create_dir(place.path("valuable")).unwrap();
    fs::write(place.path("valuable/thesis.txt"), "years").unwrap();
    symlink(place.path("valuable"), place.path("run/more")).unwrap();
    assert!(place.fails("runs rm run --yes").contains("has what no run has: more"));
    place.ok("runs rm run --yes --everything");
    assert!(!place.path("run").exists());
    assert_eq!(fs::read_to_string(place.path("valuable/thesis.txt")).unwrap(), "years");
}

#[test]
fn what_an_interrupted_removal_left_is_named() {
    let place = Place::new();
    place.ok(&tiny("gan", "runs/a", "--quiet"));
    fs::rename(place.path("runs/a"), place.path("runs/.a.removed-1")).unwrap();
    fs::remove_file(place.path("runs/.a.removed-1/run.json")).unwrap();
    let output = place.run(&["runs"]);
    let said = text(&output.stderr);
    assert!(said.contains("removal was interrupted") && said.contains("runs rm runs/.a.removed-1"), "{said}");
    place.ok("runs rm runs/.a.removed-1 --yes");
    assert_eq!(fs::read_dir(place.path("runs")).unwrap().count(), 0);
}
