//! Making, opening, locking, listing and comparing runs.

use std::fs;

use super::*;

fn info() -> RunInfo {
    RunInfo {
        model: "vae".into(),
        data: DataInfo { fingerprint: "abc".into(), ..DataInfo::default() },
        ..RunInfo::default()
    }
}

#[test]
fn a_run_is_made_opened_and_moves_through_its_states() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("first");
    let mut run = Run::create(&path, "steps = 3\n", info()).unwrap();
    assert_eq!(run.info().id, "first");
    assert!(run.info().created > 1_400_000_000 && run.info().updated >= run.info().created);
    assert!(path.join("checkpoints").is_dir() && path.join("samples").is_dir());
    run.set_state(State::Stopped).unwrap();
    run.update(|info| info.last_step = 2).unwrap();

    let again = Run::open(&path).unwrap();
    assert_eq!(again.info(), run.info());
    assert_eq!((again.info().state, again.info().last_step), (State::Stopped, 2));
    assert_eq!(again.config().unwrap(), "steps = 3\n");
    let data = |fingerprint: &str| DataInfo { fingerprint: fingerprint.into(), ..DataInfo::default() };
    assert!(again.expect_data(&data("abc")).is_ok());
    assert!(matches!(again.expect_data(&data("abd")), Err(Error::DataChanged { .. })));
}

#[test]
fn data_that_have_changed_say_how_many_examples_there_were() {
    let sizes = |all: &[(&str, u64)]| -> Vec<(String, u64)> {
        all.iter().map(|(split, size)| ((*split).to_owned(), *size)).collect()
    };
    let then = sizes(&[("train", 600), ("validation", 60)]);
    assert_eq!(
        other_sizes(&then, &sizes(&[("train", 599), ("validation", 60)])),
        "train 600 then, 599 now; "
    );
    let now = sizes(&[("train", 600), ("test", 5)]);
    assert_eq!(other_sizes(&then, &now), "validation 60 then, 0 now; test 0 then, 5 now; ");
    assert_eq!(other_sizes(&[], &now), "");
    let root = tempfile::tempdir().unwrap();
    let data = DataInfo { counts: then, ..info().data };
    let run = Run::create(&root.path().join("run"), "", RunInfo { data: data.clone(), ..info() }).unwrap();
    let fewer =
        DataInfo { fingerprint: "abd".into(), counts: sizes(&[("train", 599), ("validation", 60)]), ..data };
    let said = run.expect_data(&fewer).unwrap_err().to_string();
    assert!(said.contains("(train 600 then, 599 now; fingerprint abc then, abd now)"), "{said}");
}

#[test]
fn nothing_is_ever_written_over() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    Run::create(&path, "", info()).unwrap();
    assert!(matches!(Run::create(&path, "", info()), Err(Error::RunExists { .. })));
    let photos = root.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("cat.png"), "").unwrap();
    let error = Run::create(&photos, "", info()).unwrap_err();
    assert!(error.to_string().contains("`cat.png`"), "{error}");

    fs::write(path.join("CARD.md"), "mine").unwrap();
    assert_eq!(Run::set_aside(&path).unwrap(), Some(root.path().join("a.old-1")));
    Run::create(&path, "", info()).unwrap();
    assert_eq!(Run::set_aside(&path).unwrap(), Some(root.path().join("a.old-2")));
    assert_eq!(Run::set_aside(&path).unwrap(), None);
    assert_eq!(fs::read_to_string(root.path().join("a.old-1/CARD.md")).unwrap(), "mine");
}

#[test]
fn only_a_run_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let refused = |path: &Path, why: &str| {
        let error = Run::set_aside(path).unwrap_err();
        assert!(matches!(error, Error::NotSetAside { .. }) && error.to_string().contains(why), "{error}");
        assert!(fs::symlink_metadata(path).is_ok(), "it is where it was");
    };
    let thesis = root.path().join("thesis");
    fs::create_dir(&thesis).unwrap();
    fs::write(thesis.join("a.txt"), "years").unwrap();
    refused(&thesis, "`a.txt`");
    refused(&thesis.join("a.txt"), "not a folder");
    let half = root.path().join("half");
    fs::create_dir_all(half.join("checkpoints")).unwrap();
    assert_eq!(Run::set_aside(&half).unwrap(), None, "a killed attempt is taken over");
    #[cfg(unix)]
    {
        let (run, link) = (root.path().join("run"), root.path().join("link"));
        Run::create(&run, "", info()).unwrap();
        std::os::unix::fs::symlink(&run, &link).unwrap();
        refused(&link, "a link");
        assert!(Run::exists(&run));
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_in_a_run_is_named_and_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let run = Run::create(&path, "", info()).unwrap();
    let fifo = |name: &str| {
        let place = path.join(name);
        let _ = fs::remove_file(&place);
        assert!(std::process::Command::new("mkfifo").arg(&place).status().unwrap().success());
    };
    let said = |error: Error, name: &str| {
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("not a file"), "{text}");
    };
    fifo("config.toml");
    said(run.config().unwrap_err(), "config.toml");
    fifo("metrics.jsonl");
    said(metrics::read(&run.metrics_path()).unwrap_err(), "metrics.jsonl");
    fifo("lock");
    said(run.lock().unwrap_err(), "lock");
    fifo("run.json");
    let error = Run::open(&path).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("write its output to a file and give that"));
    said(error, "run.json");
}

#[test]
fn an_attempt_killed_before_run_json_is_taken_over() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::create_dir_all(path.join("checkpoints")).unwrap();
    fs::write(path.join("config.toml"), "half").unwrap();
    fs::write(path.join(".run.json.77-0.tmp"), "{").unwrap();
    assert!(matches!(Run::open(&path), Err(Error::NotARun { .. })));
    assert_eq!(Run::create(&path, "whole = 1", info()).unwrap().config().unwrap(), "whole = 1");
}

#[test]
fn a_run_begins_with_its_first_checkpoint_and_with_no_other() {
    let root = tempfile::tempdir().unwrap();
    let of = |step| {
        let mut first = Checkpoint::default();
        (first.state.model, first.state.step) = ("vae".into(), step);
        first
    };
    let path = root.path().join("a");
    // As after a kill between the checkpoint and run.json.
    fs::create_dir(&path).unwrap();
    for step in [0, 500] {
        checkpoint::save(&path.join("checkpoints"), &of(step)).unwrap();
    }
    let run = Run::create_from(&path, "", info(), &of(0)).unwrap();
    assert_eq!(checkpoint::newest(&run.checkpoints_path()).unwrap().content, of(0));
    assert!(run.checkpoints_path().join("step-000000500.old-1").exists(), "nothing is lost");

    let path = root.path().join("b");
    fs::create_dir_all(path.join("checkpoints")).unwrap();
    checkpoint::save(&path.join("checkpoints"), &of(0)).unwrap();
    let run = Run::create(&path, "", info()).unwrap();
    assert!(matches!(checkpoint::newest(&run.checkpoints_path()), Err(Error::NoCheckpoint { .. })));
}

#[test]
fn the_best_checkpoint_is_read_while_another_takes_its_place() {
    const STEPS: u64 = 60;
    let root = tempfile::tempdir().unwrap();
    let run = Run::create(&root.path().join("a"), "", info()).unwrap();
    let folder = run.checkpoints_path();
    // Each is better than those before it, which are removed.
    let save = |step: u64| {
        let mut next = Checkpoint::default();
        (next.state.model, next.state.step) = ("vae".into(), step);
        let array = checkpoint::Array { shape: vec![1], data: vec![step as f32] };
        next.model.insert("w".into(), array);
        let mut best = checkpoint::BestSoFar::default();
        best.count(step, 1.0 / step as f64, checkpoint::Counts::Always);
        next.state.set_best(best);
        checkpoint::save(&folder, &next).unwrap();
        checkpoint::prune(&folder, checkpoint::Retention { last: 1, every: 0, best: &best.steps() }).unwrap();
    };
    save(1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (2..=STEPS).for_each(save));
        while !writer.is_finished() {
            let (state, arrays) = run.best_part(checkpoint::Part::Model).unwrap().content;
            assert_eq!(arrays["w"].data, [state.step as f32]);
        }
    });
    assert_eq!(run.best_part(checkpoint::Part::Model).unwrap().content.0.step, STEPS);
    let steps = vec![STEPS];
    fs::rename(folder.join(checkpoint::folder_name(STEPS)), root.path().join("moved")).unwrap();
    assert!(matches!(run.best_part(checkpoint::Part::Model), Err(Error::NoCheckpoint { .. })));
    fs::rename(root.path().join("moved"), folder.join(checkpoint::folder_name(STEPS))).unwrap();
    let error = run.part_of(7, checkpoint::Part::Model).unwrap_err();
    assert!(
        matches!(&error, Error::NoSuchCheckpoint { step: 7, steps: found, .. } if *found == steps),
        "{error}"
    );
}

#[test]
fn two_cannot_train_in_one_run() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let run = Run::create(&path, "", info()).unwrap();
    assert!(!run.in_use());
    let lock = run.lock().unwrap();
    assert!(run.in_use());
    assert!(matches!(Run::open(&path).unwrap().lock(), Err(Error::RunInUse { .. })));
    assert!(matches!(Run::set_aside(&path), Err(Error::RunInUse { .. })));
    assert!(list(root.path()).unwrap().runs[0].in_use);
    drop(lock);
    assert!(run.lock().is_ok());
}

#[test]
fn listing_shows_runs_newest_first_and_says_what_it_cannot_read() {
    let root = tempfile::tempdir().unwrap();
    for (name, created) in [("old", 10), ("new", 30), ("mid", 20)] {
        let mut run = Run::create(&root.path().join(name), "", info()).unwrap();
        run.update(|info| info.created = created).unwrap();
    }
    fs::create_dir(root.path().join("other")).unwrap();
    fs::create_dir(root.path().join("broken")).unwrap();
    fs::write(root.path().join("broken/run.json"), "{\n  nonsense").unwrap();
    let listing = list(root.path()).unwrap();
    let names: Vec<_> = listing.runs.iter().map(|run| run.info.id.as_str()).collect();
    assert_eq!(names, ["new", "mid", "old"]);
    assert_eq!(listing.unreadable.len(), 1);
    let message = listing.unreadable[0].to_string();
    assert!(message.contains("broken/run.json") && message.contains("line 2"), "{message}");
    assert!(list(&root.path().join("absent")).unwrap().runs.is_empty());
}

#[test]
fn a_configuration_that_differs_is_named_key_by_key() {
    let root = tempfile::tempdir().unwrap();
    let saved = "seed = 1\nsteps = 10\n[optimizer]\nrate = 0.1\nname = \"adam\"\n";
    let run = Run::create(&root.path().join("a"), saved, info()).unwrap();
    run.expect_config(saved, saved, &[]).unwrap();
    run.expect_config(saved, &saved.replace("10", "20"), &["steps"]).unwrap();
    run.expect_config(saved, &saved.replace("0.1", "0.2"), &["optimizer"]).unwrap();
    let given = "seed = 1\nsteps = 10\nextra = true\n[optimizer]\nrate = 0.2\n";
    let Err(Error::ConfigDiffers { differences, .. }) = run.expect_config(saved, given, &["steps", "opt"])
    else {
        panic!("the configurations differ");
    };
    let expected = [
        ("optimizer.rate", "0.1", "0.2"),
        ("optimizer.name", "\"adam\"", "nothing"),
        ("extra", "nothing", "true"),
    ]
    .map(|(key, saved, given)| (key.to_owned(), saved.to_owned(), given.to_owned()));
    assert_eq!(differences, expected);
    assert!(matches!(run.expect_config(saved, "= 1", &[]), Err(Error::Config { .. })));
}
