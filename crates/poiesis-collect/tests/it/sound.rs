//! Sound: what is read, what it becomes, and how clips are counted, labelled and divided.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::common::*;
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
    let unlike =
        "2 clips differ from the first one in their format and were skipped; `sample_rate` and `mono`";
    assert!(noted(&dataset, unlike), "{:?}", dataset.card().notes);
    let asked = Options { sample_rate: Some(8000), mono: true, ..all() };
    let dataset = packed(root.path(), &asked).unwrap();
    assert_eq!((dataset.card().total(), dataset.card().skipped.count), (4, 0));
    assert!(clips(&dataset, Split::Train).iter().all(|clip| clip.len().abs_diff(800) <= 1));
    assert!(noted(&dataset, "1 clip was brought to another sample rate"), "{:?}", dataset.card().notes);
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
    for note in ["1 clip has three or more", "2 clips are silent", "2 samples were beyond full scale"] {
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
    let most =
        packed(&root.path().join("many"), &Options { holdout: 0.999_999, ..Options::default() }).unwrap();
    assert_eq!((most.card().count(Split::Train), most.card().count(Split::Validation)), (1, 199));
    assert_eq!(most.stream(Split::Train).unwrap().documents(), 1);
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
fn tags_before_flac_are_no_obstacle() {
    let plain = flac(8000, 1, 16, &tone(500, 1));
    let tagged = [&b"ID3\x04\0\0\0\0\x01\x02"[..], &[b't'; 130], &plain].concat();
    let read = |name, bytes: &[u8]| clips(&single(name, bytes).unwrap(), Split::Train);
    assert_eq!(read("a.flac", &tagged), read("a.flac", &plain));
    // Also where the name says nothing.
    assert_eq!(read("a", &tagged), read("a.flac", &plain));
}

/// Bits one after another, as numbers with their widths; `highest` bits come first, or last.
fn bits(numbers: &[(u32, u32)], highest: bool) -> Vec<u8> {
    let order = |&(number, width): &(u32, u32)| {
        (0..width).map(move |at| number >> if highest { width - 1 - at } else { at } & 1 == 1)
    };
    let all: Vec<bool> = numbers.iter().flat_map(order).collect();
    let byte = |bits: &[bool]| {
        let at = |i: usize| if highest { 7 - i } else { i };
        bits.iter().enumerate().fold(0, |byte, (i, &bit)| byte | u8::from(bit) << at(i))
    };
    all.chunks(8).map(byte).collect()
}

/// Frames of MP3 at 44.1 kHz, mono, in each of which the spectrum is 1 at line 20 of 576 alone.
fn mp3(frames: usize) -> Vec<u8> {
    // Ten pairs of zeros, then one of 1 and 0, in the first Huffman table; then the sign.
    let spectrum: Vec<(u32, u32)> = [vec![(1, 1); 10], vec![(0b01, 2), (0, 1)]].concat();
    let granule =
        [(13, 12), (11, 9), (190, 8), (0, 4), (0, 1), (1, 5), (1, 5), (1, 5), (7, 4), (7, 3), (0, 3)];
    let content = [vec![(0, 18)], granule.to_vec(), granule.to_vec(), spectrum.clone(), spectrum].concat();
    let mut frame = b"\xff\xfb\x90\xc0".to_vec();
    frame.extend(bits(&content, true));
    frame.resize(417, 0);
    frame.repeat(frames)
}

#[test]
fn mp3_becomes_the_tone_that_it_describes() {
    let file = mp3(40);
    let dataset = single("a.mp3", &file).unwrap();
    let sound = dataset.card().sound.as_ref().unwrap();
    assert_eq!((sound.sample_rate, sound.channels), (44_100, 1));
    let samples = clips(&dataset, Split::Train).concat();
    assert_eq!(samples.len(), 40 * 1152);
    let middle = &samples[4 * 1152..36 * 1152];
    let loudest = middle.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!((200..5_000).contains(&loudest), "{loudest}");
    // A line is a 576th of half the rate, and a tone crosses zero twice in a period.
    let crossings = middle.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    let line = crossings as f64 / middle.len() as f64 * 576.0;
    assert!((19.5..21.5).contains(&line), "{line}");
    // Tags before it, and a name that says nothing.
    let tagged = [&b"ID3\x03\0\0\0\0\0\x03abc"[..], &file].concat();
    assert_eq!(clips(&single("a", &tagged).unwrap(), Split::Train).concat(), samples);
    says(&single("a.mp3", &file[..100]).unwrap_err().to_string(), &["a.mp3", "ends early"]);
}

/// A page of Ogg with one packet.
fn page(kind: u8, frames: u64, number: u32, packet: &[u8]) -> Vec<u8> {
    let mut page =
        [b"OggS\0", &[kind][..], &frames.to_le_bytes(), &[7, 0, 0, 0], &number.to_le_bytes(), &[0; 4]]
            .concat();
    let segments = vec![255; packet.len() / 255];
    page.push(segments.len() as u8 + 1);
    page.extend(segments);
    page.push((packet.len() % 255) as u8);
    page.extend(packet);
    let sum = crc(&page, 32, 0x04c1_1db7);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

/// Silence in Vorbis: so many blocks of 256 samples, each half over the one before.
fn vorbis(rate: u32, channels: u8, blocks: u32) -> Vec<u8> {
    let name = |kind: u8| [&[kind][..], b"vorbis"].concat();
    let first =
        [name(1), vec![0, 0, 0, 0, channels], rate.to_le_bytes().to_vec(), vec![0; 12], vec![0x88, 1]]
            .concat();
    let comment = [name(3), vec![0; 8], vec![1]].concat();
    let book = [(0, 8), (0x0056_4342, 24), (1, 16), (2, 24), (0, 2), (0, 5), (0, 5), (0, 4)];
    let (time, floor) = ([(0, 6), (0, 16)], [(0, 6), (1, 16), (0, 5), (0, 2), (4, 4)]);
    let residue = [(0, 6), (0, 16), (0, 24), (0, 24), (0, 24), (0, 6), (0, 8), (0, 3), (0, 1)];
    let (mapping, mode) =
        ([(0, 6), (0, 16), (0, 4), (0, 24)], [(0, 6), (0, 1), (0, 16), (0, 16), (0, 8), (1, 1)]);
    let setup = [&book[..], &time, &floor, &residue, &mapping, &mode].concat();
    let setup = [name(5), bits(&setup, false)].concat();
    let mut file = [page(2, 0, 0, &first), page(0, 0, 1, &comment), page(0, 0, 2, &setup)].concat();
    for block in 0..blocks {
        let kind = if block + 1 == blocks { 4 } else { 0 };
        file.extend(page(kind, u64::from(block) * 128, 3 + block, &[0]));
    }
    file
}

#[test]
fn vorbis_in_ogg_is_read() {
    let dataset = single("a.ogg", &vorbis(16_000, 2, 11)).unwrap();
    let sound = dataset.card().sound.as_ref().unwrap();
    assert_eq!((sound.sample_rate, sound.channels, sound.silent), (16_000, 2, 1));
    assert_eq!(clips(&dataset, Split::Train), [[0; 10 * 128 * 2]]);
    let opus = page(2, 0, 0, b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0");
    says(&single("a.ogg", &opus).unwrap_err().to_string(), &["a.ogg"]);
    says(&single("a.ogg", &vorbis(16_000, 2, 11)[..100]).unwrap_err().to_string(), &["a.ogg"]);
}

#[test]
fn garbage_is_refused_with_a_reason() {
    let message = |name: &str, bytes: &[u8]| single(name, bytes).unwrap_err().to_string();
    says(&message("x.wav", b"hello"), &["x.wav", "none of WAV, FLAC, MP3 and Ogg"]);
    says(&message("x.flac", b"fLaCgarbage and more garbage, nothing else"), &["x.flac", "ends early"]);
    let mut wrong = flac(8000, 1, 16, &tone(500, 1));
    wrong[4] = 0x84;
    says(&message("x.flac", &wrong), &["x.flac", "cannot be used"]);
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
