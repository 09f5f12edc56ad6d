//! How well two divisions of the same things into groups agree.

use super::matching::best_matching;

/// How often each group of one division meets each group of another: `[groups, others]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contingency(pub Vec<Vec<u64>>);

impl Contingency {
    /// Counts pairs of groups; groups are numbered from 0.
    ///
    /// # Panics
    ///
    /// When the divisions are not of equally many things.
    pub fn of(groups: &[usize], others: &[usize]) -> Contingency {
        assert_eq!(groups.len(), others.len(), "divisions of the same things");
        let count = |groups: &[usize]| groups.iter().max().map_or(0, |largest| largest + 1);
        let mut counts = vec![vec![0; count(others)]; count(groups)];
        groups.iter().zip(others).for_each(|(&group, &other)| counts[group][other] += 1);
        Contingency(counts)
    }

    fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    fn sums(&self) -> [Vec<u64>; 2] {
        let columns = self.0.first().map_or(0, Vec::len);
        let column = |column: usize| self.0.iter().map(|row| row[column]).sum();
        [self.0.iter().map(|row| row.iter().sum()).collect(), (0..columns).map(column).collect()]
    }

    /// The fraction of the things outside the best one-to-one matching of groups and others (0 when there are none), and the match of each
    /// group.
    pub fn matching_error(&self) -> (f64, Vec<Option<usize>>) {
        let values: Vec<Vec<f64>> =
            self.0.iter().map(|row| row.iter().map(|&count| count as f64).collect()).collect();
        let matching = best_matching(&values);
        let right: u64 =
            matching.iter().zip(&self.0).filter_map(|(column, row)| column.map(|column| row[column])).sum();
        (1.0 - right as f64 / self.total().max(1) as f64, matching)
    }

    /// Mutual information, in nats.
    pub fn mutual_information(&self) -> f64 {
        let total = self.total() as f64;
        let [rows, columns] = self.sums();
        let mut sum = 0.0;
        for (row, &in_row) in self.0.iter().zip(&rows) {
            for (&count, &in_column) in row.iter().zip(&columns).filter(|(count, _)| **count > 0) {
                let count = count as f64;
                sum += count / total * (count * total / (in_row as f64 * in_column as f64)).ln();
            }
        }
        sum.max(0.0)
    }

    /// Normalised mutual information: over the mean of both entropies. 1 for equal divisions, 0 for independent ones.
    pub fn nmi(&self) -> f64 {
        let total = self.total() as f64;
        let entropies = self.sums().map(|sums| {
            let share = |sum: u64| sum as f64 / total;
            -sums.into_iter().filter(|&sum| sum > 0).map(|sum| share(sum) * share(sum).ln()).sum::<f64>()
        });
        let mean = 0.5 * (entropies[0] + entropies[1]);
        // Both put everything into one group, and so agree.
        if mean <= 0.0 { 1.0 } else { self.mutual_information() / mean }
    }

    /// Adjusted Rand index (Hubert and Arabie 1985): 1 for equal divisions, 0 on average for random ones.
    pub fn ari(&self) -> f64 {
        let pairs = |count: u64| count as f64 * (count as f64 - 1.0) / 2.0;
        let both: f64 = self.0.iter().flatten().map(|&count| pairs(count)).sum();
        let [rows, columns] = self.sums().map(|sums| sums.into_iter().map(pairs).sum::<f64>());
        let all = pairs(self.total());
        let expected = if all > 0.0 { rows * columns / all } else { 0.0 };
        let largest = 0.5 * (rows + columns);
        if largest == expected { 1.0 } else { (both - expected) / (largest - expected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_divisions_agree_whatever_their_numbers() {
        let counts = Contingency::of(&[0, 0, 1, 1, 2, 2], &[2, 2, 0, 0, 1, 1]);
        assert_eq!(counts.matching_error(), (0.0, vec![Some(2), Some(0), Some(1)]));
        assert!((counts.nmi() - 1.0).abs() < 1e-12 && (counts.ari() - 1.0).abs() < 1e-12);
        assert!((counts.mutual_information() - 3.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_small_division_has_the_values_worked_out_by_hand() {
        // {a b c | d e f} against {a b | c d | e f}: counts [[2, 1, 0], [0, 1, 2]].
        let counts = Contingency::of(&[0, 0, 0, 1, 1, 1], &[0, 0, 1, 1, 2, 2]);
        assert_eq!(counts.0, [[2, 1, 0], [0, 1, 2]]);
        // Pairs together in both: 1 + 1; in the first 3 + 3, in the second 1 + 1 + 1, of 15: (2 − 1.2) / (4.5 − 1.2).
        assert!((counts.ari() - 0.8 / 3.3).abs() < 1e-12, "{}", counts.ari());
        // I = ⅔ log 2, entropies log 2 and log 3.
        let information = 2.0 / 3.0 * 2.0_f64.ln();
        assert!((counts.nmi() - 2.0 * information / 6.0_f64.ln()).abs() < 1e-12);
        // Two groups are matched with two of the three others: four things of six.
        assert!((counts.matching_error().0 - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn independent_divisions_share_no_information() {
        let groups: Vec<usize> = (0..36).map(|i| i % 2).collect();
        let others: Vec<usize> = (0..36).map(|i| i / 2 % 3).collect();
        let counts = Contingency::of(&groups, &others);
        assert!(counts.nmi().abs() < 1e-12 && counts.ari() < 0.0);
        assert_eq!(Contingency::of(&[0, 0], &[0, 0]).nmi(), 1.0);
    }
}
