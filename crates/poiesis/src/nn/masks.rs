//! Masks over groups of features: what belongs to a group reads earlier groups alone.

/// The group, of `groups`, that feature `index` of `features` belongs to: each group is contiguous.
pub fn group(index: usize, features: usize, groups: usize) -> usize {
    index * groups / features
}

/// What the features of a group may read of another layer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupMask {
    /// The groups before: the mask of a layer that reads the values themselves (mask A of van den Oord et al. 2016,
    /// arXiv:1601.06759, §3.4).
    Before,
    /// The groups before and their own: the mask of all later layers (mask B).
    Own,
}

impl GroupMask {
    /// The factor, 0 or 1, of each number of a weight `[inputs, outputs]`, row by row. The outputs are `parts` times as many as the
    /// features that are divided into `groups`; each part is divided.
    ///
    /// Germain et al. 2015, arXiv:1502.03509, Eq. 8 and 9, with a group's place in the order as the number of its features.
    pub fn factors(self, [inputs, outputs]: [usize; 2], parts: usize, groups: usize) -> Vec<f32> {
        let features = outputs / parts;
        let passes = |input: usize, output: usize| {
            let (from, to) = (group(input, inputs, groups), group(output % features, features, groups));
            from < to || (from == to && self == GroupMask::Own)
        };
        (0..inputs * outputs).map(|place| f32::from(passes(place / outputs, place % outputs))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_reads_those_before_it_and_perhaps_its_own() {
        // Two groups of one input each, three features in two parts: groups 0, 0, 1.
        let before = GroupMask::Before.factors([2, 6], 2, 2);
        assert_eq!(before, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let own = GroupMask::Own.factors([2, 6], 2, 2);
        assert_eq!(own, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    }
}
