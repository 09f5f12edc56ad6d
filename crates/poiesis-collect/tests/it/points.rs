//! Points: which tables of numbers are read, how, and what becomes of rows that cannot be.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::common::*;
use poiesis_collect::{Dataset, Error, Kind, Options, Split, SplitBy, preview};

/// A file collected by itself with nothing held out.
fn table(name: &str, bytes: &[u8]) -> Result<Dataset, Error> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), name, bytes);
    packed(&root.path().join(name), &Options { holdout: 0.0, ..Options::default() })
}

/// All points of a split.
fn points(dataset: &Dataset, split: Split) -> Vec<Vec<f32>> {
    let view = dataset.require(split).unwrap();
    (0..view.len()).map(|i| view.point(i).to_vec()).collect()
}

fn notes(dataset: &Dataset) -> String {
    dataset.card().notes.join("\n")
}

/// `count` rows of three columns below their names.
fn rows(count: usize) -> String {
    let row = |i: usize| format!("{},{},{}\n", i, i as f64 * 0.5 - 3.0, i % 7);
    format!("a,b,c\n{}", (0..count).map(row).collect::<String>())
}

#[test]
fn each_row_is_a_point_and_columns_are_described() {
    let dataset = table("speed.csv", b"speed,\"height, in m\"\n1,-10\n2,0.5\n3,-10\n6,2e1\n").unwrap();
    let card = dataset.card();
    assert_eq!((card.kind, &card.shape[..], card.name.as_str()), (Kind::Points, &[2][..], "speed"));
    assert_eq!((card.total(), card.skipped.count, card.duplicates), (4, 0, 0));
    let train = points(&dataset, Split::Train);
    assert_eq!(train, [[1.0, -10.0], [2.0, 0.5], [3.0, -10.0], [6.0, 20.0]]);
    let about = card.points.as_ref().unwrap();
    assert_eq!(about.columns, ["speed", "height, in m"]);
    assert_eq!((&about.low[..], &about.high[..]), (&[1.0, -10.0][..], &[6.0, 20.0][..]));
    assert_eq!(card.channel_mean, [3.0, 0.125]);
    // The mean of the squared distances to it: 14 / 4, and (2 · 10.125² + 0.375² + 19.875²) / 4.
    for (found, square) in card.channel_std.iter().zip([3.5, 150.046_875_f64]) {
        assert!((found - square.sqrt()).abs() < 1e-9, "{found} for {square}");
    }
    assert!(notes(&dataset).contains("separated by commas; the first line names them"), "{:?}", card.notes);
}

#[test]
fn all_ways_to_write_a_table_are_read() {
    let expected = [[1.5, -2.0], [3000.0, 0.25]];
    let gzipped = gzip(b"1.5,-2\n3e3,.25\n");
    let files: [(&str, &[u8], &str); 12] = [
        ("a.csv", b"1.5,-2\n3e3,.25", "commas; no line names them"),
        ("a.csv", b"\xef\xbb\xbfx,y\r\n1.5,-2\r\n3E+3,+0.25\r\n\r\n", "commas; the first line names them"),
        ("a.csv", b"# made by hand\nx, y\n1.5, -2\n\n  # more\n3000, 0.25\n", "commas"),
        ("a.csv", b"\"1.5\",\"-2\"\n\"3000\" , \"0.25\"\n", "commas"),
        ("a.csv", b"x;y\n1,5;-2,0\n3000;0,25\n", "semicolons and decimals by a comma"),
        ("a.csv", b"1.5;-2\n3000;0.25\n", "semicolons; no line"),
        ("a.tsv", b"x\ty\n1.5\t-2\n3000\t0.25\n", "tabs"),
        ("a.csv", b"1.5\t-2\n3000\t0.25\n", "tabs"),
        ("a.csv", b"  1.500000e+00 -2.0\n   3.000000e+03   0.25\n", "spaces"),
        ("a.csv", b"1.5,-2,\n3000,0.25,\n", "commas"),
        ("a.csv", b"x,y\r1.5,-2\r3000,0.25", "commas"),
        ("a.csv.gz", &gzipped, "commas"),
    ];
    for (name, bytes, note) in files {
        let shown = String::from_utf8_lossy(bytes);
        let dataset = table(name, bytes).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(points(&dataset, Split::Train), expected, "{shown}");
        assert_eq!((dataset.card().skipped.count, dataset.card().name.as_str()), (0, "a"), "{shown}");
        assert!(notes(&dataset).contains(note), "{shown}: {:?}", dataset.card().notes);
    }
}

#[test]
fn bad_rows_are_skipped_counted_and_named() {
    let good: String = (0..20).map(|i| format!("{i},{}\n", i * i)).collect();
    let bad = "1,two\n1,2,3\n4\nnan,5\n6,-inf\n7,\n8e38,9\n\"10,11\n";
    let dataset = table("p.csv", format!("x,y\n{good}{bad}12,13\n").as_bytes()).unwrap();
    let card = dataset.card();
    assert_eq!((card.total(), card.skipped.count), (21, 8));
    let listed: Vec<_> =
        card.skipped.list.iter().map(|row| format!("{}: {}", row.name, row.reason)).collect();
    assert_eq!(
        listed,
        [
            "p.csv:22: `two` in column 2 (y) is not a number",
            "p.csv:23: it has 3 fields, and there are 2 columns",
            "p.csv:24: it has 1 fields, and there are 2 columns",
            "p.csv:25: column 1 (x) is NaN",
            "p.csv:26: column 2 (y) is -inf",
            "p.csv:27: column 2 (y) is empty",
            "p.csv:28: 8e38 in column 1 (x) is beyond what an f32 holds",
            "p.csv:29: a quote is not closed",
        ]
    );
    assert_eq!(points(&dataset, Split::Train)[20], [12.0, 13.0], "rows after a quote that is not closed");
}

#[test]
fn a_table_without_one_good_row_says_why() {
    let said = |bytes: &[u8]| {
        let error = table("p.csv", bytes).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        format!("{error} / {hint}")
    };
    let missing = said(b"x,y\n1,nan\n,2\n3,inf\n");
    assert!(
        missing.contains("none of the 3 points could be used; the first, p.csv:2: column 2 (y) is NaN"),
        "{missing}"
    );
    let texts = said(b"a,b,name\n1,2,ann\n3,4,bob\n");
    assert!(texts.contains("most values are not numbers in column 3 (name) (`ann`)"), "{texts}");
    assert!(texts.contains("/ put a number in place of each text or date"), "{texts}");
    // What only the rows after those that are looked at show.
    let late = (0..700).map(|row| format!("1,{}\n", if row < 300 { "2" } else { "two" }));
    let late = said(format!("x,y\n{}", late.collect::<String>()).as_bytes());
    assert!(
        late.contains("400 of its 700 rows are not numbers; the first, p.csv:302: `two` in column 2"),
        "{late}"
    );
    assert!(late.contains("/ keep the columns of numbers alone"), "{late}");
    assert!(said(b"x\n1\n2\n").contains("single column"));
    assert!(said(b"x,y\n").contains("no rows of numbers"));
    assert!(said(b"# nothing\n\n").contains("no rows"));
    assert!(said(b"").contains("it is empty"));
    assert!(said(b"\xff\xfe1\x00,\x002\x00\n\x00").contains("UTF-16"));
    let short = gzip(b"1,2\n3,4\n");
    let error = table("p.csv.gz", &short[..short.len() - 12]).map(|set| set.card().skipped.clone());
    let reason = error.map_or_else(|error| error.to_string(), |skipped| skipped.list[0].reason.clone());
    assert!(reason.contains("cannot be read"), "{reason}");
}

#[test]
fn text_is_not_taken_for_points() {
    let reviews = b"id,text\n1,a good film\n2,\"10\"\n3,\"well, no\"\n4,7\n5,fine\n";
    let error = table("reviews.csv", reviews).unwrap_err().to_string();
    assert!(error.contains("most values are not numbers in column 2 (text) (`a good film`)"), "{error}");
    let words = b"text,author\ngood,ann\nbad,bob\n";
    let error = table("words.csv", words).unwrap_err().to_string();
    assert!(error.contains("none of its columns holds numbers: column 1 (text) (`good`)"), "{error}");
    // Beside texts a table is about them, as it was before tables were read.
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.txt", b"hello");
    write(root.path(), "b.txt", b"world");
    write(root.path(), "lengths.csv", b"1,5\n2,5\n");
    let dataset = packed(root.path(), &Options::default()).unwrap();
    assert_eq!((dataset.card().kind, dataset.card().total()), (Kind::Text, 2));
    assert!(notes(&dataset).contains("1 table of points was left alone"), "{:?}", dataset.card().notes);
}

#[test]
fn several_tables_are_one_data_set_if_their_columns_agree() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "set/a.csv", b"x,y\n1,2\n3,4\n");
    write(root.path(), "set/b.tsv", b"x\ty\n5\t6\n");
    write(root.path(), "set/c.csv", b"7,8\n");
    write(root.path(), "set/notes.csv", b"who,what\nann,asked\nbob,answered\n");
    let options = Options { holdout: 0.0, ..Options::default() };
    let expected = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
    let dataset = packed(&root.path().join("set"), &options).unwrap();
    assert_eq!(points(&dataset, Split::Train), expected);
    assert_eq!(dataset.card().points.as_ref().unwrap().columns, ["x", "y"]);
    assert_eq!(dataset.card().skipped.list[0].name, "notes.csv");
    assert!(
        notes(&dataset).contains("in 1 file, columns are separated by tabs"),
        "{:?}",
        dataset.card().notes
    );
    // The same in archives.
    let files: [(&str, &[u8]); 2] = [("a.csv", b"x,y\n1,2\n3,4\n"), ("b.csv", b"x;y\n5;6\n7;8\n")];
    write(root.path(), "set.zip", &zip(&files));
    write(root.path(), "set.tar.gz", &gzip(&tar(&files)));
    for name in ["set.zip", "set.tar.gz"] {
        assert_eq!(points(&packed(&root.path().join(name), &options).unwrap(), Split::Train), expected);
    }
    let differs = |name: &str, bytes: &[u8], parts: [&str; 2]| {
        write(root.path(), "other/a.csv", b"x,y\n1,2\n");
        write(root.path(), &format!("other/{name}"), bytes);
        let error = packed(&root.path().join("other"), &options).unwrap_err();
        assert!(matches!(error, Error::MixedColumns { .. }) && error.hint().is_some(), "{error}");
        parts.iter().for_each(|part| assert!(error.to_string().contains(part), "{error}"));
        std::fs::remove_dir_all(root.path().join("other")).unwrap();
    };
    differs("b.csv", b"1,2,3\n", ["a.csv has 2 columns (x, y)", "b.csv has 3 columns"]);
    differs("b.csv", b"y,x\n1,2\n", ["a.csv has 2 columns (x, y)", "b.csv has 2 columns (y, x)"]);
}

#[test]
fn splits_and_classes_come_from_names_or_from_the_content_of_rows() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "named/train.csv", b"1,2\n3,4\n");
    write(root.path(), "named/test.csv", b"5,6\n");
    let dataset = packed(&root.path().join("named"), &Options::default()).unwrap();
    assert_eq!(
        (dataset.card().split_by, points(&dataset, Split::Test)),
        (SplitBy::Source, vec![vec![5.0, 6.0]])
    );
    write(root.path(), "classes/cat/a.csv", b"1,2\n");
    write(root.path(), "classes/dog/a.csv", b"3,4\n5,6\n");
    let options = Options { holdout: 0.0, ..Options::default() };
    let dataset = packed(&root.path().join("classes"), &options).unwrap();
    let view = dataset.require(Split::Train).unwrap();
    assert_eq!(dataset.card().classes, ["cat", "dog"]);
    assert_eq!([0, 1, 2].map(|i| view.label(i)), [Some(0), Some(1), Some(1)]);
    // A tenth by content, the same whatever the order and however it is written; equal rows stay together and are all kept.
    write(root.path(), "all.csv", rows(2000).as_bytes());
    let mut lines: Vec<String> = rows(2000).lines().map(|line| line.replace(',', ";")).collect();
    lines[1..].reverse();
    lines.extend(lines[1..].to_vec());
    write(root.path(), "twice.csv", lines.join("\n").as_bytes());
    let once = packed(&root.path().join("all.csv"), &Options::default()).unwrap();
    let twice = packed(&root.path().join("twice.csv"), &Options::default()).unwrap();
    let held = once.card().count(Split::Validation);
    assert!((150..250).contains(&held), "{held} of 2000 held out");
    assert_eq!((once.card().total(), once.card().count(Split::Train)), (2000, 2000 - held));
    assert_eq!((twice.card().total(), twice.card().count(Split::Validation)), (4000, 2 * held));
    assert_eq!((twice.card().duplicates, twice.card().duplicates_across_splits), (2000, 0));
}

#[test]
fn what_an_f32_does_not_hold_is_said() {
    let dataset = table("p.csv", b"1700000001,0.1\n1700000002,0.2\n").unwrap();
    assert!(
        notes(&dataset).contains("2 values have more digits than an f32 keeps"),
        "{:?}",
        dataset.card().notes
    );
    let dataset = table("p.csv", b"0.1,16777216\n-2.5e-3,7\n").unwrap();
    assert!(!notes(&dataset).contains("digits"), "{:?}", dataset.card().notes);
}

#[test]
fn many_columns_are_kept_and_too_many_refused() {
    let row = |columns: usize| (0..columns).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    let dataset = table("wide.csv", format!("{}\n{}\n", row(4096), row(4096)).as_bytes()).unwrap();
    assert_eq!(dataset.card().shape, [4096]);
    assert_eq!(points(&dataset, Split::Train)[1][4095], 4095.0);
    let error = table("wide.csv", row(4097).as_bytes()).unwrap_err().to_string();
    assert!(error.contains("4097 columns; up to 4096"), "{error}");
}

#[test]
fn files_are_the_same_for_any_number_of_threads_and_shards_leave_no_trace() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "p.csv", rows(3000).as_bytes());
    let source = root.path().join("p.csv");
    let options = Options::default();
    assert!(files_with_threads(&source, &options, 1) == files_with_threads(&source, &options, 4));
    let whole = packed(&source, &options).unwrap();
    let cut = packed(&source, &Options { shard_bytes: 1000, ..options }).unwrap();
    assert!(cut.card().splits[0].shards.len() > 3);
    assert_eq!(whole.card().fingerprint, cut.card().fingerprint);
    assert_eq!(points(&whole, Split::Train), points(&cut, Split::Train));
}

#[test]
fn names_of_columns_are_part_of_the_fingerprint() {
    let of = |bytes: &[u8]| table("p.csv", bytes).unwrap().card().fingerprint.clone();
    assert_ne!(of(b"x,y\n1,2\n"), of(b"x,z\n1,2\n"));
    assert_eq!(of(b"x,y\n1,2\n"), of(b"x;y\n1;2\n"));
}

#[test]
fn a_preview_has_a_plot_for_each_pair_of_the_first_columns() {
    let size = |bytes: &[u8]| {
        let dataset = table("p.csv", bytes).unwrap();
        let picture = preview(&dataset, Split::Train, 100).unwrap();
        assert_eq!(picture.pixels.len(), (picture.width * picture.height * 3) as usize);
        assert!(picture.pixels.chunks_exact(3).any(|pixel| pixel == [144, 176, 213]), "a dot is seen");
        (picture.width, picture.height)
    };
    assert_eq!(size(b"1000,0.1\n1001,0.2\n1003,0.9\n"), (512, 512));
    assert_eq!(size(b"1,2,3\n4,5,6\n"), (2 * 258 + 2, 2 * 258 + 2));
    assert_eq!(size(b"1,2,3,4\n4,5,6,4\n"), (3 * 258 + 2, 2 * 258 + 2));
    assert_eq!(size(b"1,2,3,4,5,6\n4,5,6,4,5,6\n"), (3 * 258 + 2, 2 * 258 + 2));
}

#[test]
fn a_path_that_is_opened_is_packed_once() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "p.csv", rows(50).as_bytes());
    let path = root.path().join("p.csv");
    let open = || {
        let cache = root.path().join("cache");
        poiesis_collect::open_or_collect(path.to_str().unwrap(), &Options::default(), &cache, &|_| ())
            .unwrap()
    };
    assert_eq!(open().folder(), open().folder());
    assert!(
        open().folder().file_name().is_some_and(|name| Path::new(name).to_string_lossy().starts_with("p-"))
    );
}

#[test]
fn columns_are_chosen_by_name_and_flags_are_read() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "people.csv",
        b"name,age,smoker,height\nann,31,true,1.7\nbob,45,No,1.8\ncy,,yes,1.6\n",
    );
    let path = root.path().join("people.csv");
    let columns = |names: &[&str]| Options {
        columns: names.iter().map(|&name| name.to_owned()).collect(),
        holdout: 0.0,
        ..Options::default()
    };
    let dataset = packed(&path, &columns(&["height", "smoker"])).unwrap();
    assert_eq!(points(&dataset, Split::Train), [[1.7, 1.0], [1.8, 0.0], [1.6, 1.0]]);
    assert_eq!(dataset.card().points.as_ref().unwrap().columns, ["height", "smoker"]);
    assert!(notes(&dataset).contains("3 times true or yes was read as 1"), "{}", notes(&dataset));
    let missing = packed(&path, &columns(&["height", "weight"])).unwrap_err().to_string();
    assert!(missing.contains("it has no column `weight`, but 4 columns (name, age"), "{missing}");
    assert!(matches!(packed(&path, &columns(&["age"])), Err(Error::BadOption { option: "columns", .. })));
    write(root.path(), "a.txt", b"hello");
    let error = packed(&root.path().join("a.txt"), &columns(&["age", "height"])).unwrap_err();
    assert!(matches!(error, Error::BadOption { option: "columns", .. }), "{error}");
}

#[test]
fn an_array_of_rows_and_columns_is_a_table() {
    let root = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..40).map(|i| i as f32 * 0.1 - 2.0).collect();
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    write(root.path(), "moons.npy", &npy("<f4", &[20, 2], &bytes(&values)));
    write(root.path(), "digits.npy", &npy("|u1", &[2, 4], &[0, 1, 2, 3, 250, 251, 252, 253]));
    let options = |kind| Options { kind, holdout: 0.0, ..Options::default() };
    for kind in [None, Some(Kind::Points)] {
        let dataset = packed(&root.path().join("moons.npy"), &options(kind)).unwrap();
        assert_eq!(points(&dataset, Split::Train).concat(), values);
        assert!(notes(&dataset).contains("does not name its columns"), "{}", notes(&dataset));
        assert!(!notes(&dataset).contains("digits"), "{}", notes(&dataset));
    }
    let digits = packed(&root.path().join("digits.npy"), &options(Some(Kind::Points))).unwrap();
    assert_eq!(points(&digits, Split::Train)[1], [250.0, 251.0, 252.0, 253.0]);
    write(root.path(), "cut.npy", &npy("<f4", &[20, 2], &bytes(&values[..30])));
    let cut = packed(&root.path().join("cut.npy"), &options(None)).unwrap_err().to_string();
    assert!(cut.contains("ends early"), "{cut}");
    write(root.path(), "cube.npy", &npy("<f4", &[5, 2, 4], &bytes(&values)));
    let error = packed(&root.path().join("cube.npy"), &options(Some(Kind::Points))).unwrap_err().to_string();
    assert!(error.contains("[5, 2, 4] is not one of rows and columns"), "{error}");
}
