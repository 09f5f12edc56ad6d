//! Names of files that are not UTF-8: names that differ in their bytes stay different, and what was assumed is said.

use encoding_rs::SHIFT_JIS;

/// Bytes as text. Those that are not UTF-8 become `\xNN`; a backslash that could then be mistaken for one of theirs is doubled.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            text.push(character);
            let next = valid[at..].chars().nth(1);
            let ends_here = next.is_none() && !chunk.invalid().is_empty();
            if character == '\\' && (ends_here || matches!(next, Some('\\' | 'x'))) {
                text.push('\\');
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    text
}

/// Whether bytes that are not UTF-8 are [`escaped`] in a name.
pub(crate) fn is_escaped(name: &str) -> bool {
    let mut chars = name.chars();
    while let Some(character) = chars.next() {
        // A pair is a backslash of the name.
        if character == '\\' && chars.next() == Some('x') {
            return true;
        }
    }
    false
}

/// What to say about names with escaped bytes.
pub(crate) fn escaped_note(count: u64) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 name is not UTF-8; its other bytes are written as \\xNN".to_owned()),
        n => Some(format!("{n} names are not UTF-8; their other bytes are written as \\xNN")),
    }
}

/// The characters of code page 437 from byte 128 on.
const HIGH: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
                    αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// How the names of a zip archive that are not UTF-8 are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CodePage {
    /// That of the format.
    #[default]
    Cp437,
    /// What Windows writes in Japan.
    ShiftJis,
}

impl CodePage {
    /// The code page of all names together: Shift-JIS where each is valid in it, in whole characters of two bytes, and code page 437
    /// would make frames of one; else 437, as the format says.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> CodePage {
        let mut frames = false;
        for name in names.filter(|name| str::from_utf8(name).is_err()) {
            let (text, _, invalid) = SHIFT_JIS.decode(name);
            // In half-width katakana almost any bytes are valid.
            if invalid || text.chars().any(|c| ('\u{ff61}'..='\u{ff9f}').contains(&c)) {
                return CodePage::Cp437;
            }
            frames |= cp437(name).chars().any(|c| ('\u{2500}'..='\u{259f}').contains(&c));
        }
        if frames { CodePage::ShiftJis } else { CodePage::Cp437 }
    }

    /// A name as text: UTF-8 where it is that.
    pub(crate) fn decode(self, name: &[u8]) -> String {
        match (str::from_utf8(name), self) {
            (Ok(text), _) => text.to_owned(),
            (Err(_), CodePage::Cp437) => cp437(name),
            (Err(_), CodePage::ShiftJis) => SHIFT_JIS.decode(name).0.into_owned(),
        }
    }

    /// What to say about so many names that are not UTF-8.
    pub(crate) fn note(self, count: u64) -> Option<String> {
        let page = match self {
            CodePage::Cp437 => "code page 437, as the zip format has it",
            CodePage::ShiftJis => "Shift-JIS",
        };
        match count {
            0 => None,
            1 => Some(format!("1 name in the archive is not UTF-8 and was read as {page}")),
            n => Some(format!("{n} names in the archive are not UTF-8 and were read as {page}")),
        }
    }
}

fn cp437(name: &[u8]) -> String {
    let character = |&byte: &u8| match byte {
        0..128 => char::from(byte),
        byte => HIGH.chars().nth(usize::from(byte) - 128).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    name.iter().map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_stay_different() {
        for (bytes, text) in [
            (&b"plain/a.png"[..], "plain/a.png"),
            ("ä\\b".as_bytes(), "ä\\b"),
            (b"a\xe9b", "a\\xE9b"),
            (b"a\\xE9b", "a\\\\xE9b"),
            (b"a\\\xe9", "a\\\\\\xE9"),
            (b"a\\\\xE9", "a\\\\\\\\xE9"),
            (b"\xe9\xff/x", "\\xE9\\xFF/x"),
        ] {
            assert_eq!(escaped(bytes), text);
            assert_eq!(is_escaped(text), str::from_utf8(bytes).is_err(), "{text}");
        }
        assert_eq!(escaped_note(0), None);
    }

    #[test]
    fn code_page_437_is_whole() {
        assert_eq!(HIGH.chars().count(), 128);
        assert_eq!(cp437(b"K\x84se \xe1\xff"), "Käse ß\u{a0}");
    }

    #[test]
    fn the_names_of_an_archive_tell_their_code_page() {
        // In Shift-JIS: a word of kanji, one of hiragana whose code page 437 has frames.
        let (grey, cat) = (&b"\x8a\x44\x90\x46"[..], &b"\x82\xcb\x82\xb1"[..]);
        let of = |names: &[&[u8]]| CodePage::of(names.iter().copied());
        assert_eq!(of(&[grey, cat, b"dog"]), CodePage::ShiftJis);
        assert_eq!([grey, cat].map(|name| CodePage::ShiftJis.decode(name)), ["灰色", "ねこ"]);
        for names in
            [&[&b"K\x84se"[..], b"M\x94we"][..], &[b"stra\xe1e"], &[b"\xc4pfel"], &[cat, b"\x81\x20"], &[]]
        {
            assert_eq!(of(names), CodePage::Cp437, "{names:?}");
        }
        assert_eq!(CodePage::ShiftJis.decode("ねこ".as_bytes()), "ねこ");
        assert_eq!(CodePage::Cp437.note(0), None);
        assert!(CodePage::ShiftJis.note(1).unwrap().contains("1 name in the archive is not UTF-8"));
        assert!(CodePage::Cp437.note(2).unwrap().contains("2 names in the archive are not UTF-8"));
    }
}
