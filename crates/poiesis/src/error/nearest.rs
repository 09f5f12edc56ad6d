//! Suggests the valid name that was meant by a mistyped one.

/// Returns the valid name closest to `name`, or `None` when none is close enough.
///
/// Closeness is the Damerau–Levenshtein distance, ignoring case and treating `-` as `_`. At most a third of the longer
/// name's letters may differ, and always at least one. The first of several equally close names is returned.
pub fn nearest<'a>(name: &str, valid: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let name = plain(name);
    let distance = |candidate: &str| {
        // A key without its section still finds its full name.
        let candidate = plain(candidate);
        let last = candidate.rsplit('.').next().unwrap_or(&candidate).to_owned();
        let whole = strsim::damerau_levenshtein(&name, &candidate);
        if name.contains('.') { whole } else { whole.min(strsim::damerau_levenshtein(&name, &last)) }
    };
    let longest =
        |candidate: &str| name.chars().count().max(candidate.rsplit('.').next().map_or(0, str::len));
    valid
        .iter()
        .map(|&candidate| (distance(candidate), candidate))
        .filter(|&(distance, candidate)| distance <= (longest(candidate) / 3).max(1))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}
