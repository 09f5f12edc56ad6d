//! How sizes, paths and names are written in messages.

use std::path::Path;

use super::Fault;

/// Formats a size in bytes: `512 B`, `1.5 kB`, `2.3 GB` (powers of ten).
pub fn in_bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if size < 1000 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// What differs between two configurations.
pub(super) fn differing(differences: &[(String, String, String)]) -> String {
    let each =
        |(key, saved, given): &(String, String, String)| format!("{key} is {saved} there and {given} here");
    differences.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// A path on one line, with what would move a terminal's cursor or colour its text as escapes.
pub(super) fn shown(path: &Path) -> String {
    escaped(&path.display().to_string())
}

/// Text with its control characters, also those that turn the direction of writing, as escapes such as `\u001b`. A name that was
/// chosen by others is shown like this.
pub fn escaped(text: &str) -> String {
    let turns = |character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || turns(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// One line for each fault.
pub(super) fn lines_of(faults: &[Fault]) -> String {
    let lines =
        faults.iter().map(|fault| format!("\n  {} cannot be {}: {}", fault.key, fault.value, fault.reason));
    format!("{} keys have values that cannot be used:{}", faults.len(), lines.collect::<String>())
}
