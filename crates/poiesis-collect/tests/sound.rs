//! Sound: what is read, what it becomes, and how clips are counted, labelled and divided.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::*;
use poiesis_collect::{Dataset, Kind, Options, Split, SplitBy};

/// All options that hold nothing out.
fn all() -> Options {
    Options { holdout: 0.0, ..Options::default() }
}

/// The samples of the clips of a split.
fn clips(dataset: &Dataset, split: Split) -> Vec<Vec<i16>> {
    let stream = dataset.require_stream(split).unwrap();
    (0..stream.documents()).map(|i| stream.samples(stream.document(i))).collect()
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

fn noted(dataset: &Dataset, part: &str) -> bool {
    dataset.card().notes.iter().any(|note| note.contains(part))
}

/// A tone of 16 bits.
fn tone(count: usize, seed: i32) -> Vec<i32> {
    (0..count).map(|i| ((i as f64 * (0.05 + 0.01 * f64::from(seed))).sin() * 9000.0) as i32).collect()
}

/// Collects the bytes of one file.
fn single(name: &str, bytes: &[u8]) -> Result<Dataset, poiesis_collect::Error> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), name, bytes);
    packed(&root.path().join(name), &all())
}

#[test]
fn all_formats_become_16_bits() {
    let samples = |name, bytes: &[u8]| clips(&single(name, bytes).unwrap(), Split::Train).concat();
    assert_eq!(samples("a.wav", &wav(8000, 1, 8, &[-128, 0, 127])), [-32768, 0, 32512]);
    assert_eq!(samples("a.wav", &wav(8000, 1, 16, &[-32768, 5, 32767])), [-32768, 5, 32767]);
    assert_eq!(
        samples("a.wav", &wav(8000, 1, 24, &[-8_388_608, 127, 128, 8_388_607])),
        [-32768, 0, 1, 32767]
    );
    assert_eq!(samples("a.wav", &wav(8000, 1, 32, &[i32::MIN, 32_768, i32::MAX])), [-32768, 1, 32767]);
    assert_eq!(samples("a.wav", &wav_float(8000, &[-1.0, 0.25, 2.0])), [-32768, 8192, 32767]);
    assert_eq!(samples("a.flac", &flac(8000, 1, 16, &[-32768, 5, 32767])), [-32768, 5, 32767]);
    assert_eq!(samples("a.flac", &flac(8000, 1, 24, &[-8_388_608, 128, 8_388_607])), [-32768, 1, 32767]);
    let long = tone(3_333, 1);
    let expected: Vec<i16> = long.iter().map(|&sample| sample as i16).collect();
    assert_eq!(samples("a.wav", &wav(44_100, 1, 16, &long)), expected);
    assert_eq!(samples("a.flac", &flac(44_100, 1, 16, &long)), expected);
}

#[test]
fn stereo_stays_stereo_unless_mono_is_asked_for() {
    let samples = [100, 200, -3, -4, 1000, 0];
    for (name, bytes) in [("a.wav", wav(16_000, 2, 16, &samples)), ("a.flac", flac(16_000, 2, 16, &samples))]
    {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), name, &bytes);
        let dataset = packed(root.path(), &all()).unwrap();
        let sound = dataset.card().sound.clone().unwrap();
        assert_eq!((sound.sample_rate, sound.channels, &dataset.card().shape[..]), (16_000, 2, &[2][..]));
        assert_eq!(dataset.card().elements(Split::Train), 3);
        assert_eq!(clips(&dataset, Split::Train)[0], [100, 200, -3, -4, 1000, 0]);
        assert_eq!(dataset.require_stream(Split::Train).unwrap().samples(1..2), [-3, -4]);
        let mono = packed(root.path(), &Options { mono: true, ..all() }).unwrap();
        assert_eq!(clips(&mono, Split::Train)[0], [150, -4, 500]);
    }
    let six = single("a.wav", &wav(8000, 6, 16, &[1; 12])).unwrap_err();
    says(&told(&six), &["a.wav", "6 channels", "mix all to `mono`"]);
    assert_eq!(six.option(), Some("mono"));
}

#[test]
fn clips_that_differ_are_skipped_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.wav", &wav(8000, 1, 16, &tone(800, 1)));
    write(root.path(), "b.wav", &wav(16_000, 1, 16, &tone(1600, 2)));
    write(root.path(), "c.flac", &flac(8000, 2, 16, &tone(1600, 3)));
    write(root.path(), "d.wav", &wav(8000, 1, 24, &tone(800, 4)));
    let dataset = packed(root.path(), &all()).unwrap();
    let skipped = &dataset.card().skipped;
    assert_eq!((dataset.card().total(), skipped.count), (2, 2));
    says(&skipped.list[0].reason, &["16000 Hz", "a.wav, 8000 Hz"]);
    says(&skipped.list[0].hint().unwrap(), &["one `sample_rate`"]);
    says(&skipped.list[1].reason, &["2 channels", "a.wav, has 1"]);
    says(&skipped.list[1].hint().unwrap(), &["`mono`"]);
    assert!(skipped.list.iter().all(|file| !file.reason.contains("--")), "no flags: {skipped:?}");
    let asked = Options { sample_rate: Some(8000), mono: true, ..all() };
    let dataset = packed(root.path(), &asked).unwrap();
    assert_eq!((dataset.card().total(), dataset.card().skipped.count), (4, 0));
    assert!(clips(&dataset, Split::Train).iter().all(|clip| clip.len().abs_diff(800) <= 1));
    assert!(noted(&dataset, "1 clips were brought to another sample rate"), "{:?}", dataset.card().notes);
}

#[test]
fn loud_silent_and_limited_clips_are_counted() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "loud.wav", &wav(8000, 1, 16, &[0, 32767, 32767, 32767, 0]));
    write(root.path(), "peaks.wav", &wav(8000, 1, 16, &[32767, 32767, 0, -32768, -32768, 0]));
    write(root.path(), "silent.wav", &wav(8000, 1, 16, &[0, 3, -32, 0]));
    write(root.path(), "zero.wav", &wav(8000, 1, 16, &[0; 50]));
    write(root.path(), "over.wav", &wav_float(8000, &[0.5, 1.5, -1.25, 0.0]));
    let dataset = packed(root.path(), &all()).unwrap();
    let sound = dataset.card().sound.as_ref().unwrap();
    assert_eq!((sound.clipped, sound.silent, sound.limited), (1, 2, 2));
    for note in ["1 clips have three or more", "2 clips are silent", "2 samples were beyond full scale"] {
        assert!(noted(&dataset, note), "{note}: {:?}", dataset.card().notes);
    }
}

#[test]
fn one_clip_is_cut_by_position_and_several_by_content() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "song.wav", &wav(8000, 2, 16, &tone(2002, 1)));
    let dataset = packed(&root.path().join("song.wav"), &Options::default()).unwrap();
    let card = dataset.card();
    assert_eq!((card.name.as_str(), card.kind, card.split_by), ("song", Kind::Sound, SplitBy::Position));
    assert_eq!((card.elements(Split::Train), card.elements(Split::Validation)), (900, 101));
    for i in 0..200 {
        write(root.path(), &format!("many/{i}.wav"), &wav(8000, 1, 16, &tone(50, i)));
    }
    let dataset = packed(&root.path().join("many"), &Options::default()).unwrap();
    assert_eq!(dataset.card().split_by, SplitBy::Content);
    let held = dataset.card().count(Split::Validation);
    assert!((8..35).contains(&held), "{held} of 200");
    let none =
        packed(&root.path().join("many"), &Options { holdout: 0.999_999, ..Options::default() }).unwrap();
    assert_eq!(none.card().count(Split::Train), 200);
    assert!(noted(&none, "too few different clips"));
    assert_eq!(none.stream(Split::Train).unwrap().documents(), 200);
}

#[test]
fn classes_come_from_folders_or_names() {
    let root = tempfile::tempdir().unwrap();
    for (i, name) in ["up/7_a_0.wav", "up/7_b_9.wav", "down/0_a_3.wav", "down/noise.wav"].iter().enumerate() {
        write(root.path(), name, &wav(8000, 1, 16, &tone(20, i as i32)));
    }
    let dataset = packed(root.path(), &all()).unwrap();
    assert_eq!(dataset.card().classes, ["down", "up"]);
    let asked =
        Options { label_from_name: true, test_files: vec!["*_[0-4].wav".into()], ..Options::default() };
    let dataset = packed(root.path(), &asked).unwrap();
    let card = dataset.card();
    assert_eq!((&card.classes[..], card.split_by), (&["0", "7"].map(String::from)[..], SplitBy::Source));
    let labels = |split| {
        let stream = dataset.require_stream(split).unwrap();
        (0..stream.documents()).map(|i| stream.label(i)).collect::<Vec<_>>()
    };
    assert_eq!(labels(Split::Train), [None, Some(1)]);
    assert_eq!(labels(Split::Test), [Some(0), Some(1)]);
}

#[test]
fn a_folder_and_its_archives_are_the_same_sound_for_any_threads_and_shards() {
    let root = tempfile::tempdir().unwrap();
    let sounds: Vec<_> = (0..40)
        .map(|i| {
            let samples = tone(300 + 7 * i, i as i32);
            let flacs = i % 3 == 0;
            let bytes = if flacs { flac(8000, 1, 16, &samples) } else { wav(8000, 1, 16, &samples) };
            (format!("c{}/{i:02}.{}", i % 4, if flacs { "flac" } else { "wav" }), bytes)
        })
        .collect();
    let files: Vec<(&str, &[u8])> =
        sounds.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    files.iter().for_each(|(name, bytes)| write(root.path(), &format!("folder/{name}"), bytes));
    write(root.path(), "a.tar", &tar(&files));
    write(root.path(), "b.tar.gz", &gzip(&tar(&files)));
    write(root.path(), "c.zip", &zip(&files));
    let fingerprint = |name: &str, options: &Options| {
        let dataset = packed(&root.path().join(name), options).unwrap();
        assert_eq!((dataset.card().total(), dataset.card().classes.len()), (40, 4));
        dataset.card().fingerprint.clone()
    };
    let expected = fingerprint("folder", &Options::default());
    let mut sorted = vec![expected.clone(); 3];
    for (name, found) in ["a.tar", "b.tar.gz", "c.zip"].iter().zip(&mut sorted) {
        *found = fingerprint(name, &Options::default());
    }
    // Archives keep their own order.
    assert!(sorted.iter().all(|found| *found == sorted[0]));
    for shard_bytes in [100, 501, 7000] {
        assert_eq!(fingerprint("folder", &Options { shard_bytes, ..Options::default() }), expected);
    }
    let options = Options { sample_rate: Some(11_025), ..Options::default() };
    for source in ["folder", "b.tar.gz"] {
        let source = root.path().join(source);
        assert!(files_with_threads(&source, &options, 1) == files_with_threads(&source, &options, 3));
    }
}

#[test]
fn a_wav_cut_anywhere_is_never_taken_for_whole() {
    let root = tempfile::tempdir().unwrap();
    for (kind, file) in [("wav", wav(8000, 1, 16, &tone(500, 1))), ("flac", flac(8000, 1, 16, &tone(500, 1)))]
    {
        let folder = root.path().join(kind);
        for cut in (0..file.len()).step_by(7) {
            write(&folder, &format!("{cut:05}.{kind}"), &file[..cut]);
        }
        let error = packed(&folder, &all()).unwrap_err().to_string();
        says(&error, &["none of the", "clips could be used", "the file is empty"]);
    }
    says(
        &single("x.wav", &wav(8000, 1, 16, &tone(50, 1))[..100]).unwrap_err().to_string(),
        &["x.wav", "ends early"],
    );
    says(&single("x.wav", &wav(8000, 1, 16, &[])).unwrap_err().to_string(), &["x.wav", "holds no samples"]);
}

#[test]
fn garbage_is_refused_with_a_reason() {
    let message = |name: &str, bytes: &[u8]| single(name, bytes).unwrap_err().to_string();
    says(&message("x.wav", b"hello"), &["x.wav", "neither like WAV nor like FLAC"]);
    says(&message("x.flac", b"fLaCgarbage and more garbage, nothing else"), &["x.flac", "ends early"]);
    let mut wrong = flac(8000, 1, 16, &tone(500, 1));
    wrong[4] = 0x84;
    says(&message("x.flac", &wrong), &["x.flac", "damaged or not what it seems"]);
    says(&message("x.wav", b"RIFF\x24\0\0\0AVI and so on and so on"), &["x.wav", "it is not a WAV file"]);
    says(&message("x.wav", &wav_float(8000, &[0.0, f32::NAN])), &["sample 1 is NaN"]);
    // A sample changed in the middle: the checksum of its frame is wrong.
    let mut changed = flac(8000, 1, 16, &tone(500, 1));
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    assert!(single("x.flac", &changed).is_err());
    let limits = poiesis_collect::Limits { file_bytes: 1000, ..Default::default() };
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.wav", &wav(8000, 1, 16, &tone(5000, 1)));
    let options = Options { limits, ..all() };
    says(&packed(root.path(), &options).unwrap_err().to_string(), &["x.wav", "limit of 1000"]);
}

#[test]
fn the_spoken_digits_are_all_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/fsdd/recordings.tar.gz");
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return;
    }
    let options =
        Options { label_from_name: true, test_files: vec!["*_[0-4].wav".into()], ..Options::default() };
    let dataset = packed(&path, &options).unwrap();
    let card = dataset.card();
    assert_eq!((card.count(Split::Train), card.count(Split::Test)), (2_700, 300));
    assert_eq!(card.classes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(
        card.splits.iter().all(|split| split.class_counts.iter().all(|n| *n as usize * 10 == split.count))
    );
    let sound = card.sound.as_ref().unwrap();
    assert_eq!((sound.sample_rate, sound.channels, card.skipped.count), (8_000, 1, 0));
    let seconds = (card.elements(Split::Train) + card.elements(Split::Test)) as f64 / 8_000.0;
    assert!((21.85..21.95).contains(&(seconds / 60.0)), "{seconds} s");
    let stream = dataset.require_stream(Split::Test).unwrap();
    // 0_george_0.wav comes first.
    assert_eq!((stream.document(0), stream.label(0)), (0..2_384, Some(0)));
}
