//! The best checkpoint so far, as the state of every checkpoint has it.

use super::State;

/// The best value so far of the metric that is measured on held-out examples during training, of which lower is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Steps done when it was measured; the checkpoint of that step is kept.
    pub step: u64,
    /// The value; infinite where none that was measured is a number.
    pub value: f64,
    /// How often the metric was measured since then, never with a better value.
    pub since: u64,
}

const STEP: &str = "best_step";
const VALUE: &str = "best_value";
const SINCE: &str = "evaluations_since_best";

impl Best {
    /// The best after `value` was measured at `step`, where `so_far` was the best before. A value as good as the best is not better.
    pub fn after(so_far: Option<Best>, step: u64, value: f64) -> Best {
        let value = if value.is_nan() { f64::INFINITY } else { value };
        match so_far {
            Some(best) if value >= best.value => Best { since: best.since + 1, ..best },
            _ => Best { step, value, since: 0 },
        }
    }
}

impl State {
    /// The best so far; `None` where nothing was measured, and in checkpoints of earlier versions.
    pub fn best(&self) -> Option<Best> {
        let scalar = |name: &str| self.scalars.get(name).copied();
        Some(Best { step: scalar(STEP)?, value: f64::from_bits(scalar(VALUE)?), since: scalar(SINCE)? })
    }

    /// Sets the best so far.
    pub fn set_best(&mut self, best: Option<Best>) {
        let Some(Best { step, value, since }) = best else {
            self.scalars.retain(|name, _| ![STEP, VALUE, SINCE].contains(&name.as_str()));
            return;
        };
        let scalars = [(STEP, step), (VALUE, value.to_bits()), (SINCE, since)];
        self.scalars.extend(scalars.map(|(name, scalar)| (name.to_owned(), scalar)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_value_starts_the_count_again_and_an_equal_one_does_not() {
        let measured = [(10, 3.0), (20, 2.0), (30, 2.0), (40, 2.5), (50, 1.5)];
        let mut best = None;
        let mut all = Vec::new();
        for (step, value) in measured {
            best = Some(Best::after(best, step, value));
            all.extend(best.map(|best| (best.step, best.since)));
        }
        assert_eq!(all, [(10, 0), (20, 0), (20, 1), (20, 2), (50, 0)]);
    }

    #[test]
    fn what_is_no_number_is_never_the_best_of_several() {
        let nan = Best::after(None, 1, f64::NAN);
        assert_eq!((nan.step, nan.value), (1, f64::INFINITY));
        assert_eq!(Best::after(Some(nan), 2, f64::NAN).since, 1);
        let real = Best::after(Some(nan), 3, 1e30);
        assert_eq!((real.step, real.since), (3, 0));
        assert_eq!(Best::after(Some(real), 4, f64::NAN).step, 3);
    }

    #[test]
    fn the_best_comes_back_from_a_state_to_the_bit() {
        let mut state = State::default();
        assert_eq!(state.best(), None);
        let best = Best { step: 7, value: 0.1 + 0.2, since: 3 };
        state.set_best(Some(best));
        assert_eq!(state.best(), Some(best));
        let again: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(again.best(), Some(best));
        state.set_best(None);
        assert_eq!(state, State::default());
    }
}
