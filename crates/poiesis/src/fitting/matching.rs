//! The best one-to-one matching of rows and columns: the Hungarian method (Kuhn 1955), by shortest augmenting paths.

/// The column of each row that makes the sum of the chosen values largest. Where there are more rows than columns, the other rows have
/// none.
///
/// # Panics
///
/// When the rows differ in length.
pub fn best_matching(values: &[Vec<f64>]) -> Vec<Option<usize>> {
    let (rows, columns) = (values.len(), values.first().map_or(0, Vec::len));
    assert!(values.iter().all(|row| row.len() == columns), "rows of one length");
    let size = rows.max(columns);
    // Costs of a square matrix; a row or column that is not there costs nothing.
    let cost = |row: usize, column: usize| -> f64 {
        if row < rows && column < columns { -values[row][column] } else { 0.0 }
    };
    let row_of = cheapest(size, &cost);
    let mut matching = vec![None; rows];
    for (column, row) in row_of.into_iter().enumerate() {
        if row < rows && column < columns {
            matching[row] = Some(column);
        }
    }
    matching
}

/// The row of each column in the cheapest matching of a square matrix. Rows are added one by one; each time the shortest path in reduced
/// costs that ends at a free column is turned over.
fn cheapest(size: usize, cost: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let (mut of_rows, mut of_columns) = (vec![0.0; size], vec![0.0; size]);
    let mut row_of = vec![NONE; size];
    for start in 0..size {
        let (mut distances, mut from) = (vec![f64::INFINITY; size], vec![NONE; size]);
        let mut done = vec![false; size];
        let (mut row, mut last, mut so_far) = (start, NONE, 0.0);
        let end = loop {
            for column in (0..size).filter(|&column| !done[column]) {
                let distance = so_far + cost(row, column) - of_rows[row] - of_columns[column];
                if distance < distances[column] {
                    (distances[column], from[column]) = (distance, last);
                }
            }
            let nearest = (0..size).filter(|&column| !done[column]);
            let nearest = nearest.min_by(|&a, &b| distances[a].total_cmp(&distances[b])).unwrap_or(0);
            (so_far, last, done[nearest]) = (distances[nearest], nearest, true);
            if row_of[nearest] == NONE {
                break nearest;
            }
            row = row_of[nearest];
        };
        of_rows[start] += so_far;
        for column in (0..size).filter(|&column| done[column] && column != end) {
            of_rows[row_of[column]] += so_far - distances[column];
            of_columns[column] -= so_far - distances[column];
        }
        let mut column = end;
        while from[column] != NONE {
            row_of[column] = row_of[from[column]];
            column = from[column];
        }
        row_of[column] = start;
    }
    row_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    /// The largest sum over all matchings, by trying each.
    fn by_trying(values: &[Vec<f64>], row: usize, used: &mut Vec<bool>) -> f64 {
        if row == values.len() {
            return 0.0;
        }
        // A row may stay without a column where there are too few.
        let spare = values.len() > used.len();
        let mut best = if spare { by_trying(values, row + 1, used) } else { f64::NEG_INFINITY };
        for column in 0..used.len() {
            if !used[column] {
                used[column] = true;
                best = best.max(values[row][column] + by_trying(values, row + 1, used));
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn the_matching_is_as_good_as_the_best_of_all() {
        for (trial, (rows, columns)) in [(1, 1), (2, 2), (4, 4), (6, 6), (3, 5), (5, 3), (7, 7), (2, 6)]
            .into_iter()
            .cycle()
            .take(80)
            .enumerate()
        {
            let draws = rng::uniform(&mut rng::generator(1, "test", trial as u64), rows * columns);
            // Ties too.
            let values: Vec<Vec<f64>> = draws
                .chunks(columns)
                .map(|row| row.iter().map(|&u| (u * 8.0).floor().into()).collect())
                .collect();
            let found = best_matching(&values);
            let mut used: Vec<usize> = found.iter().flatten().copied().collect();
            assert_eq!(used.len(), rows.min(columns));
            used.sort_unstable();
            used.dedup();
            assert_eq!(used.len(), rows.min(columns), "no column twice");
            let sum: f64 =
                found.iter().enumerate().filter_map(|(row, column)| Some(values[row][(*column)?])).sum();
            assert_eq!(sum, by_trying(&values, 0, &mut vec![false; columns]), "{values:?} {found:?}");
        }
    }

    #[test]
    fn a_permuted_diagonal_is_found() {
        let values = [vec![0.0, 9.0, 1.0], vec![8.0, 0.0, 0.0], vec![1.0, 1.0, 7.0]];
        assert_eq!(best_matching(&values), [Some(1), Some(0), Some(2)]);
    }
}
