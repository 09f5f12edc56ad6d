//! What a user, a file or the machine can do wrong: each is met by one clear sentence and exit 1, and nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::Command;

use crate::support::{Place, expect_equal_files, expect_failure, text, tiny, words};
use poiesis::data::SoundShape;
use poiesis::media::{Clip, files};
use poiesis::picture::Picture;

#[track_caller]
fn contains(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not said in: {error}");
    }
}

#[test]
fn unknown_names_are_told_the_nearest_one() {
    let place = Place::new();
    contains(&place.fails("train dcgn"), &["model", "`dcgn`", "`dcgan`"]);
    contains(&place.fails("train nothing"), &["model", "dcgan", "vae"]);
    contains(&place.fails("train dcgan --recipe mnits"), &["recipe", "`mnist`"]);
    fs::write(place.path("own.toml"), "").unwrap();
    contains(&place.fails("train dcgan --recipe own.toml"), &["own.toml", "--config"]);
    contains(&place.fails("train dcgan --set train.stesp=3"), &["key", "`train.steps`"]);
    contains(&place.fails("train dcgan --set optimizer.width=4"), &["`dcgan.width`"]);
    contains(&place.fails("train dcgan --set epochs=3"), &["no key called `epochs`", "--epochs N"]);
    contains(&place.fails("train dcgan --set width"), &["--set", "="]);
    contains(&place.fails("train dcgan --set train.steps=many"), &["train.steps", "whole number"]);
    contains(&place.fails("train dcgan --steps 0"), &["train.steps", "at least 1"]);
    contains(&place.fails("train dcgan --data shapes --set data.count=20 --device tpu"), &["device", "cpu"]);
    contains(&place.fails("train dcgan --dry-run --device tpu"), &["device", "cpu"]);
    contains(&place.fails("train dcgan --data mnits"), &["`mnist`"]);
    contains(&place.fails("train dcgan --recipe mnist"), &["mnist", "--data-dir"]);
    contains(&place.fails("recipes dcgan nothing"), &["recipe", "shapes"]);
    contains(&place.fails("train dcgan --config absent.toml"), &["absent.toml"]);
    fs::write(place.path("broken.toml"), "model = \"dcgan\"\nseed = = 3\n").unwrap();
    contains(&place.fails("train dcgan --config broken.toml"), &["broken.toml", "line 2"]);
    contains(&place.fails("train dcgan --set data.background=red --dry-run"), &["background", "#rrggbb"]);
}

#[test]
fn all_faults_are_reported_at_once_with_and_without_a_dry_run() {
    let place = Place::new();
    for more in ["", "--dry-run"] {
        let command = format!("train dcgan --steps 0 --batch-size 0 --device cuda --data absent {more}");
        let output = place.run(&words(&command));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        contains(&said, &["train.steps cannot be 0", "train.batch_size cannot be 0", "`cuda`", "`absent`"]);
        assert_eq!((said.matches("error: ").count(), said.matches("hint: ").count()), (3, 3), "{said}");
    }
    // What is wrong with the data, or the run, is found by a dry run too, and nothing is made.
    let on_shapes = "train dcgan --data shapes --set data.count=20 --dry-run";
    contains(&place.fails(&format!("{on_shapes} --size 18")), &["--size"]);
    contains(&place.fails("train vae --data rings --set data.count=50 --dry-run"), &["images"]);
    contains(&place.fails(&format!("{on_shapes} --batch-size 100000000")), &["memory", "batch_size"]);
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/thesis.txt"), "years of work").unwrap();
    contains(&place.fails(&tiny("dcgan", "full", "--dry-run")), &["full", "thesis.txt"]);
    place.ok(&tiny("dcgan", "run", "--quiet"));
    contains(&place.fails(&tiny("dcgan", "run", "--seed 5 --dry-run")), &["run", "seed", "--new"]);
    place.ok(&tiny("dcgan", "run", "--seed 5 --new --dry-run"));
    assert!(!place.path("run.old-1").exists());
    assert!(place.ok(&tiny("dcgan", "run", "--dry-run")).contains("run exists: it would be continued"));
}

#[test]
fn data_that_cannot_be_used_are_named() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    contains(&place.fails("collect empty packed"), &["empty", "no image"]);
    contains(&place.fails("train dcgan --data empty --size 16"), &["empty", "no image"]);
    contains(&place.fails("collect absent packed"), &["absent"]);
    contains(&place.fails("inspect empty"), &["empty", "no image"]);
    fs::create_dir(place.path("junk")).unwrap();
    fs::write(place.path("junk/a.png"), b"this is no picture").unwrap();
    contains(&place.fails("collect junk packed"), &["a.png"]);
    assert!(!place.path("packed").exists());
    contains(&place.fails("train vae --data rings"), &["images"]);
    contains(
        &place.fails("train dcgan --data shapes --size 20 --set data.count=20 --set kernel=3"),
        &["kernel"],
    );
    contains(&place.fails("train dcgan --data shapes --size 18 --set data.count=20"), &["--size"]);
    contains(&place.fails("train dcgan --data shapes --channels 2 --set data.count=20"), &["channels"]);
    place.ok("collect shapes packed --size 8 --count 20");
    contains(&place.fails("collect shapes packed --size 8 --count 20"), &["packed", "not empty"]);
    place.ok("inspect packed --verify");
    let shard = place.path("packed/train-00000.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, &bytes).unwrap();
    contains(&place.fails("inspect packed --verify"), &["packed", "fingerprint"]);
    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    contains(&place.fails("inspect packed"), &["train-00000.safetensors"]);
}

#[test]
fn errors_of_data_name_the_flag_that_mends_them() {
    let place = Place::new();
    for folder in ["pictures", "clips"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    for (name, side) in [("a.png", 8), ("b.png", 9)] {
        let picture = Picture::new(side, side, 1, vec![7; side * side]);
        picture.write_png(&place.path("pictures").join(name), None).unwrap();
    }
    contains(
        &place.fails("train dcgan --data pictures --paper-defaults"),
        &["a.png is 8x8", "\nhint: choose one `size` for all (--size PIXELS)"],
    );
    let channels = place.fails("collect shapes packed --channels 2");
    contains(
        &channels,
        &["`channels` cannot be 2", "\nhint: give 1 (grey), 3 (RGB) or 4 (RGBA) (--channels N)"],
    );
    let size = place.fails("collect pictures packed --vocabulary-size 300");
    contains(&size, &["`vocabulary_size` cannot be 300", "(--vocabulary KIND)"]);
    let pattern = place.fails("collect pictures packed --test-files z*");
    contains(&pattern, &["`test_files` cannot be z*", "(--test-files PATTERN)"]);
    fs::write(place.path("notes.md"), "hello").unwrap();
    contains(&place.fails("collect notes.md packed"), &["of no known format", "\nhint: these are read: PNG"]);
    for (name, sample_rate) in [("a.wav", 8000), ("b.wav", 16_000)] {
        let shape = SoundShape { sample_rate, channels: 1 };
        let clip = Clip { shape, samples: vec![100; 4000] };
        files::write_wav(&place.path("clips").join(name), &clip).unwrap();
    }
    let stereo = Clip { shape: SoundShape { sample_rate: 8000, channels: 2 }, samples: vec![100; 4000] };
    files::write_wav(&place.path("clips/c.wav"), &stereo).unwrap();
    // With channels and a sample rate to choose, nothing is skipped.
    let output = place.run(&words("collect clips sounds"));
    let said = text(&output.stderr) + &text(&output.stdout);
    let mono = "chosen: --mono (2 of 3 clips are mono, the others are not)";
    let rate = "chosen: --sample-rate 8000 (2 of 3 clips have it; all have 8000 to 16000 Hz)";
    contains(&said, &[mono, rate, "skipped      none"]);
}

#[test]
fn a_damaged_picture_is_skipped_counted_and_listed() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "run", "--quiet"));
    place.ok("sample run --count 12 --out pictures --force");
    let whole = fs::read(place.path("pictures/000003.png")).unwrap();
    fs::write(place.path("pictures/000003.png"), &whole[..whole.len() / 2]).unwrap();
    let summary = place.ok("collect pictures packed --holdout 0");
    contains(&summary, &["11 train", "1 file\n", "000003.png"]);
    contains(&place.ok("inspect packed"), &["skipped", "000003.png"]);
}

#[test]
fn runs_that_do_not_fit_are_refused_and_kept() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "run", "--quiet"));
    let before = crate::support::files(&place.path("run/checkpoints"));

    contains(&place.fails(&tiny("dcgan", "run", "--seed 5")), &["run", "seed", "--new"]);
    contains(&place.fails(&tiny("vae", "run", "")), &["run", "model", "--new"]);
    contains(&place.fails("sample nowhere"), &["nowhere", "run.json"]);
    contains(&place.fails("sample rnu"), &["did you mean `run`?"]);
    contains(&place.fails("resume nowhere"), &["nowhere", "run.json"]);
    contains(
        &place.fails("sample run --step 5"),
        &["no checkpoint of step 5", "choose one of the steps 48, 54, 60"],
    );
    contains(&place.fails("sample run --device tpu"), &["device"]);
    contains(&place.fails("sample run --out grid.jpg"), &["grid.jpg", ".png"]);
    contains(&place.fails("discover traverse run --dims 8"), &["dimension 8", "0 to 7"]);
    contains(&place.fails("animate run --out film.mp4"), &["film.mp4", ".gif"]);
    place.ok("sample run --out grid.png");
    contains(&place.fails("sample run --out grid.png"), &["grid.png", "--force"]);
    place.ok("sample run --out grid.png --force");
    assert_eq!(before, crate::support::files(&place.path("run/checkpoints")));

    // Starting over keeps the old run.
    place.ok(&tiny("dcgan", "run", "--quiet --seed 5 --new"));
    assert_eq!(before, crate::support::files(&place.path("run.old-1/checkpoints")));
}

#[test]
fn data_that_changed_since_the_run_began_are_refused() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 300");
    let train = "train dcgan --data packed --set width=4 --batch-size 8 --steps 4 --out run --quiet";
    place.ok(train);
    fs::remove_dir_all(place.path("packed")).unwrap();
    contains(&place.fails("discover neighbors run"), &["run", "--data"]);
    contains(&place.fails("evaluate run"), &["run", "--data"]);
    place.ok("collect shapes packed --size 16 --count 300 --seed 1");
    contains(&place.fails(train), &["run", "fingerprint"]);
    contains(&place.fails("resume run"), &["run", "fingerprint"]);
    contains(&place.fails("discover neighbors run"), &["fingerprint", "--data"]);
    place.ok("collect shapes again --size 16 --count 300");
    place.ok("resume run --data again --quiet");
    place.ok("discover neighbors run --data again --count 4");
}

#[cfg(unix)]
#[test]
fn the_same_data_may_be_given_by_another_path_and_may_move() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 300");
    let train = |data: &str, steps: u32| {
        format!(
            "train dcgan --data {data} --paper-defaults --set width=4 --batch-size 8 --steps {steps} --out run --quiet"
        )
    };
    let source = || {
        let text = fs::read_to_string(place.path("run/run.json")).unwrap();
        let info = crate::support::parse(&text);
        let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
        let source = info["data"]["source"].as_str().unwrap().to_owned();
        assert!(config.contains(&format!("source = \"{source}\"")), "{config}");
        source
    };
    place.ok(&train("packed", 4));
    let absolute = place.path("packed").display().to_string();
    place.ok(&train(&absolute, 5));
    std::os::unix::fs::symlink(&absolute, place.path("link")).unwrap();
    place.ok(&train("link", 6));
    assert!(source().ends_with("/packed"));

    fs::rename(place.path("packed"), place.path("moved")).unwrap();
    let said = place.fails("resume run --steps 7");
    contains(&said, &["cannot open the data of run: there is no data at", "resume run --data FOLDER"]);
    place.ok(&train("moved", 7));
    assert!(source().ends_with("/moved"));
    fs::rename(place.path("moved"), place.path("again")).unwrap();
    place.ok("resume run --data again --steps 8 --quiet");
    assert!(source().ends_with("/again"));
    place.ok("resume run --steps 9 --quiet");
    place.ok("discover neighbors run --count 4");

    place.ok("collect shapes others --size 16 --count 300 --seed 1");
    contains(&place.fails(&train("others", 9)), &["data.source", "/again", "/others", "--out FOLDER"]);
    let other = "train dcgan --config run/config.toml --data SOURCE --out FOLDER";
    contains(&place.fails("resume run --data others"), &["data set of run has changed", other]);
    let other = "a run keeps its settings; another run: ";
    contains(&place.fails("resume run --set dcgan.width=5"), &["dcgan.width is 4 there and 5 here", other]);
    let said = place.ok("resume run");
    assert!(said.contains("the run is done already") && said.contains("resume run --steps 18"), "{said}");
    assert!(source().ends_with("/again"));
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "run", "--quiet"));
    place.ok(&tiny("vae", "other", "--quiet"));
    let newest = place.path("run/checkpoints/step-000000060");
    let file = newest.join("ema.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 7]).unwrap();
    contains(&place.fails("sample run"), &["step-000000060", "ema.safetensors", "step-000000054"]);
    contains(&place.fails(&tiny("dcgan", "run", "")), &["step-000000060", "ema.safetensors"]);
    place.ok("sample run --step 54 --out older.png");
    fs::write(&file, &whole).unwrap();
    place.ok("sample run --out whole.png");
    fs::remove_dir_all(&newest).unwrap();
    fs::rename(place.path("other/checkpoints/step-000000060"), &newest).unwrap();
    contains(&place.fails("sample run"), &["vae", "dcgan"]);
    contains(&place.fails(&tiny("dcgan", "run", "")), &["vae", "dcgan"]);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    contains(&place.fails(&tiny("dcgan", "file/run", "")), &["file/run"]);
    contains(&place.fails("collect shapes file/packed --count 20"), &["file"]);
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/thesis.txt"), "years of work").unwrap();
    contains(&place.fails(&tiny("dcgan", "full", "")), &["full", "thesis.txt"]);
    place.ok(&tiny("dcgan", "run", "--quiet"));
    contains(&place.fails("sample run --out file/grid.png"), &["file"]);
    contains(&place.fails("sample run --out file/grids/x"), &["file/grids/x"]);
    for verb in [
        "evaluate run --out file/a.json",
        "discover traverse run --out file/a.png",
        "animate run --out file/a.gif",
    ] {
        // Nothing is measured or drawn in vain: not even the progress of that is shown.
        let output = place.run(&words(verb));
        contains(&expect_failure(verb, &output), &["file"]);
        assert!(
            output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).starts_with("error: "),
            "{verb}"
        );
    }
    #[cfg(unix)]
    {
        let fifo = Command::new("mkfifo").arg(place.path("prompt")).status().unwrap();
        assert!(fifo.success());
        contains(&place.fails("decompress prompt --list"), &["prompt", "it is a FIFO, not a file"]);
        contains(&place.fails("collect prompt packed"), &["prompt is a FIFO, not a file"]);
        contains(&place.fails("train dcgan --config prompt"), &["prompt", "FIFO"]);
        fs::create_dir(place.path("thesis")).unwrap();
        fs::write(place.path("thesis/a.txt"), "years").unwrap();
        let train = tiny("dcgan", "thesis", "--new");
        contains(&place.fails(&train), &["thesis is not a run", "`a.txt`", "--out FOLDER"]);
    }
}

#[test]
fn too_little_memory_is_said_before_starting() {
    let place = Place::new();
    let huge = tiny("dcgan", "run", "--quiet").replace("--batch-size 8", "--batch-size 100000000");
    contains(&place.fails(&huge), &["memory", "batch_size"]);
    assert!(!place.path("run").exists());
}

#[test]
fn divergence_keeps_the_last_checkpoint() {
    let place = Place::new();
    let wild = tiny("vae", "run", "--quiet --set learning_rate=1e30");
    contains(&place.fails(&wild), &["diverged", "learning rate"]);
    assert!(place.ok("runs .").contains("failed"));
}

/// A limit on the size of files makes saving fail in the middle, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_intact() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "whole", "--quiet"));
    let sizes: Vec<u64> = crate::support::files(&place.path("whole/checkpoints"))
        .values()
        .map(|bytes| bytes.len() as u64)
        .collect();
    // In blocks of 512 bytes; the arrays of a checkpoint are larger, everything else is smaller.
    let limit = sizes.iter().max().unwrap() / 512 / 2;
    let arguments = tiny("dcgan", "run", "--quiet");
    let limited = |limit: u64| {
        let command = place.command(&words(&arguments));
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\"")).arg("sh");
        shell.arg(command.get_program()).args(command.get_args()).current_dir(place.path("."));
        shell.env("POIESIS_CACHE", place.path("cache")).output().unwrap()
    };
    let error = expect_failure("no room for the first checkpoint", &limited(limit));
    contains(&error, &["cannot write", "run"]);
    assert!(
        !crate::support::files(&place.path("run/checkpoints")).keys().any(|name| name.ends_with("COMPLETE"))
    );

    // With a checkpoint there already, a later failure leaves it as it is and the run goes on from it.
    fs::remove_dir_all(place.path("run")).unwrap();
    let early = arguments.replace("--quiet", "");
    let mut child = place.command(&words(&early)).stderr(std::process::Stdio::null()).spawn().unwrap();
    let first = place.path("run/checkpoints/step-000000006/COMPLETE");
    while !first.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let whole = |place: &Place| -> Vec<_> {
        let files = crate::support::files(&place.path("run/checkpoints"));
        files.into_iter().filter(|(name, _)| !name.to_string_lossy().contains(".partial")).collect()
    };
    let before = whole(&place);
    assert!(!before.is_empty());
    expect_failure("no room for the next checkpoint", &limited(limit));
    assert_eq!(before, whole(&place));
    place.ok(&arguments);
    let last = "checkpoints/step-000000060";
    expect_equal_files(&place.path("whole").join(last), &place.path("run").join(last));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::new();
    let mut child =
        place.command(&["recipes", "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
