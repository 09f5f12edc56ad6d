//! Cuts text into the pieces that BPE works on, and these into words.

use std::sync::LazyLock;

use regex::Regex;

/// Longest piece of a line that BPE sees at once, in bytes.
pub(crate) const LONGEST_PIECE: usize = 1 << 16;

/// Cuts a text into what BPE sees at once: lines with their ends, and long lines into parts. A text may be given in
/// several parts with the same result, as long as each ends where a piece does; see [`whole_pieces`].
pub(crate) fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(first_piece(rest));
        rest = after;
        Some(piece)
    })
}

/// Length of the first piece of a text that is not empty.
fn first_piece(text: &[u8]) -> usize {
    let window = &text[..text.len().min(LONGEST_PIECE)];
    match window.iter().position(|&byte| byte == b'\n') {
        Some(end) => end + 1,
        None if window.len() < LONGEST_PIECE => window.len(),
        // Back to where a character begins, if it is text at all.
        None => {
            (0..4).map(|back| LONGEST_PIECE - back).find(|&at| is_boundary(text, at)).unwrap_or(LONGEST_PIECE)
        }
    }
}

fn is_boundary(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
}

/// How much of a text ends where a piece ends whatever follows: up to the last end of a line, or, within a very long
/// line, up to the last part of it.
pub(crate) fn whole_pieces(text: &[u8]) -> usize {
    let lines = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut end = lines;
    // One byte more than a piece shows whether the piece ends within a character.
    while text.len() - end > LONGEST_PIECE {
        end += first_piece(&text[end..]);
    }
    end
}

/// The pattern of GPT-2 (Radford et al. 2019): English endings after an apostrophe, then runs of letters, of numbers and
/// of other characters, each with a space before it, then white space.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+")
        .expect("the pattern is valid")
});

/// Cuts a text into words; no token reaches beyond one.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // Every character belongs to one of the runs, so a match begins where the last has ended.
        let found = WORD.find(rest)?;
        let word = found.as_str();
        let last =
            word.chars().next_back().map_or(0, |last| if last.is_whitespace() { last.len_utf8() } else { 0 });
        // The last of several spaces goes to the word that follows; the pattern of GPT-2 has `\s+(?!\S)` for that.
        let shorter = last > 0 && word.len() > last && word.len() < rest.len();
        let (word, after) = rest.split_at(if shorter { word.len() - last } else { word.len() });
        rest = after;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_parts_has_the_pieces_of_the_whole() {
        let long = "é€x".repeat(60_000);
        let texts =
            ["", "a", "one\ntwo\n\n\nthree", &long, &format!("a\n{long}\n{long}b\nc"), &"\n".repeat(5000)];
        for text in texts.map(str::as_bytes) {
            let whole: Vec<&[u8]> = pieces(text).collect();
            assert_eq!(whole.concat(), text);
            assert!(
                whole.iter().all(|piece| std::str::from_utf8(piece).is_ok() && piece.len() <= LONGEST_PIECE)
            );
            for step in [1_000, 65_536, 100_001] {
                let (mut waiting, mut found) = (Vec::new(), Vec::new());
                for part in text.chunks(step) {
                    waiting.extend(part);
                    let rest = waiting.split_off(whole_pieces(&waiting));
                    found.extend(pieces(&waiting).map(<[u8]>::to_vec));
                    waiting = rest;
                }
                found.extend(pieces(&waiting).map(<[u8]>::to_vec));
                assert_eq!(found, whole, "{} bytes in steps of {step}", text.len());
            }
        }
    }

    #[test]
    fn words_have_a_space_before_them_and_white_space_is_kept() {
        let cut = |text| words(text).collect::<Vec<&str>>();
        assert_eq!(cut("Hello world"), ["Hello", " world"]);
        assert_eq!(cut("I'm sure it's 12,5!"), ["I", "'m", " sure", " it", "'s", " 12", ",", "5", "!"]);
        assert_eq!(cut("a   b"), ["a", "  ", " b"]);
        assert_eq!(cut("a\n\n b\t\tc  "), ["a", "\n\n", " b", "\t", "\t", "c", "  "]);
        assert_eq!(cut(" don'T 'tis"), [" don", "'", "T", " '", "tis"]);
        assert_eq!(cut("naïve Ⅷ e\u{301} \u{a0}x"), ["naïve", " Ⅷ", " e", "\u{301}", " ", "\u{a0}", "x"]);
        assert!(cut("").is_empty());
    }
}
