//! Minimising smooth functions: L-BFGS (Nocedal 1980) with backtracking.

use std::collections::VecDeque;

/// Steps that the approximation of the curvature remembers.
const MEMORY: usize = 10;
/// A step must lower the value by this part of what the slope promises (Armijo 1966).
const ENOUGH: f64 = 1e-4;
/// Halvings of a step before the search gives up.
const HALVINGS: usize = 30;

/// A minimum that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    /// Where it is.
    pub place: Vec<f64>,
    /// The value there.
    pub value: f64,
    /// Largest magnitude in the gradient there.
    pub gradient: f64,
    /// Steps that it took.
    pub steps: usize,
}

/// Minimises `function`, which gives its value and its gradient, from `start`. It stops when no part of the gradient is larger
/// than `tolerance`, after `steps` steps, or when rounding hides every descent.
pub fn minimise(
    start: Vec<f64>,
    steps: usize,
    tolerance: f64,
    mut function: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Minimum {
    let (mut value, mut gradient) = function(&start);
    let mut place = start;
    let mut memory: VecDeque<Pair> = VecDeque::new();
    let mut step = 0;
    while step < steps && largest(&gradient) > tolerance {
        let mut direction = descent(&gradient, &memory);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            memory.clear();
            direction = descent(&gradient, &memory);
            slope = dot(&direction, &gradient);
        }
        // Nothing is known about the scale before the first step.
        let first = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let Some((next, next_value, next_gradient)) =
            backtrack(&place, value, &direction, slope, first, &mut function)
        else {
            break;
        };
        let pair = Pair::new(&place, &next, &gradient, &next_gradient);
        if pair.curvature > 1e-12 * dot(&pair.gradient, &pair.gradient) {
            memory.push_back(pair);
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (place, value, gradient) = (next, next_value, next_gradient);
        step += 1;
    }
    Minimum { place, value, gradient: largest(&gradient), steps: step }
}

/// A step of the past, with the change of the gradient along it.
struct Pair {
    step: Vec<f64>,
    gradient: Vec<f64>,
    /// Their product.
    curvature: f64,
}

impl Pair {
    fn new(place: &[f64], next: &[f64], gradient: &[f64], next_gradient: &[f64]) -> Pair {
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| b - a).collect::<Vec<_>>();
        let (step, gradient) = (difference(place, next), difference(gradient, next_gradient));
        let curvature = dot(&step, &gradient);
        Pair { step, gradient, curvature }
    }
}

/// −H g, with H the inverse of the curvature as `memory` has it: the two loops of Nocedal 1980.
fn descent(gradient: &[f64], memory: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut parts = Vec::new();
    for pair in memory.iter().rev() {
        let part = dot(&pair.step, &direction) / pair.curvature;
        add(&mut direction, -part, &pair.gradient);
        parts.push(part);
    }
    if let Some(last) = memory.back() {
        let scale = last.curvature / dot(&last.gradient, &last.gradient);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, part) in memory.iter().zip(parts.into_iter().rev()) {
        let other = dot(&pair.gradient, &direction) / pair.curvature;
        add(&mut direction, part - other, &pair.step);
    }
    direction
}

/// The first place along `direction`, of steps that are halved, whose value is low enough, with its value and gradient.
fn backtrack(
    place: &[f64],
    value: f64,
    direction: &[f64],
    slope: f64,
    first: f64,
    function: &mut impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let mut length = first;
    for _ in 0..HALVINGS {
        let mut next = place.to_vec();
        add(&mut next, length, direction);
        let (next_value, gradient) = function(&next);
        if next_value <= value + ENOUGH * length * slope && next_value < value {
            return Some((next, next_value, gradient));
        }
        length *= 0.5;
    }
    None
}

fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * value);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_ends_at_the_solution_of_its_equations() {
        // ½ xᵀ A x − b·x with A = [[3, 1], [1, 2]], b = [1, 1]: x = A⁻¹ b = [1, 2] / 5.
        let found = minimise(vec![9.0, -7.0], 100, 1e-10, |x| {
            let ax = [3.0 * x[0] + x[1], x[0] + 2.0 * x[1]];
            let value = 0.5 * (x[0] * ax[0] + x[1] * ax[1]) - x[0] - x[1];
            (value, vec![ax[0] - 1.0, ax[1] - 1.0])
        });
        assert!((found.place[0] - 0.2).abs() < 1e-9 && (found.place[1] - 0.4).abs() < 1e-9, "{found:?}");
        assert!(found.steps < 30, "{found:?}");
    }

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        // Rosenbrock's function has its minimum, 0, at [1, 1].
        let found = minimise(vec![-1.2, 1.0], 500, 1e-8, |x| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
        });
        assert!(found.gradient <= 1e-8 && (found.place[0] - 1.0).abs() < 1e-6, "{found:?}");
    }
}
