//! What is left alone of a source, in words: files of other kinds than the one that is read, and files of formats that are not read.

use std::collections::BTreeMap;

/// Files that are left alone, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) count: u64,
    pub(crate) one: &'static str,
    pub(crate) many: &'static str,
    /// Whether an option would read them.
    pub(crate) chosen_by: bool,
}

/// The note on files that are left alone.
pub(crate) fn left_alone(left: &[Left]) -> Option<String> {
    let there: Vec<&Left> = left.iter().filter(|left| left.count > 0).collect();
    let words: Vec<String> =
        there.iter().map(|l| format!("{} {}", l.count, if l.count == 1 { l.one } else { l.many })).collect();
    let list = listed(&words)?;
    let were = if there.iter().map(|left| left.count).sum::<u64>() == 1 { "was" } else { "were" };
    let choice =
        if there.iter().any(|left| left.chosen_by) { "; choose with `kind` or `include`" } else { "" };
    Some(format!("{list} {were} left alone{choice}"))
}

/// `a, b and c`; `None` for no words.
fn listed(words: &[String]) -> Option<String> {
    let (last, before) = words.split_last()?;
    Some(if before.is_empty() { last.clone() } else { format!("{} and {last}", before.join(", ")) })
}

/// Endings of the formats of media that are not read, and what their files are to be converted to.
const UNREAD: [(&str, &[&str]); 6] = [
    (
        "JPEG or PNG",
        &[
            "heic", "heif", "avif", "jxl", "jp2", "j2k", "svg", "raw", "dng", "cr2", "cr3", "nef", "arw",
            "orf", "rw2", "raf", "psd", "xcf", "tga", "ppm", "pgm", "pbm", "pnm", "ico", "exr", "hdr", "dds",
        ],
    ),
    ("WAV or FLAC", &["m4a", "aac", "opus", "wma", "aif", "aiff", "amr", "ape", "mid", "midi"]),
    ("plain text", &["pdf", "doc", "docx", "odt", "rtf", "epub", "mobi"]),
    ("CSV", &["xls", "xlsx", "ods"]),
    ("single images", &["mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg"]),
    ("zip or tar", &["7z", "rar"]),
];

/// Files of formats that are not read, counted by the endings of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread {
    counts: BTreeMap<&'static str, u64>,
}

impl Unread {
    /// Takes note of a file, by its path in the source; `false` for one of another ending.
    pub(crate) fn add(&mut self, path: &str) -> bool {
        let ending = ending_of(path).and_then(|ending| {
            UNREAD.iter().flat_map(|(_, endings)| *endings).find(|known| known.eq_ignore_ascii_case(ending))
        });
        if let Some(ending) = ending {
            *self.counts.entry(ending).or_default() += 1;
        }
        ending.is_some()
    }

    /// The files and what they are to be converted to, a pair for each of these.
    fn parts(&self) -> Vec<(String, &'static str, u64)> {
        let part = |(target, endings): &(&'static str, &[&str])| {
            let there = self.counts.iter().filter(|(ending, _)| endings.contains(ending));
            let words: Vec<String> = there
                .clone()
                .map(|(ending, count)| {
                    format!("{count} .{ending} file{}", if *count == 1 { "" } else { "s" })
                })
                .collect();
            Some((listed(&words)?, *target, there.map(|(_, count)| count).sum()))
        };
        UNREAD.iter().filter_map(part).collect()
    }

    /// The notes on them: `12 .heic files were left alone, because they are not supported: convert them to JPEG or PNG`.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |(files, target, count): (String, &str, u64)| match count {
            1 => format!("{files} was left alone, because it is not supported: convert it to {target}"),
            _ => format!("{files} were left alone, because they are not supported: convert them to {target}"),
        };
        self.parts().into_iter().map(note).collect()
    }

    /// What they are where there is nothing else, and what to do about it: the reason and the remedy of an error.
    pub(crate) fn instead(&self) -> Option<(String, String)> {
        let (files, target, count) = self.parts().into_iter().max_by_key(|(.., count)| *count)?;
        let (supported, them) =
            if count == 1 { ("is not supported", "it") } else { ("are not supported", "them") };
        Some((format!("it holds {files}, which {supported}"), format!("convert {them} to {target}")))
    }
}

/// Why a file of that name cannot be read alone, and what to do about it, if its format is known and not read.
pub(crate) fn unread(name: &str) -> Option<(String, String)> {
    let mut one = Unread::default();
    one.add(name);
    let (_, target, _) = one.parts().into_iter().next()?;
    let ending = ending_of(name)?.to_ascii_lowercase();
    Some((format!(".{ending} files are not supported"), format!("convert it to {target}")))
}

fn ending_of(path: &str) -> Option<&str> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.rsplit_once('.').map(|(_, ending)| ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_formats_that_are_not_read_are_counted_and_named() {
        let mut unread = Unread::default();
        let is_unread =
            ["a/1.heic", "2.HEIC", "x.svg", "song.m4a", "notes.md", "heic"].map(|path| unread.add(path));
        assert_eq!(is_unread, [true, true, true, true, false, false]);
        assert_eq!(
            unread.notes(),
            [
                "2 .heic files and 1 .svg file were left alone, because they are not supported: convert them to \
                 JPEG or PNG",
                "1 .m4a file was left alone, because it is not supported: convert it to WAV or FLAC",
            ]
        );
        let (reason, remedy) = unread.instead().unwrap();
        assert_eq!(reason, "it holds 2 .heic files and 1 .svg file, which are not supported");
        assert_eq!(remedy, "convert them to JPEG or PNG");
        assert!(Unread::default().notes().is_empty() && Unread::default().instead().is_none());
        assert_eq!(super::unread("a.AVIF").unwrap().0, ".avif files are not supported");
        assert!(super::unread("a.xyz").is_none());
    }

    #[test]
    fn what_is_left_alone_is_one_sentence() {
        let left = |count, one, many, chosen_by| Left { count, one, many, chosen_by };
        assert_eq!(left_alone(&[left(0, "text", "texts", true)]), None);
        assert_eq!(
            left_alone(&[left(1, "other file", "other files", false)]).unwrap(),
            "1 other file was left alone"
        );
        assert_eq!(
            left_alone(&[left(1, "text", "texts", true), left(2, "other file", "other files", false)])
                .unwrap(),
            "1 text and 2 other files were left alone; choose with `kind` or `include`"
        );
    }
}
