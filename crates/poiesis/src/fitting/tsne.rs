//! t-distributed stochastic neighbour embedding (van der Maaten and Hinton 2008), with Barnes-Hut trees (van der Maaten 2014).

use std::sync::mpsc::{Sender, channel};
use std::{panic, thread};

use super::rows::Rows;

/// Steps of the fit.
pub const T_SNE_STEPS: usize = 1000;
/// How coarse far points are summed up: the ratio of a cell's size and its distance.
const COARSENESS: f32 = 0.5;
/// The deviation of the first coordinate at the start (Kobak and Berens 2019, "The art of using t-SNE").
const START_DEVIATION: f64 = 1e-4;

/// A map of `rows` in the plane, on which neighbours stay neighbours: `[rows, 2]`. `start` has coordinates to begin with, such as the first
/// two principal components, in any scale; from them everything else follows, for any number of threads. `progress` receives the number of
/// steps done, of [`T_SNE_STEPS`].
///
/// # Panics
///
/// When `start` does not have two values for each row, or there are not more than three rows for each neighbour that `perplexity` counts.
pub fn t_sne(rows: &Rows, start: &Rows, perplexity: f64, progress: &mut dyn FnMut(usize)) -> Rows {
    assert_eq!((start.len(), start.dims()), (rows.len(), 2), "two coordinates for each row");
    assert!((rows.len() as f64) > 3.0 * perplexity, "{} rows for a perplexity of {perplexity}", rows.len());
    let variance = start.variances(&start.means())[0];
    if variance == 0.0 {
        // Equal rows are one point.
        return Rows::new(vec![0.0; 2 * rows.len()], 2);
    }
    let scale = START_DEVIATION / variance.sqrt();
    let start: Vec<f32> = start.iter().flatten().map(|&x| (f64::from(x) * scale) as f32).collect();
    let (sender, steps) = channel();
    let fit = move || fit(rows, start, perplexity, sender);
    let map = thread::scope(|scope| {
        let fitting = scope.spawn(fit);
        steps.iter().for_each(|step| progress(step + 1));
        fitting.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    });
    Rows::new(map, 2)
}

fn fit(rows: &Rows, start: Vec<f32>, perplexity: f64, steps: Sender<usize>) -> Vec<f32> {
    let points: Vec<&[f32]> = rows.iter().collect();
    let distance =
        |a: &&[f32], b: &&[f32]| a.iter().zip(*b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
    let work = || {
        let mut map: bhtsne::tSNE<'_, f32, &[f32], 2> = bhtsne::tSNE::new(&points);
        map.perplexity(perplexity as f32).epochs(T_SNE_STEPS).initial_embedding(start);
        map.epoch_callback(move |step, _| {
            // Where this fails, nobody listens any more.
            let _ = steps.send(step);
        });
        map.barnes_hut(COARSENESS, distance);
        map.embedding()
    };
    // It adds in an order that depends on the number of threads, and the least difference grows from step to step.
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(one) => one.install(work),
        Err(error) => panic!("no thread could be started: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fitting::Pca;
    use crate::fitting::clusters::squared_distance;
    use crate::rng;

    fn clusters(count: usize) -> Rows {
        let noise = rng::normal(&mut rng::generator(1, "test", 0), 10 * count);
        let value = |(at, noise): (usize, &f32)| noise + if at % 10 == at / 10 % 4 { 12.0 } else { 0.0 };
        Rows::new(noise.iter().enumerate().map(value).collect(), 10)
    }

    #[test]
    fn clusters_stay_together_and_the_map_is_the_same_for_any_number_of_threads() {
        let rows = clusters(120);
        let start = Pca::fit(&rows, 2).project(&rows);
        let mut steps = Vec::new();
        let map = t_sne(&rows, &start, 15.0, &mut |step| steps.push(step));
        assert_eq!((steps.len(), steps.last()), (T_SNE_STEPS, Some(&T_SNE_STEPS)));
        for (at, point) in map.iter().enumerate() {
            let others = (0..120).filter(|&other| other != at);
            let near = others.min_by(|&a, &b| {
                let distance = |other| squared_distance(point, map.row(other));
                distance(a).total_cmp(&distance(b))
            });
            assert_eq!(near.unwrap() % 4, at % 4, "{at} has a neighbour of another cluster");
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| t_sne(&rows, &start, 15.0, &mut |_| ())), map, "{threads} threads");
        }
    }

    #[test]
    fn equal_rows_make_no_trouble() {
        let all = Rows::new([1.0, 2.0].repeat(40), 2);
        let two_kinds = Rows::new([[1.0, 2.0].repeat(20), [4.0, 2.0].repeat(20)].concat(), 2);
        for rows in [all, two_kinds] {
            let start = Pca::fit(&rows, 2).project(&rows);
            assert!(t_sne(&rows, &start, 5.0, &mut |_| ()).iter().flatten().all(|x| x.is_finite()));
        }
    }
}
