//! Each verb on a model that was trained for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Place, parse, tiny};
use poiesis::picture::Picture;

#[test]
fn the_path_from_data_to_samples() {
    let place = Place::new();
    let summary = place.ok("collect shapes data/small --size 16 --count 400 --licence CC0");
    assert!(
        summary.contains("400")
            && summary.contains("CC0")
            && summary.contains("train dcgan --data data/small")
    );
    place.ok("inspect data/small --preview small.png --verify");
    assert!(fs::metadata(place.path("small.png")).unwrap().len() > 1000);
    let card = parse(&place.ok("inspect small --json"));
    assert_eq!(card["shape"], serde_json::json!([16, 16, 3]));

    let said = place.ok("train vae --data small --set width=4 --set latent_dim=6 --batch-size 16 --steps 20");
    assert!(said.contains("sample runs/vae-small") && said.contains("step-000000020.png"), "{said}");
    let drawn = place.ok("sample runs/vae-small --seed 3 --count 5");
    assert_eq!(drawn.trim(), "vae-small-samples-seed3.png");
    let again = place.ok("sample runs/vae-small --seed 3 --count 5");
    assert_eq!(again.trim(), "vae-small-samples-seed3-2.png");
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(bytes(drawn.trim()), bytes(again.trim()));
    let note = String::from_utf8_lossy(&bytes(drawn.trim())).into_owned();
    assert!(note.contains(r#""seed":3"#) && note.contains("vae-small"));
    place.ok("sample runs/vae-small --seed 3 --count 5 --no-metadata --out plain.png");
    assert!(!String::from_utf8_lossy(&bytes("plain.png")).contains("seed"));

    place.ok("discover interpolate runs/vae-small --rows 2 --steps 4 --out walk.png");
    let table = place.ok("discover traverse runs/vae-small --dims 0,5 --out moved.png");
    assert!(table.contains("moved.png") && table.lines().count() == 4, "{table}");
    let table = place.ok("discover neighbors runs/vae-small --count 6 --out near.png");
    assert!(table.contains("of 6 samples"), "{table}");
    place.ok("animate runs/vae-small --out learning.gif --fps 5");
    place.ok("animate runs/vae-small --out learning.png");
    for name in ["walk.png", "moved.png", "near.png", "learning.gif", "learning.png"] {
        assert!(fs::metadata(place.path(name)).unwrap().len() > 500, "{name}");
    }

    let runs = parse(&place.ok("runs --json"));
    assert_eq!((runs[0]["state"].as_str(), runs[0]["newest_checkpoint"].as_u64()), (Some("done"), Some(20)));
    assert!(place.ok("runs").contains("runs/vae-small"));
}

#[test]
fn an_image_is_shown_while_it_is_written() {
    let place = Place::new();
    place.ok(&tiny("draw", "run", "--quiet"));
    let drawn = place.ok("sample run --steps --count 2 --scale 1");
    assert_eq!(drawn.trim(), "run-steps-seed0.png");
    let (picture, note) = Picture::read_png(&place.path(drawn.trim())).unwrap();
    // Three glimpses of 8 pixels side by side, two rows with a wider gap.
    assert_eq!((picture.width(), picture.height()), (3 * 10 + 2, 8 + 6 + 8 + 4));
    assert_eq!(note.unwrap()["shows"], "steps");
    place.ok("sample run --steps --columns 1 --count 2 --scale 1 --out last.png");
    let (last, _) = Picture::read_png(&place.path("last.png")).unwrap();
    assert_eq!(last.width(), 12);
    place.ok("sample run --count 2 --scale 1 --columns 1 --out samples.png");
    let (samples, _) = Picture::read_png(&place.path("samples.png")).unwrap();
    let row = |picture: &Picture, top: usize| -> Vec<u8> {
        (0..8).flat_map(|y| (2..10).map(move |x| (x, top + y))).map(|(x, y)| picture.pixel(x, y)[0]).collect()
    };
    assert_eq!([row(&last, 2), row(&last, 16)], [row(&samples, 2), row(&samples, 12)]);
    place.ok("sample run --steps --out writing.gif");
    assert!(fs::metadata(place.path("writing.gif")).unwrap().len() > 500);

    place.ok(&tiny("gan", "other", "--quiet"));
    assert!(place.fails("sample other --steps").contains("draw"));
}

#[test]
fn every_number_of_an_evaluation_carries_its_protocol() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));
    let evaluate = "evaluate run --importance-samples 4 --samples 50 --directions 32";
    let result = parse(&place.ok(&format!("{evaluate} --json --out result.json")));
    assert_eq!(result, parse(&fs::read_to_string(place.path("result.json")).unwrap()));
    assert_eq!(result, parse(&fs::read_to_string(place.path("run/evaluation-000000060.json")).unwrap()));
    assert_eq!(result["split"], "validation");
    assert_eq!(result["weights"], "averaged");
    let bound = &result["bound"];
    assert_eq!(bound["protocol"]["samples"], 4);
    let value = |key: &str| bound[key].as_f64().unwrap();
    let bits = value("nats") / (16.0 * 16.0 * 3.0) / std::f64::consts::LN_2;
    assert!((bits - value("bits_per_dim")).abs() < 1e-9);
    assert!(value("weighted_nats") < value("nats"), "more draws make the bound tighter");
    let distance = &result["sliced_wasserstein"];
    assert!(distance["floor"].as_f64().unwrap() < distance["ceiling"].as_f64().unwrap());
    assert!(result["neighbours"]["held_out"].as_u64().unwrap() > 0);

    // Measuring again with the same seed gives the same numbers, which need no second file; others keep the earlier ones.
    let text = place.ok(evaluate);
    assert!(text.contains("nats") && text.contains("bits/dim") && text.contains("floor"), "{text}");
    let second = place.path("run/evaluation-000000060-2.json");
    assert!(!second.exists());
    place.ok(&format!("{evaluate} --seed 1"));
    assert_ne!(parse(&fs::read_to_string(second).unwrap())["bound"]["nats"], result["bound"]["nats"]);
    assert_eq!(parse(&fs::read_to_string(place.path("run/evaluation-000000060.json")).unwrap()), result);

    place.ok(&tiny("dcgan", "gan", "--quiet"));
    let text = place.ok("evaluate gan --samples 50 --directions 32");
    assert!(text.contains("no likelihood") && text.contains("ceiling"), "{text}");
}

#[test]
fn images_are_compared_in_the_features_of_the_data_and_runs_with_each_other() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 900");
    for (seed, run) in [("0", "one"), ("1", "two")] {
        let settings = "--set width=4 --batch-size 8 --steps 4 --quiet";
        place.ok(&format!("train dcgan --data packed {settings} --seed {seed} --out {run}"));
    }
    let missing = place.fails("compare one two");
    assert!(missing.contains("one has no evaluation") && missing.contains("evaluate one"), "{missing}");
    let evaluate = |run: &str, more: &str| {
        let arguments = format!("evaluate {run} --samples 60 --directions 8 {more}");
        let output = place.run(&crate::support::words(&arguments));
        assert!(output.status.success(), "{}", crate::support::text(&output.stderr));
        (crate::support::text(&output.stdout), crate::support::text(&output.stderr))
    };
    let (text, notes) = evaluate("one", "");
    assert!(!text.contains("FD[") && text.contains("memorisation") && text.contains("authentic"), "{text}");
    assert!(notes.contains("features one\n"), "{notes}");
    // Data that are named with --data are named so again, unless they are raw: the run knows how they are prepared.
    let (_, notes) = evaluate("two", "--data packed --split train");
    assert!(notes.contains("features packed\n"), "{notes}");
    assert!(fs::metadata(place.path("one/evaluation-000000004-closest.png")).unwrap().len() > 500);

    let made = parse(&place.ok("features one --json"));
    let name = made["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("features-of-"), "{name}");
    let distances = &made["info"]["sensitivity"];
    assert!(distances["dropped"].as_f64().unwrap() > 1.5 * distances["floor"].as_f64().unwrap(), "{made}");
    assert!(place.ok("features packed").contains(&name), "it is not made again");

    let (text, notes) = evaluate("one", "");
    for part in [&format!("FD[{name}]"), &format!("KD[{name}]"), "recall", "coverage expected"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!notes.contains(" features "), "{notes}");
    let refused = place.fails("evaluate one --inception-weights packed/dataset.json");
    assert!(
        refused.contains("dataset.json cannot be used") && refused.contains("--inception-weights"),
        "{refused}"
    );

    evaluate("two", "");
    let table = place.ok("compare one two");
    assert!(table.contains(&format!("FD[{name}]")) && table.contains('*'), "{table}");
    let json = parse(&place.ok("compare one two --json"));
    assert_eq!(json["runs"][1]["run"], "two");
    assert!(
        place.ok("compare one two --csv").starts_with("metric,unit,better,one,one error,two,two error\n")
    );
    evaluate("two", "--seed 1");
    let refused = place.fails("compare one two");
    assert!(refused.contains("the seed is 0 for one and 1 for two"), "{refused}");
}

#[test]
fn a_run_finds_its_data_from_any_folder_and_says_when_it_is_done() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 300");
    let train = "train dcgan --data ./packed --set width=4 --batch-size 8 --steps 4 --out run";
    place.ok(train);
    fs::create_dir(place.path("elsewhere")).unwrap();
    let output = place.command(&["resume", "../run"]).current_dir(place.path("elsewhere")).output().unwrap();
    assert!(output.status.success(), "{}", crate::support::text(&output.stderr));
    assert!(crate::support::text(&output.stdout).contains("done already"));
}

#[test]
fn a_finished_run_is_trained_further() {
    let place = Place::new();
    let at_once = "train transformer --data text.txt --paper-defaults --set width=16 --set layers=1 --set heads=2 --set context=16 \
                   --set data.vocabulary=bytes --batch-size 8 --checkpoint-every 10 --quiet";
    place.provide();
    // A constant learning rate, which does not depend on the number of steps.
    let train = |steps: u32, out: &str| {
        place.ok(&format!("{at_once} --set optimizer.schedule=constant --steps {steps} --out {out}/run"));
    };
    train(20, "whole");
    train(10, "part");
    assert!(place.ok("resume part/run").contains("done already"));
    let refused = place.fails("resume part/run --set batch_size=4");
    assert!(refused.contains("batch_size"), "{refused}");
    place.ok("resume part/run --steps 20 --quiet");
    let last = "run/checkpoints/step-000000020";
    crate::support::expect_equal_files(&place.path("whole").join(last), &place.path("part").join(last));
    let steps = |run: &str| fs::read_to_string(place.path(run).join("config.toml")).unwrap();
    assert_eq!(steps("whole/run"), steps("part/run"));
}

#[test]
fn events_are_one_json_object_a_line() {
    let place = Place::new();
    let events: Vec<serde_json::Value> =
        place.ok(&tiny("dcgan", "run", "--json")).lines().map(parse).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("started", "finished"));
    for name in ["report", "sampled", "checkpoint"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(events.last().unwrap()["state"], "done");
}

#[test]
fn a_dry_run_is_read_by_programs_and_leaves_nothing() {
    let place = Place::new();
    let tiny = tiny("vae", "run", "--dry-run --json").replace("--steps 60", "--steps 7");
    let shown = parse(&place.ok(&tiny));
    assert_eq!(shown["shape"], serde_json::json!([16, 16, 3]));
    assert_eq!(shown["faults"], serde_json::json!([]));
    let estimate = &shown["estimate"];
    assert_eq!(estimate["left"]["steps"], 7);
    let [timed, in_all, step] =
        ["timed_steps", "timed_seconds", "seconds_per_step"].map(|name| estimate[name].as_f64().unwrap());
    assert!(timed >= 1.0 && (in_all / timed - step).abs() < 1e-9, "{estimate}");
    // Before the first step and after steps 1, 2, 3, 5 and 7; a checkpoint after 6 and 7.
    assert_eq!((&estimate["left"]["samplings"], &estimate["left"]["saves"]), (&6.into(), &2.into()));
    let seconds = |name: &str| estimate["seconds"][name].as_f64().unwrap();
    assert!(seconds("steps") > 0.0 && seconds("sampling") > 0.0 && seconds("evaluating") > 0.0);
    let parts = seconds("steps") + seconds("sampling") + seconds("evaluating") + seconds("saving");
    assert!((estimate["total_seconds"].as_f64().unwrap() - parts).abs() < 1e-9);
    assert!((seconds("steps") - 7.0 * step).abs() < 1e-9);
    assert!(shown["parameters"]["encoder"].as_u64().unwrap() > 0);
    let settings = shown["settings"].as_array().unwrap();
    let steps = settings.iter().find(|setting| setting["key"] == "train.steps").unwrap();
    assert_eq!((&steps["value"], &steps["origin"]), (&serde_json::json!(7), &serde_json::json!("--steps")));
    assert_eq!(shown["sample_steps"].as_array().unwrap().last().unwrap(), 7);
    // Raw data are packed into the cache, as for training; there is no run.
    assert_eq!(fs::read_dir(place.path(".")).unwrap().count(), 1);
    assert!(!place.path("run").exists());
}

#[test]
fn lists_are_read_by_programs() {
    let place = Place::new();
    let models = parse(&place.ok("models --json"));
    let vae = models.as_array().unwrap().iter().find(|model| model["name"] == "vae").unwrap();
    assert!(vae["abilities"].as_array().unwrap().contains(&"likelihood".into()));
    let recipes = parse(&place.ok("recipes vae --json"));
    let first = recipes[0]["name"].as_str().unwrap();
    assert_eq!(vae["recipes"][0], first);
    // A printed recipe can be given back.
    fs::write(place.path("mine.toml"), place.ok(&format!("recipes vae {first}"))).unwrap();
    assert!(place.ok("train vae --config mine.toml --dry-run").contains("mine.toml"));
}

#[test]
fn looking_takes_no_time() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 100");
    for arguments in ["--help", "train --help", "models", "runs", "inspect packed"] {
        let times = (0..10).map(|_| {
            let began = Instant::now();
            place.ok(arguments);
            began.elapsed()
        });
        // The quickest of ten: this measures the program, not how busy the machine is.
        let quickest = times.min().unwrap();
        assert!(quickest < Duration::from_millis(50), "{arguments} took {quickest:?}");
    }
}

#[test]
fn quiet_training_says_nothing() {
    let place = Place::new();
    let output = place.run(&crate::support::words(&tiny("vae", "run", "--quiet")));
    assert!(output.status.success() && output.stdout.is_empty(), "{}", crate::support::text(&output.stdout));
}

#[test]
fn a_run_made_before_a_setting_existed_is_resumed() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 300");
    let train = |steps: &str| {
        format!("train dcgan --data packed --set width=4 --batch-size 8 --steps {steps} --out run --quiet")
    };
    place.ok(&train("4"));
    let config = place.path("run/config.toml");
    let all = fs::read_to_string(&config).unwrap();
    let older: String =
        all.lines().filter(|line| !line.starts_with("sample_length")).map(|l| format!("{l}\n")).collect();
    assert_ne!(older, all);
    fs::write(&config, older).unwrap();
    place.ok(&train("4"));
    place.ok("resume run");
}

#[test]
fn texts_and_sounds_are_drawn_and_images_completed() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("transformer", "text", "--quiet"));
    let draw = |more: &str| {
        place.run(&crate::support::words(&format!("sample text --prime line --length 30 {more}"))).stdout
    };
    let drawn = draw("--seed 4");
    assert!(drawn.starts_with(b"line") && drawn.len() == 35, "{drawn:?}");
    assert_eq!(draw("--seed 4 --threads 1"), drawn);
    assert_ne!(draw("--seed 5"), drawn);
    assert_eq!(draw("--temperature 0 --seed 1"), draw("--temperature 0 --seed 2"));
    assert!(place.fails("sample text --top-p 0").contains("--top-p"));

    place.ok(&tiny("wavenet", "sound", "--quiet"));
    place.ok("sample sound --count 2 --length 0.02 --out new.wav");
    let said = place.fails("sample sound --count 2 --length 0.02 --out new.png --force");
    assert!(said.contains("ends in .wav"), "{said}");
    assert!(place.path("new.wav").exists() && place.path("new.png").exists());
    place.ok("evaluate sound --split validation");
    let said = place.fails(&tiny("wavenet", "no", "--quiet --set levels=1024"));
    assert!(said.contains("levels") && said.contains("65536"), "{said}");
    place.ok(&tiny("wavenet", "exact", "--quiet --set levels=65536"));
    place.ok("sample exact --count 2 --length 0.02 --top-p 0.9 --out exact.wav");
    place.ok("evaluate exact --split validation");

    place.ok(&tiny("gated-pixelcnn", "images", "--quiet"));
    place.ok("complete images --images 2 --count 3 --missing 4,4,8,8 --out completed.png");
    assert!(fs::metadata(place.path("completed.png")).unwrap().len() > 500);
    assert!(place.fails("complete images --missing 4,4,80,8 --out no.png").contains("does not lie"));

    let completed =
        place.run(&crate::support::words("complete text --text line --length 30 --seed 4")).stdout;
    assert_eq!(completed, drawn);
    assert!(place.fails("complete text --out no.txt").contains("--text"));
    assert!(place.fails("complete images --text line").contains("model of images"));
    place.ok("complete sound --sound new.wav --count 1 --length 0.01 --out longer.wav");
    let frames = |name: &str| fs::read(place.path(name)).unwrap()[44..].to_vec();
    assert!(
        frames("longer.wav").starts_with(&frames("new.wav")) && frames("longer.wav") != frames("new.wav")
    );
    place.ok("complete exact --sound exact.wav --count 1 --length 0.01 --out further.wav");
    assert!(frames("further.wav").starts_with(&frames("exact.wav")));
    assert!(place.fails("complete sound --out no.wav").contains("--sound"));
    assert!(place.fails("train wavenet --data text.txt --out no").contains("learns sound"));
}

#[test]
fn a_table_of_numbers_becomes_points() {
    let place = Place::new();
    let rows: String = (0..30).map(|i| format!("{i},{},{}\n", i * i, 5 - i)).collect();
    fs::write(place.path("table.csv"), format!("time,height,left\n{rows}30,much,1\n")).unwrap();
    let expected = [
        "30: 30 train",
        "points of 3 dimensions",
        "time    0.000 to 29.00, mean 14.50, deviation 8.655",
        "height  0.000 to 841.0, mean 285.2, deviation ",
        "1 row\n",
        "skipped table.csv:32: `much` in column 2 (height) is not a number",
        "columns are separated by commas; the first line names them",
    ];
    let summary = place.ok("collect table.csv packed --holdout 0");
    let shown = place.ok("inspect packed --verify --preview packed.png");
    for part in expected {
        assert!(summary.contains(part), "`{part}` is not in\n{summary}");
        assert!(shown.contains(part), "`{part}` is not in\n{shown}");
    }
    assert!(!summary.contains("train dcgan"), "no model of images learns points\n{summary}");
    let picture = Picture::read_png(&place.path("packed.png")).unwrap().0;
    assert_eq!((picture.width(), picture.height()), (518, 518), "a plot for each of three pairs");
}

#[test]
fn images_of_a_split_are_completed_as_what_they_are() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 200");
    place.ok(
        "train gated-pixelcnn --data packed --set width=6 --set layers=2 --set head=6 --set levels=8 --set conditional=true \
         --batch-size 8 --steps 20 --set sample_frames=0 --set sample_count=1 --quiet --out run",
    );
    let dataset = poiesis_collect::Dataset::open(&place.path("packed")).unwrap();
    let view = dataset.split(poiesis_collect::Split::Validation).unwrap();
    let first = (0..view.len()).find(|&index| view.label(index) > Some(0)).unwrap();
    let class = view.label(first).unwrap();
    let complete = |class: &str, out: &str| {
        place.ok(&format!("complete run --first {first} --images 1 --count 4 {class} --out {out}"));
        fs::read(place.path(out)).unwrap()
    };
    let own = complete("", "own.png");
    assert!(
        own == complete(&format!("--class {class}"), "named.png"),
        "class {class} was not taken from the split"
    );
    assert!(own != complete("--class 0", "other.png"), "classes make no difference");
}

#[test]
fn a_model_takes_from_a_mixed_folder_what_it_learns_also_in_a_dry_run() {
    let place = Place::new();
    fs::create_dir(place.path("mixed")).unwrap();
    for i in 0..8_u8 {
        let noise = (0..16 * 16).map(|at: u32| (at.wrapping_mul(2_654_435_761 + u32::from(i)) >> 24) as u8);
        let picture = Picture::new(16, 16, 1, noise.collect());
        picture.write_png(&place.path(&format!("mixed/{i}.png")), None).unwrap();
        fs::write(place.path(&format!("mixed/{i}.txt")), "some text that goes with it\n".repeat(20)).unwrap();
    }
    let shown = place.ok("train vae --data mixed --set width=4 --set body=conv --steps 4 --dry-run");
    assert!(shown.contains(" for 4 steps of "), "{shown}");
    place.ok("train vae --data mixed --set width=4 --set body=conv --steps 4 --quiet --out run");
    let (samples, _) = Picture::read_png(&place.path("run/samples/step-000000004.png")).unwrap();
    assert_eq!(samples.channels(), 1, "images were learned, which are grey");
}
