//! Event files read by an independent decoder.

use super::*;

/// A field in wire format.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    Varint(u64),
    Eight([u8; 8]),
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

fn varint<'a>(bytes: &mut std::slice::Iter<'a, u8>) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = *bytes.next().unwrap();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn take<'a>(bytes: &mut std::slice::Iter<'a, u8>, count: usize) -> &'a [u8] {
    let (head, tail) = bytes.as_slice().split_at(count);
    *bytes = tail.iter();
    head
}

fn fields(message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut bytes = message.iter();
    let mut fields = Vec::new();
    while !bytes.as_slice().is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut bytes)),
            1 => Field::Eight(take(&mut bytes, 8).try_into().unwrap()),
            2 => {
                let length = varint(&mut bytes);
                Field::Bytes(take(&mut bytes, length as usize))
            }
            5 => Field::Four(take(&mut bytes, 4).try_into().unwrap()),
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// The checksum bit by bit, independent of the writer.
fn slow_masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn events(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(u32::from_le_bytes(rest[8..12].try_into().unwrap()), slow_masked_crc(&rest[..8]));
        let event = &rest[12..12 + length];
        let crc = u32::from_le_bytes(rest[12 + length..16 + length].try_into().unwrap());
        assert_eq!(crc, slow_masked_crc(event));
        events.push(event.to_vec());
        rest = &rest[16 + length..];
    }
    events
}

fn bytes_of<'a>(fields: &[(u64, Field<'a>)], number: u64) -> Vec<&'a [u8]> {
    fields
        .iter()
        .filter(|(field, _)| *field == number)
        .map(|(_, field)| if let Field::Bytes(bytes) = field { *bytes } else { panic!("not bytes") })
        .collect()
}

#[test]
fn an_independent_reader_finds_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(folder.path(), None).unwrap();
    writer.scalars(300, [("loss/generator", 1.5), ("loss/discriminator", -0.25)]).unwrap();
    let picture = Picture::new(3, 2, 1, vec![0, 50, 100, 150, 200, 250]);
    writer.image(u64::from(u32::MAX), "samples", &picture).unwrap();

    let events = events(writer.path());
    assert_eq!(events.len(), 3);
    let first = fields(&events[0]);
    assert_eq!(bytes_of(&first, 3), [b"brain.Event:2"]);
    let Field::Eight(time) = first[0].1 else { panic!("wall time") };
    assert!((wall_time() - f64::from_le_bytes(time)).abs() < 60.0);

    let scalars = fields(&events[1]);
    assert!(scalars.contains(&(2, Field::Varint(300))));
    let summary = fields(bytes_of(&scalars, 5)[0]);
    let values: Vec<_> = bytes_of(&summary, 1).into_iter().map(fields).collect();
    assert_eq!(values[0], [(1, Field::Bytes(b"loss/generator")), (2, Field::Four(1.5f32.to_le_bytes()))]);
    assert_eq!(
        values[1],
        [(1, Field::Bytes(b"loss/discriminator")), (2, Field::Four((-0.25f32).to_le_bytes()))]
    );

    let image = fields(&events[2]);
    assert!(image.contains(&(2, Field::Varint(u64::from(u32::MAX)))));
    let value = fields(bytes_of(&fields(bytes_of(&image, 5)[0]), 1)[0]);
    let image = fields(bytes_of(&value, 4)[0]);
    assert_eq!(image[..3], [(1, Field::Varint(2)), (2, Field::Varint(3)), (3, Field::Varint(1))]);
    let decoded = Picture::from_png(bytes_of(&image, 4)[0], Path::new("image")).unwrap().0;
    assert_eq!(decoded, picture);
}

#[test]
fn a_resumed_run_drops_what_earlier_files_say_of_later_steps() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = vec![EventWriter::create(folder.path(), None).unwrap().path().to_owned()];
    for step in [100, 200, 300] {
        let writer = EventWriter::create(folder.path(), Some(step)).unwrap();
        let events = events(writer.path());
        let session = fields(&events[1]);
        assert!(session.contains(&(2, Field::Varint(step + 1))));
        assert_eq!(fields(bytes_of(&session, 7)[0]), [(1, Field::Varint(1))]);
        paths.push(writer.path().to_owned());
    }
    let mut sorted = paths.clone();
    sorted.sort();
    assert_eq!(sorted, paths, "names sort in the order of the starts");
}

#[test]
fn a_run_resumed_at_its_beginning_drops_all_that_earlier_files_say() {
    let folder = tempfile::tempdir().unwrap();
    let writer = EventWriter::create(folder.path(), Some(0)).unwrap();
    let events = events(writer.path());
    let session = fields(&events[1]);
    assert!(session.contains(&(2, Field::Varint(0))), "{session:?}");
    assert_eq!(fields(bytes_of(&session, 7)[0]), [(1, Field::Varint(1))]);
}

/// The step and the only value of the event after the first, as its fields.
fn only_value(write: impl FnOnce(&mut EventWriter)) -> (u64, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(folder.path(), None).unwrap();
    write(&mut writer);
    let events = events(writer.path());
    assert_eq!(events.len(), 2);
    let event = fields(&events[1]);
    let Field::Varint(step) = event[1].1 else { panic!("the step: {event:?}") };
    let summary = fields(bytes_of(&event, 5)[0]);
    assert_eq!(summary.len(), 1);
    (step, bytes_of(&summary, 1)[0].to_vec())
}

/// The tag of a value, the name and data of its plugin, and the lengths of the axes and the strings of its tensor.
fn plugin_value(value: &[u8]) -> (String, String, Vec<u8>, Vec<u64>, Vec<Vec<u8>>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let value = fields(value);
    let metadata = fields(bytes_of(&value, 9)[0]);
    let plugin = fields(bytes_of(&metadata, 1)[0]);
    let tensor = fields(bytes_of(&value, 8)[0]);
    let dims = fields(bytes_of(&tensor, 2)[0]);
    let length = |dim: &[u8]| match fields(dim)[..] {
        [(1, Field::Varint(length))] => length,
        ref other => panic!("{other:?} is no axis"),
    };
    (
        text(bytes_of(&value, 1)[0]),
        text(bytes_of(&plugin, 1)[0]),
        bytes_of(&plugin, 2)[0].to_vec(),
        bytes_of(&dims, 2).into_iter().map(length).collect(),
        bytes_of(&tensor, 8).into_iter().map(<[u8]>::to_vec).collect(),
    )
}

#[test]
fn texts_are_rows_that_no_markdown_changes() {
    let texts = ["# no heading\n*x*", "a ``` and ```` too", ""].map(str::to_owned);
    let (step, value) = only_value(|writer| writer.texts(7, "samples", &texts).unwrap());
    let (tag, plugin, data, lengths, rows) = plugin_value(&value);
    assert_eq!((step, tag.as_str(), plugin.as_str(), data), (7, "samples", "text", Vec::new()));
    assert_eq!(lengths, [3]);
    let rows: Vec<String> = rows.into_iter().map(|row| String::from_utf8(row).unwrap()).collect();
    assert_eq!(rows[0], "```\n# no heading\n*x*\n```\n");
    assert_eq!(rows[1], "`````\na ``` and ```` too\n`````\n", "the fence is longer than any run in it");
    assert_eq!(rows[2], "```\n\n```\n");
}

#[test]
fn sounds_are_files_with_empty_labels() {
    let wavs = [b"RIFF one".to_vec(), b"RIFF two".to_vec()];
    let (step, value) = only_value(|writer| writer.sounds(9, "samples", &wavs).unwrap());
    let (tag, plugin, data, lengths, strings) = plugin_value(&value);
    assert_eq!((step, tag.as_str(), plugin.as_str()), (9, "samples", "audio"));
    assert_eq!(fields(&data), [(2, Field::Varint(11))], "WAV");
    assert_eq!(lengths, [2, 2]);
    assert_eq!(strings, [wavs[0].clone(), Vec::new(), wavs[1].clone(), Vec::new()]);
}

const SETTINGS: &str = "model = \"vae\"\n\n[train]\nsteps = 300\n\n[vae]\nconditional = false\nkl_weight = 0.5\n\
                        hidden_dims = [4, 8]\nlabels = \"\"\n";

#[test]
fn settings_are_a_text_in_toml() {
    let settings = toml::from_str(SETTINGS).unwrap();
    let (step, value) = only_value(|writer| writer.settings(0, &settings).unwrap());
    let (tag, plugin, _, lengths, strings) = plugin_value(&value);
    assert_eq!((step, tag.as_str(), plugin.as_str()), (0, "settings", "text"));
    assert!(lengths.is_empty(), "a scalar: {lengths:?}");
    let text = String::from_utf8(strings[0].clone()).unwrap();
    let inside = text.strip_prefix("```toml\n").and_then(|text| text.strip_suffix("\n```\n")).unwrap();
    assert_eq!(toml::from_str::<toml::Table>(inside).unwrap(), settings);
}

#[test]
fn hyperparameters_are_numbers_words_and_truth_values_by_their_dotted_keys() {
    let settings = toml::from_str(SETTINGS).unwrap();
    let (step, value) = only_value(|writer| writer.hyperparameters(40, &settings).unwrap());
    let (tag, plugin, data, lengths, strings) = plugin_value(&value);
    assert_eq!((step, tag.as_str(), plugin.as_str()), (40, "_hparams_/session_start_info", "hparams"));
    assert_eq!((lengths, strings), (vec![0], Vec::new()), "an array of nothing");
    let data = fields(&data);
    assert_eq!(data.len(), 1, "of version 0");
    let start = fields(bytes_of(&data, 3)[0]);
    let found: Vec<(String, Vec<u8>)> = bytes_of(&start, 1)
        .into_iter()
        .map(|entry| {
            let entry = fields(entry);
            let key = String::from_utf8(bytes_of(&entry, 1)[0].to_vec()).unwrap();
            (key, bytes_of(&entry, 2)[0].to_vec())
        })
        .collect();
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        ["model", "train.steps", "vae.conditional", "vae.kl_weight", "vae.hidden_dims", "vae.labels"]
    );
    let values: Vec<_> = found.iter().map(|(_, value)| fields(value)).collect();
    assert_eq!(values[0], [(3, Field::Bytes(b"vae"))]);
    assert_eq!(values[1], [(2, Field::Eight(300.0f64.to_le_bytes()))]);
    assert_eq!(values[2], [(4, Field::Varint(0))], "what is false is written too");
    assert_eq!(values[3], [(2, Field::Eight(0.5f64.to_le_bytes()))]);
    assert_eq!(values[4], [(3, Field::Bytes(b"[4, 8]"))]);
    assert_eq!(values[5], [(3, Field::Bytes(b""))]);
    let Some((5, Field::Eight(time))) = start.last() else { panic!("the time: {start:?}") };
    assert!((wall_time() - f64::from_le_bytes(*time)).abs() < 60.0);
}

#[test]
fn a_run_that_is_done_says_so() {
    let (step, value) = only_value(|writer| writer.done(300).unwrap());
    let (tag, plugin, data, ..) = plugin_value(&value);
    assert_eq!((step, tag.as_str(), plugin.as_str()), (300, "_hparams_/session_end_info", "hparams"));
    let end = fields(&data);
    let end = fields(bytes_of(&end, 4)[0]);
    assert_eq!(end[0], (1, Field::Varint(1)), "success");
    assert!(matches!(end[1], (2, Field::Eight(_))));
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    // RFC 3720, B.4: 32 bytes of zero.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(masked_crc(&[0; 32]), slow_masked_crc(&[0; 32]));
}
