//! Gradient-boosted trees that classify rows (Friedman 2001, "Greedy function approximation: a gradient boosting machine", Algorithm 6).
//! Values are put into bins first, so that a split is found from sums over bins.

use rayon::prelude::*;

use crate::fitting::Rows;

/// Rounds of boosting, each with a tree for every class.
const ROUNDS: usize = 100;
/// Splits from the root of a tree to a leaf.
const DEPTH: usize = 3;
/// What a tree's values are multiplied by.
const RATE: f64 = 0.1;
/// Largest number of bins of a value, filled equally.
const BINS: usize = 64;
/// A split must lower the sum of squares by more than this.
const SMALLEST_GAIN: f64 = 1e-9;

/// Boosted trees.
pub(super) struct Boosted {
    /// The score of each class before the first tree.
    first: Vec<f64>,
    /// Upper ends of the bins of each value, but the last.
    ends: Vec<Vec<f32>>,
    /// The trees of each round, one for each class.
    rounds: Vec<Vec<Tree>>,
    /// How much the splits at each value lower the sum of squares, in all trees.
    pub(super) importances: Vec<f64>,
}

/// A node of a tree.
enum Node {
    Leaf(f64),
    /// Bins up to `bin` go to `left`, the others to `right`.
    Split {
        value: usize,
        bin: u8,
        left: usize,
        right: usize,
    },
}

/// A tree; the root is node 0.
struct Tree {
    nodes: Vec<Node>,
    gains: Vec<(usize, f64)>,
}

impl Tree {
    fn leaf_of(&self, bin_of: impl Fn(usize) -> u8) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf(leaf) => return leaf,
                Node::Split { value, bin, left, right } => {
                    at = if bin_of(value) <= bin { left } else { right }
                }
            }
        }
    }
}

impl Boosted {
    /// Fits trees to rows and their classes.
    pub(super) fn fit(rows: &Rows, labels: &[usize], classes: usize) -> Boosted {
        let count = rows.len();
        let ends: Vec<Vec<f32>> = (0..rows.dims()).map(|value| bin_ends(rows, value)).collect();
        // By values, so that the sums of a value read one stretch of memory.
        let bins: Vec<Vec<u8>> = ends
            .iter()
            .enumerate()
            .map(|(value, ends)| rows.iter().map(|row| bin_of(row[value], ends)).collect())
            .collect();
        let mut sizes = vec![0.0; classes];
        labels.iter().for_each(|&label| sizes[label] += 1.0);
        let first: Vec<f64> = sizes.iter().map(|size: &f64| (size / count as f64).max(1e-9).ln()).collect();
        let mut scores: Vec<Vec<f64>> = first.iter().map(|&score| vec![score; count]).collect();
        let mut boosted = Boosted { first, ends, rounds: Vec::new(), importances: vec![0.0; rows.dims()] };
        for _ in 0..ROUNDS {
            let probs = probabilities(&scores);
            let trees: Vec<(Tree, Vec<f64>)> = (0..classes)
                .into_par_iter()
                .map(|class| {
                    let rest = |at: usize| f64::from(u8::from(labels[at] == class)) - probs[class][at];
                    let rests: Vec<f64> = (0..count).map(rest).collect();
                    let tree = grow(&bins, &rests, classes);
                    let leaves = (0..count).map(|at| tree.leaf_of(|value| bins[value][at])).collect();
                    (tree, leaves)
                })
                .collect();
            let mut round = Vec::with_capacity(classes);
            for (scores, (tree, leaves)) in scores.iter_mut().zip(trees) {
                scores.iter_mut().zip(leaves).for_each(|(score, leaf)| *score += RATE * leaf);
                tree.gains.iter().for_each(|&(value, gain)| boosted.importances[value] += gain);
                round.push(tree);
            }
            boosted.rounds.push(round);
        }
        boosted
    }

    /// The likeliest class of a row.
    pub(super) fn classify(&self, row: &[f32]) -> usize {
        let bins: Vec<u8> = row.iter().zip(&self.ends).map(|(&x, ends)| bin_of(x, ends)).collect();
        let mut scores = self.first.clone();
        for round in &self.rounds {
            for (score, tree) in scores.iter_mut().zip(round) {
                *score += RATE * tree.leaf_of(|value| bins[value]);
            }
        }
        crate::fitting::likeliest(&scores)
    }
}

/// The upper ends of bins that hold about equally many rows; a bin for each value where there are few.
fn bin_ends(rows: &Rows, value: usize) -> Vec<f32> {
    let mut values: Vec<f32> = rows.iter().map(|row| row[value]).collect();
    values.sort_by(f32::total_cmp);
    let mut distinct = values.clone();
    distinct.dedup();
    let mut ends: Vec<f32> = if distinct.len() <= BINS {
        distinct
    } else {
        (1..=BINS).map(|bin| values[bin * values.len() / BINS - 1]).collect()
    };
    ends.dedup();
    ends.pop();
    ends
}

fn bin_of(x: f32, ends: &[f32]) -> u8 {
    ends.partition_point(|&end| end < x) as u8
}

/// The probability of each class for each row, `[classes][rows]`.
fn probabilities(scores: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut probs = scores.to_vec();
    for at in 0..scores[0].len() {
        let largest = scores.iter().map(|scores| scores[at]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|scores| (scores[at] - largest).exp()).sum();
        probs.iter_mut().for_each(|probs| probs[at] = (probs[at] - largest).exp() / sum);
    }
    probs
}

/// Grows a tree that predicts `rests`, by the splits that lower the sum of squares most.
fn grow(bins: &[Vec<u8>], rests: &[f64], classes: usize) -> Tree {
    let mut tree = Tree { nodes: vec![Node::Leaf(0.0)], gains: Vec::new() };
    let all: Vec<u32> = (0..rests.len() as u32).collect();
    let mut open = vec![(0, all, DEPTH)];
    while let Some((node, members, depth)) = open.pop() {
        let split = if depth > 0 { best_split(bins, rests, &members) } else { None };
        let Some((value, bin, gain)) = split else {
            tree.nodes[node] = Node::Leaf(leaf(rests, &members, classes));
            continue;
        };
        let (low, high): (Vec<u32>, Vec<u32>) =
            members.into_iter().partition(|&at| bins[value][at as usize] <= bin);
        let left = tree.nodes.len();
        tree.nodes.extend([Node::Leaf(0.0), Node::Leaf(0.0)]);
        tree.nodes[node] = Node::Split { value, bin, left, right: left + 1 };
        tree.gains.push((value, gain));
        open.push((left, low, depth - 1));
        open.push((left + 1, high, depth - 1));
    }
    tree
}

/// The value, the bin and the gain of the best split of `members`, if one is worth it.
fn best_split(bins: &[Vec<u8>], rests: &[f64], members: &[u32]) -> Option<(usize, u8, f64)> {
    let total: f64 = members.iter().map(|&at| rests[at as usize]).sum();
    let all = members.len() as f64;
    let mut best: Option<(usize, u8, f64)> = None;
    for (value, bins) in bins.iter().enumerate() {
        let mut sums = [(0.0_f64, 0.0_f64); BINS];
        for &at in members {
            let sum = &mut sums[bins[at as usize] as usize];
            *sum = (sum.0 + rests[at as usize], sum.1 + 1.0);
        }
        let (mut sum, mut count) = (0.0, 0.0);
        for (bin, &(in_bin, of_bin)) in sums[..BINS - 1].iter().enumerate() {
            (sum, count) = (sum + in_bin, count + of_bin);
            if of_bin == 0.0 || count == all {
                continue;
            }
            let gap = sum / count - (total - sum) / (all - count);
            let gain = count * (all - count) / all * gap * gap;
            if gain > best.map_or(SMALLEST_GAIN, |(_, _, gain)| gain) {
                best = Some((value, bin as u8, gain));
            }
        }
    }
    best
}

/// The value of a leaf: one Newton step of the multinomial log-likelihood.
fn leaf(rests: &[f64], members: &[u32], classes: usize) -> f64 {
    let (mut sum, mut curvature) = (0.0, 0.0);
    for &at in members {
        let rest = rests[at as usize];
        (sum, curvature) = (sum + rest, curvature + rest.abs() * (1.0 - rest.abs()));
    }
    let share = (classes as f64 - 1.0) / classes as f64;
    if curvature < 1e-150 { 0.0 } else { share * sum / curvature }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    fn accuracy(boosted: &Boosted, rows: &Rows, labels: &[usize]) -> f64 {
        let right = rows.iter().zip(labels).filter(|(row, label)| boosted.classify(row) == **label).count();
        right as f64 / labels.len() as f64
    }

    #[test]
    fn intervals_are_learned_and_only_the_value_that_matters_is_split() {
        let draws = rng::uniform(&mut rng::generator(1, "test", 0), 3 * 900);
        let rows = Rows::new(draws, 3);
        let labels: Vec<usize> = rows.iter().map(|row| (row[1] * 5.0) as usize % 3).collect();
        let (fit, test): (Vec<usize>, Vec<usize>) = (0..900).partition(|i| i % 3 > 0);
        let of = |chosen: &[usize]| chosen.iter().map(|&at| labels[at]).collect::<Vec<_>>();
        let boosted = Boosted::fit(&rows.select(&fit), &of(&fit), 3);
        // Only at the four ends of intervals, which lie inside bins, is there an error.
        let found = accuracy(&boosted, &rows.select(&test), &of(&test));
        assert!(found > 0.95, "{found}");
        let total: f64 = boosted.importances.iter().sum();
        assert!(boosted.importances[1] / total > 0.95, "{:?}", boosted.importances);
    }

    #[test]
    fn two_values_together_decide_what_neither_does_alone() {
        let draws = rng::uniform(&mut rng::generator(2, "test", 0), 2 * 800);
        let rows = Rows::new(draws.iter().map(|u| 2.0 * u - 1.0).collect(), 2);
        let labels: Vec<usize> = rows.iter().map(|row| usize::from(row[0] * row[1] > 0.0)).collect();
        let boosted = Boosted::fit(&rows, &labels, 2);
        assert!(accuracy(&boosted, &rows, &labels) > 0.95);
    }

    #[test]
    fn a_leaf_is_a_newton_step() {
        // Two classes: ½ · (0.5 + 0.5 − 0.5) / (3 · 0.25).
        assert!((leaf(&[0.5, 0.5, -0.5], &[0, 1, 2], 2) - 1.0 / 3.0).abs() < 1e-12);
        let rows = Rows::new(vec![4.0; 5], 1);
        let boosted = Boosted::fit(&rows, &[0, 1, 1, 1, 0], 2);
        assert_eq!((boosted.classify(&[4.0]), boosted.importances), (1, vec![0.0]));
    }
}
