//! Text: what is read, how it is cut into documents and splits, and what its tokens are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use crate::common::*;
use poiesis_collect::{Dataset, Kind, Options, Split, SplitBy, Vocabulary, VocabularyKind, open_or_collect};
use proptest::prelude::*;

/// The documents of a split, as text.
fn documents(dataset: &Dataset, split: Split) -> Vec<String> {
    let Some(stream) = dataset.stream(split) else { return Vec::new() };
    let vocabulary = &dataset.card().text.as_ref().unwrap().vocabulary;
    let text = |i| String::from_utf8(vocabulary.decode(&stream.tokens(stream.document(i)))).unwrap();
    (0..stream.documents()).map(text).collect()
}

/// The documents of all splits, sorted.
fn all_documents(dataset: &Dataset) -> Vec<String> {
    let mut all: Vec<String> = Split::ALL.into_iter().flat_map(|split| documents(dataset, split)).collect();
    all.sort();
    all
}

fn with(vocabulary: VocabularyKind) -> Options {
    Options { vocabulary: Some(vocabulary), ..Options::default() }
}

fn noted(dataset: &Dataset, part: &str) -> bool {
    dataset.card().notes.iter().any(|note| note.contains(part))
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn a_single_text_is_cut_by_position() {
    let root = tempfile::tempdir().unwrap();
    let text: String = (0..999).map(|i| ["a", "é", "🦀", "\n"][i % 4]).collect();
    write(root.path(), "book.txt", text.as_bytes());
    let dataset = packed(&root.path().join("book.txt"), &Options::default()).unwrap();
    let card = dataset.card();
    assert_eq!((card.name.as_str(), card.kind, card.split_by), ("book", Kind::Text, SplitBy::Position));
    // int(999 * 0.9) characters, whatever they take in bytes.
    assert_eq!((card.elements(Split::Train), card.elements(Split::Validation)), (899, 100));
    assert_eq!((card.count(Split::Train), card.count(Split::Validation)), (1, 1));
    let characters = vec!['\n', 'a', 'é', '🦀'];
    assert_eq!(card.text.as_ref().unwrap().vocabulary, Vocabulary::Characters { characters });
    assert!(noted(&dataset, "4 distinct characters occur: these are the vocabulary"));
    let both = [documents(&dataset, Split::Train), documents(&dataset, Split::Validation)].concat().concat();
    assert_eq!(both, text);

    let whole =
        packed(&root.path().join("book.txt"), &Options { holdout: 0.0, ..Options::default() }).unwrap();
    assert_eq!((whole.card().elements(Split::Train), whole.stream(Split::Validation).is_none()), (999, true));
}

#[test]
fn many_characters_make_bytes_the_vocabulary() {
    let root = tempfile::tempdir().unwrap();
    let text: String = (0..1025).filter_map(|i| char::from_u32(0x4e00 + i)).collect();
    write(root.path(), "x.txt", text.as_bytes());
    let dataset = packed(&root.path().join("x.txt"), &Options::default()).unwrap();
    assert_eq!(dataset.card().text.as_ref().unwrap().vocabulary, Vocabulary::Bytes);
    assert!(noted(&dataset, "1025 distinct characters occur: the vocabulary is the 256 bytes"));
    // Cut between characters all the same: 922 of three bytes.
    assert_eq!(dataset.card().elements(Split::Train), 922 * 3);
    let asked = packed(&root.path().join("x.txt"), &with(VocabularyKind::Characters)).unwrap();
    assert_eq!(asked.card().elements(Split::Train), 922);
    assert_eq!(asked.card().text.as_ref().unwrap().vocabulary.len(), 1025);
    assert!(asked.stream(Split::Train).unwrap().tokens(0..3) == [0, 1, 2]);
}

/// A few pages with all sorts of words, lines and spaces in them.
fn prose(seed: usize) -> String {
    let words =
        ["the", "sea", "was", "  grey", "and,", "naïve", "don't", "1904", "🦀", "\n\n\tso", "it", "went\n"];
    (0..600).map(|i| format!("{} ", words[(i * i + seed * 7 + i / 5) % words.len()])).collect()
}

#[test]
fn all_vocabularies_give_the_text_back() {
    let root = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..20).map(prose).collect();
    for (i, text) in texts.iter().enumerate() {
        write(root.path(), &format!("{i:02}.txt"), text.as_bytes());
    }
    let mut sorted = texts.clone();
    sorted.sort();
    let mut lengths = Vec::new();
    for kind in [VocabularyKind::Bytes, VocabularyKind::Characters, VocabularyKind::Bpe] {
        let size = (kind == VocabularyKind::Bpe).then_some(300);
        let options = Options { vocabulary_size: size, ..with(kind) };
        let dataset = packed(root.path(), &options).unwrap();
        assert_eq!(dataset.card().split_by, SplitBy::Content);
        assert_eq!(all_documents(&dataset), sorted, "{kind:?}");
        let vocabulary = &dataset.card().text.as_ref().unwrap().vocabulary;
        let stream = dataset.require_stream(Split::Train).unwrap();
        for i in 0..stream.documents() {
            let tokens = stream.tokens(stream.document(i));
            assert_eq!(vocabulary.encode(&vocabulary.decode(&tokens)).unwrap(), tokens);
        }
        lengths.push((vocabulary.len(), stream.len()));
    }
    let [bytes, characters, bpe] = lengths[..] else { panic!("three vocabularies") };
    assert!(bytes.0 == 256 && characters.0 < 60 && bpe.0 == 300, "{lengths:?}");
    assert!(bytes.1 > characters.1 && bpe.1 * 2 < characters.1, "merges shorten the text: {lengths:?}");
}

#[test]
fn bpe_takes_any_bytes_and_is_stored_with_the_data() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.txt", prose(1).repeat(40).as_bytes());
    let options = Options { vocabulary_size: Some(290), ..with(VocabularyKind::Bpe) };
    let dataset = packed(&root.path().join("x.txt"), &options).unwrap();
    let vocabulary = dataset.card().text.clone().unwrap().vocabulary;
    let all: Vec<u8> = (0..=255).chain(*b"\xe2\x82 the sea \xff\xf0\x9f").collect();
    assert_eq!(vocabulary.decode(&vocabulary.encode(&all).unwrap()), all);
    let long = [b"x".repeat(200_000), "é".repeat(100_001).into_bytes(), b"\n".repeat(7)].concat();
    assert_eq!(vocabulary.decode(&vocabulary.encode(&long).unwrap()), long);
    let json = serde_json::to_string(&vocabulary).unwrap();
    assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
    assert!(serde_json::from_str::<Vocabulary>(r#"{"kind":"bpe","tokenizer":"{}"}"#).is_err());
}

#[test]
fn characters_outside_the_vocabulary_are_named() {
    let vocabulary = Vocabulary::Characters { characters: vec!['a', 'b', 'é'] };
    assert_eq!(vocabulary.encode("abé".as_bytes()).unwrap(), [0, 1, 2]);
    assert_eq!(vocabulary.decode(&[2, 0]), "éa".as_bytes());
    says(
        &told(&vocabulary.encode("aéxb".as_bytes()).unwrap_err()),
        &["'x' (U+0078) at byte 3", "3 characters", "`vocabulary` of bytes"],
    );
    says(&vocabulary.encode("ab€".as_bytes()).unwrap_err().to_string(), &["'€' (U+20AC) at byte 2"]);
    says(&vocabulary.encode(b"ab\xff").unwrap_err().to_string(), &["0xff, not UTF-8, at byte 2"]);
    assert!(std::panic::catch_unwind(|| vocabulary.decode(&[3])).is_err());
}

#[test]
fn folders_and_archives_are_the_same_text_with_splits_and_classes() {
    let root = tempfile::tempdir().unwrap();
    let texts: Vec<(String, String)> = ["train/neg", "train/pos", "test/pos"]
        .iter()
        .flat_map(|place| (0..4).map(move |i| (format!("reviews/{place}/{i}.txt"), format!("{place} {i}\n"))))
        .collect();
    let files: Vec<(&str, &[u8])> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let files = [files, vec![("reviews/README.md", b"about".as_slice())]].concat();
    files.iter().for_each(|(name, bytes)| write(root.path(), &format!("folder/{name}"), bytes));
    write(root.path(), "a.tar", &tar(&files));
    write(root.path(), "b.tar.gz", &gzip(&tar(&files)));
    write(root.path(), "c.zip", &zip(&files));
    let mut fingerprints = Vec::new();
    for name in ["folder", "a.tar", "b.tar.gz", "c.zip"] {
        let dataset = packed(&root.path().join(name), &Options::default()).unwrap();
        let card = dataset.card();
        assert_eq!(
            (card.split_by, &card.classes[..]),
            (SplitBy::Source, &["neg", "pos"].map(String::from)[..])
        );
        assert_eq!((card.count(Split::Train), card.count(Split::Test)), (8, 4));
        assert_eq!(card.splits[0].class_counts, [4, 4]);
        assert_eq!(documents(&dataset, Split::Train)[5], "train/pos 1\n");
        assert_eq!(dataset.stream(Split::Train).unwrap().label(5), Some(1));
        assert!(noted(&dataset, "1 other file was left alone"), "{:?}", card.notes);
        fingerprints.push(card.fingerprint.clone());
    }
    assert!(fingerprints.iter().all(|print| *print == fingerprints[0]));
}

#[test]
fn files_may_name_the_splits() {
    let root = tempfile::tempdir().unwrap();
    for split in ["train", "valid", "test"] {
        write(root.path(), &format!("wiki.{split}.txt"), format!("this is {split}").as_bytes());
    }
    let dataset = packed(root.path(), &Options::default()).unwrap();
    assert_eq!(documents(&dataset, Split::Validation), ["this is valid"]);
    assert_eq!(documents(&dataset, Split::Test), ["this is test"]);
}

#[test]
fn patterns_hold_files_out() {
    let root = tempfile::tempdir().unwrap();
    for name in ["Dickens_Hard.txt", "Dickens_Tale.txt", "Doyle_Hound.txt", "Stevenson_Isle.txt"] {
        write(root.path(), name, name.as_bytes());
    }
    let options = Options {
        validation_files: vec!["Stevenson*".into()],
        test_files: vec!["Doyle*".into(), "*Tale*".into()],
        ..Options::default()
    };
    let dataset = packed(root.path(), &options).unwrap();
    assert_eq!(documents(&dataset, Split::Train), ["Dickens_Hard.txt"]);
    assert_eq!(documents(&dataset, Split::Validation), ["Stevenson_Isle.txt"]);
    assert_eq!(documents(&dataset, Split::Test), ["Dickens_Tale.txt", "Doyle_Hound.txt"]);
    let wrong = Options { test_files: vec!["Austen*".into()], ..Options::default() };
    says(&told(&packed(root.path(), &wrong).unwrap_err()), &["`test_files` cannot be Austen*"]);
    let wrong = Options { test_files: vec!["[".into()], ..Options::default() };
    says(&told(&packed(root.path(), &wrong).unwrap_err()), &["`test_files` cannot be ["]);
}

#[test]
fn marks_and_line_ends_are_changed_and_counted() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.txt", b"\xef\xbb\xbfone\r\ntwo\r\n");
    write(root.path(), "b.txt", b"\xef\xbb\xbfthree\rfour\n");
    write(root.path(), "c.txt", b"\xef\xbb\xbf");
    write(root.path(), "d.txt", b"\xef\xbb\xbf\r\n\xff");
    let dataset = packed(root.path(), &Options { holdout: 0.0, ..Options::default() }).unwrap();
    assert_eq!(documents(&dataset, Split::Train), ["one\ntwo\n", "three\rfour\n"]);
    for note in ["3 byte order marks", "2 line ends CRLF", "1 empty document was left out"] {
        assert!(noted(&dataset, note), "{note}: {:?}", dataset.card().notes);
    }
}

#[test]
fn lines_are_documents_when_asked() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "names.txt", b"emma\r\nolivia\n\nava\nemma");
    let options = Options { lines: true, holdout: 0.0, ..Options::default() };
    let dataset = packed(&root.path().join("names.txt"), &options).unwrap();
    assert_eq!(documents(&dataset, Split::Train), ["emma", "olivia", "ava", "emma"]);
    assert!(noted(&dataset, "1 empty document was left out") && dataset.card().text.as_ref().unwrap().lines);
    assert_eq!(dataset.card().duplicates, 1);
    let Vocabulary::Characters { characters } = &dataset.card().text.as_ref().unwrap().vocabulary else {
        panic!("few characters")
    };
    assert_eq!(characters.iter().collect::<String>(), "aeilmov", "the end of a line is no character");
}

#[test]
fn records_are_documents_and_broken_ones_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let records = b"\xef\xbb\xbf{\"text\": \"one\\r\\n\", \"id\": 7}\n\n{\"text\": \"two \\u00e9\"}\n{\"text\": \"thr\n{\"title\": \"x\"}\n{\"text\": 5}\n{\"text\": \"\xff\"}\n{\"text\": \"\"}\n{\"text\": \"last\"}";
    write(root.path(), "x.jsonl", records);
    write(root.path(), "y.jsonl.gz", &gzip(records));
    for name in ["x.jsonl", "y.jsonl.gz"] {
        let options = Options { holdout: 0.0, ..Options::default() };
        let dataset = packed(&root.path().join(name), &options).unwrap();
        assert_eq!(documents(&dataset, Split::Train), ["one\n", "two é", "last"]);
        let skipped = &dataset.card().skipped;
        let listed: Vec<_> = skipped.list.iter().map(|file| file.name.clone()).collect();
        assert_eq!((skipped.count, listed), (4, [4, 5, 6, 7].map(|line| format!("{name}:{line}")).to_vec()));
        says(&skipped.list[1].reason, &["missing field `text`"]);
        says(&skipped.list[3].reason, &["byte 10 of the line is not UTF-8"]);
        assert!(
            noted(&dataset, "1 empty document was left out")
                && noted(&dataset, "1 line end CRLF was made LF")
        );
        assert!(noted(&dataset, "1 byte order mark was removed"));
    }
    let limits = poiesis_collect::Limits { file_bytes: 40, ..Default::default() };
    let long = format!("{{\"text\": \"{}\"}}\n{{\"text\": \"short\"}}\n", "x".repeat(100));
    write(root.path(), "long.jsonl", long.as_bytes());
    let dataset = packed(&root.path().join("long.jsonl"), &Options { limits, ..Options::default() }).unwrap();
    assert_eq!(all_documents(&dataset).concat(), "short");
    says(&dataset.card().skipped.list[0].reason, &["limit of 40"]);
}

#[test]
fn texts_that_are_no_utf8_are_errors_alone_and_skipped_among_others() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "bad.txt", b"caf\xe9 ~");
    for kind in [VocabularyKind::Bytes, VocabularyKind::Characters, VocabularyKind::Bpe] {
        let error = packed(&root.path().join("bad.txt"), &with(kind)).unwrap_err().to_string();
        says(&error, &["bad.txt cannot be used", "byte 3 (0xe9) is not UTF-8"]);
    }
    write(root.path(), "good.txt", b"abc");
    let dataset = packed(root.path(), &Options { holdout: 0.0, ..Options::default() }).unwrap();
    assert_eq!(documents(&dataset, Split::Train), ["abc"]);
    let skipped = &dataset.card().skipped;
    assert_eq!((skipped.count, skipped.list[0].name.as_str()), (1, "bad.txt"));
    says(&skipped.list[0].reason, &["byte 3 (0xe9)"]);
    let vocabulary = &dataset.card().text.as_ref().unwrap().vocabulary;
    assert_eq!(vocabulary.len(), 3, "characters of a skipped text are none of the vocabulary");

    write(root.path(), "lines/a.txt", b"one\ntwo\nthr\xffee\n");
    write(root.path(), "lines/b.txt", b"four\nfive\n");
    let options = Options { lines: true, holdout: 0.0, ..Options::default() };
    let dataset = packed(&root.path().join("lines"), &options).unwrap();
    assert_eq!(documents(&dataset, Split::Train), ["four", "five"]);
}

#[test]
fn sources_without_text() {
    let root = tempfile::tempdir().unwrap();
    let message = |name: &str, bytes: &[u8]| {
        write(root.path(), name, bytes);
        packed(&root.path().join(name), &Options::default()).unwrap_err().to_string()
    };
    says(&message("empty.txt", b""), &["empty.txt", "it is empty"]);
    says(&message("mark.txt", b"\xef\xbb\xbf"), &["mark.txt", "no text that is not empty"]);
    says(&message("x.jsonl", b"{}\nno\n"), &["none of the 2 documents could be used", "x.jsonl:1"]);
    let cut = gzip(prose(3).as_bytes());
    says(&message("cut.txt.gz", &cut[..cut.len() / 2]), &["cut.txt.gz", "cannot be read"]);
    for (options, parts) in [
        (Options { vocabulary_size: Some(300), ..Options::default() }, ["`vocabulary_size`", "bpe"]),
        (Options { vocabulary_size: Some(9), ..with(VocabularyKind::Bpe) }, ["`vocabulary_size`", "257"]),
        (Options { sample_rate: Some(5), ..Options::default() }, ["`sample_rate`", "1000"]),
        (Options { label_from_name: true, ..Options::default() }, ["`label_from_name`", "`_`"]),
    ] {
        write(root.path(), "fine.txt", b"fine");
        says(&told(&packed(&root.path().join("fine.txt"), &options).unwrap_err()), &parts);
    }
}

#[test]
fn the_data_do_not_depend_on_threads_or_shards() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..30 {
        write(root.path(), &format!("{i}.txt"), prose(i).repeat(i % 4 * 20 + 1).as_bytes());
    }
    for kind in [VocabularyKind::Bytes, VocabularyKind::Characters, VocabularyKind::Bpe] {
        let options = Options { vocabulary_size: (kind == VocabularyKind::Bpe).then_some(400), ..with(kind) };
        let one = files_with_threads(root.path(), &options, 1);
        assert!(one == files_with_threads(root.path(), &options, 3), "{kind:?}");
        let whole = packed(root.path(), &options).unwrap();
        let small = Options { shard_bytes: 5000, ..options };
        let sharded = packed(root.path(), &small).unwrap();
        assert!(sharded.card().splits[0].shards.len() > 20);
        assert_eq!(whole.card().fingerprint, sharded.card().fingerprint, "{kind:?}");
        assert_eq!(all_documents(&whole), all_documents(&sharded));
    }
}

#[test]
fn what_gives_tokens_their_meaning_is_part_of_the_fingerprint() {
    let fingerprint = |text: &str| {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "x.txt", text.as_bytes());
        packed(&root.path().join("x.txt"), &Options::default()).unwrap().card().fingerprint.clone()
    };
    assert_ne!(fingerprint("abab"), fingerprint("cdcd"), "the same indices of other characters");
}

#[test]
fn raw_text_is_packed_into_the_cache_once() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.txt", prose(1).as_bytes());
    let (source, cache) = (root.path().join("x.txt"), root.path().join("cache"));
    let open =
        |options: &Options| open_or_collect(source.to_str().unwrap(), options, &cache, &|_| ()).unwrap();
    let first = open(&Options::default());
    assert_eq!(first.folder(), open(&Options::default()).folder());
    assert_ne!(first.folder(), open(&with(VocabularyKind::Bytes)).folder());
}

#[test]
fn damaged_streams_are_refused() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.txt", b"one\ntwo\nthree\n");
    let out = root.path().join("set");
    let options = Options { lines: true, holdout: 0.0, ..Options::default() };
    poiesis_collect::collect(&root.path().join("x.txt"), &out, &options, &|_| ()).unwrap();
    let (shard, card) = (out.join("train-00000.safetensors"), out.join("dataset.json"));
    let (bytes, text) = (std::fs::read(&shard).unwrap(), std::fs::read_to_string(&card).unwrap());
    // Eleven tokens, then the starts 0, 3 and 6.
    let mut changed = bytes.clone();
    changed[1024 + 11 + 8] = 200;
    std::fs::write(&shard, &changed).unwrap();
    says(&Dataset::open(&out).unwrap_err().to_string(), &["document 1 cannot begin at 200 of 11"]);
    changed[1024 + 11 + 8] = 4;
    std::fs::write(&shard, &changed).unwrap();
    says(&Dataset::open(&out).unwrap().verify().unwrap_err().to_string(), &["has changed since"]);
    std::fs::write(&shard, &bytes).unwrap();
    for (from, to, part) in [
        ("\"elements\": 11", "\"elements\": 12", "do not add up to 12 elements"),
        ("\"kind\": \"text\"", "\"kind\": \"points\"", "cannot have shape"),
        ("\"characters\": \"", "\"characters\": \"zz", "not sorted"),
        ("\"text\": {", "\"txet\": {", "do not fit together"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&card, text.replacen(from, to, 1)).unwrap();
        says(&Dataset::open(&out).unwrap_err().to_string(), &["dataset.json is damaged", part]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_documents_come_back(texts in proptest::collection::vec("\\PC{0,40}|[a-c \n\r]{0,300}", 1..20), kind in 0..3_usize, shard in 1..500_u64) {
        let root = tempfile::tempdir().unwrap();
        let records: String = texts.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect();
        write(root.path(), "x.jsonl", records.as_bytes());
        let kind = [VocabularyKind::Bytes, VocabularyKind::Characters, VocabularyKind::Bpe][kind];
        let options = Options { shard_bytes: shard, holdout: 0.3, ..with(kind) };
        let mut expected: Vec<String> = texts
            .iter()
            .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n"))
            .filter(|text| !text.is_empty())
            .collect();
        expected.sort();
        match packed(&root.path().join("x.jsonl"), &options) {
            // A single document is cut in two.
            Ok(dataset) if expected.len() == 1 => {
                let parts = [documents(&dataset, Split::Train), documents(&dataset, Split::Validation)];
                prop_assert_eq!(parts.concat().concat(), expected.concat());
            }
            Ok(dataset) => prop_assert_eq!(all_documents(&dataset), expected),
            Err(error) => prop_assert!(expected.is_empty(), "{}", error),
        }
    }
}

/// A file of the shared data; tests pass by where it is not there.
#[expect(clippy::print_stderr, reason = "who runs the tests should know what was left out")]
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/text").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

#[test]
fn tiny_shakespeare_is_cut_as_usual() {
    let Some(path) = shared("tinyshakespeare.txt") else { return };
    let dataset = packed(&path, &Options::default()).unwrap();
    let card = dataset.card();
    assert_eq!((card.elements(Split::Train), card.elements(Split::Validation)), (1_003_854, 111_540));
    let vocabulary = &card.text.as_ref().unwrap().vocabulary;
    assert_eq!(vocabulary.len(), 65);
    let stream = dataset.require_stream(Split::Train).unwrap();
    let begins = vocabulary.decode(&stream.tokens(0..14));
    // As in nanoGPT, whose characters are sorted the same way.
    assert_eq!(begins, b"First Citizen:");
    assert_eq!(stream.tokens(0..5), [18, 47, 56, 57, 58]);
}

#[test]
fn the_names_are_all_there() {
    let Some(path) = shared("names.txt") else { return };
    let dataset = packed(&path, &Options { lines: true, ..Options::default() }).unwrap();
    let card = dataset.card();
    assert_eq!((card.total(), card.text.as_ref().unwrap().vocabulary.len()), (32_033, 26));
    let held = card.count(Split::Validation);
    assert!((2_900..3_500).contains(&held), "{held} held out");
    assert_eq!(documents(&dataset, Split::Train)[0], "emma");
}

#[test]
fn the_novels_lose_marks_and_carriage_returns() {
    let Some(path) = shared("novels.tar.gz") else { return };
    let options = Options {
        validation_files: vec!["Stevenson*".into()],
        test_files: vec!["Doyle*".into()],
        ..Options::default()
    };
    let dataset = packed(&path, &options).unwrap();
    let card = dataset.card();
    assert_eq!((card.total(), card.skipped.count, card.split_by), (13, 0, SplitBy::Source));
    assert!(noted(&dataset, "13 byte order marks") && noted(&dataset, "line ends CRLF"), "{:?}", card.notes);
    assert!(card.count(Split::Validation) > 0 && card.count(Split::Test) > 0);
    let Vocabulary::Characters { characters } = &card.text.as_ref().unwrap().vocabulary else {
        panic!("few characters")
    };
    assert!(!characters.contains(&'\r') && !characters.contains(&'\u{feff}'));
}
