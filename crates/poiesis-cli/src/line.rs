//! A line of parts, the least important of which are left out where they do not fit.

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// 0 is never left out, and the highest goes first.
    pub(crate) rank: u8,
    pub(crate) text: String,
}

impl Part {
    pub(crate) fn new(rank: u8, text: impl Into<String>) -> Part {
        Part { rank, text: text.into() }
    }
}

const BETWEEN: &str = "  ";

/// The parts in their order, as many as fit into `width` columns; all without a width.
pub(crate) fn fit(parts: &[Part], width: Option<usize>) -> String {
    let mut kept: Vec<&Part> = parts.iter().filter(|part| !part.text.is_empty()).collect();
    loop {
        let line = kept.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(BETWEEN);
        if width.is_none_or(|width| line.chars().count() <= width) {
            return line;
        }
        // The last of those with the highest rank.
        let least = kept.iter().enumerate().max_by_key(|(_, part)| part.rank);
        match least {
            Some((place, part)) if part.rank > 0 => kept.remove(place),
            _ => return line,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_is_left_out_first() {
        let parts = [
            Part::new(2, "12 min left"),
            Part::new(0, "nll 1.5"),
            Part::new(3, "saved"),
            Part::new(3, "x 1"),
        ];
        let line = |width| fit(&parts, width);
        assert_eq!(line(None), "12 min left  nll 1.5  saved  x 1");
        assert_eq!(line(Some(32)), "12 min left  nll 1.5  saved  x 1");
        assert_eq!(line(Some(31)), "12 min left  nll 1.5  saved");
        assert_eq!(line(Some(26)), "12 min left  nll 1.5");
        assert_eq!(line(Some(19)), "nll 1.5");
        assert_eq!(line(Some(3)), "nll 1.5");
    }
}
