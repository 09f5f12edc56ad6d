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

/// The names of a best checkpoint in a state: its step, its value, and the evaluations since.
const BEST: [&str; 3] = ["best_step", "best_value", "evaluations_since_best"];

/// The same without the evaluation of the last step, in a checkpoint whose evaluation was made only because training ended there.
const REGULAR: [&str; 3] = ["regular_best_step", "regular_best_value", "regular_evaluations_since_best"];

/// Present, and 1, in such a checkpoint.
const ONLY_AT_END: &str = "evaluated_only_at_end";

/// What an evaluation on held-out examples counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// For the best checkpoint and for the patience: a checkpoint is due at this step.
    Always,
    /// For the best checkpoint, as long as the run ends there: no checkpoint is due at its last step, and a run that had been longer
    /// from the beginning would not have evaluated it.
    AtEnd,
    /// For nothing: training was interrupted, and an unbroken run would not have evaluated this step.
    Never,
}

/// The best so far, with and without an evaluation that was made only because training ended.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BestSoFar {
    /// Of the evaluations that were due, which the patience counts.
    pub regular: Option<Best>,
    /// Of these and the one at the end, where training has ended at a step at which none was due.
    pub at_end: Option<Best>,
}

impl BestSoFar {
    /// The best of all evaluations that count.
    pub fn best(&self) -> Option<Best> {
        self.at_end.or(self.regular)
    }

    /// Counts a value that was measured at `step`; returns whether it is the best.
    pub fn count(&mut self, step: u64, value: f64, counts: Counts) -> bool {
        let best = Best::after(self.regular, step, value);
        match counts {
            Counts::Always => *self = BestSoFar { regular: Some(best), at_end: None },
            Counts::AtEnd => self.at_end = Some(best),
            Counts::Never => return false,
        }
        best.step == step
    }

    /// The steps of the checkpoints that are kept for it: the best, and the one that would be the best if the run were continued.
    pub fn steps(&self) -> Vec<u64> {
        self.regular.into_iter().chain(self.at_end).map(|best| best.step).collect()
    }
}

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
        self.best_at(&BEST)
    }

    /// The best so far, with what it would be if the run were continued.
    pub fn best_so_far(&self) -> BestSoFar {
        match self.scalars.contains_key(ONLY_AT_END) {
            true => BestSoFar { regular: self.best_at(&REGULAR), at_end: self.best_at(&BEST) },
            false => BestSoFar { regular: self.best_at(&BEST), at_end: None },
        }
    }

    /// Sets the best so far.
    pub fn set_best(&mut self, best: BestSoFar) {
        let own = |name: &String| BEST.iter().chain(&REGULAR).chain([&ONLY_AT_END]).any(|own| own == name);
        self.scalars.retain(|name, _| !own(name));
        self.set_best_at(&BEST, best.best());
        if best.at_end.is_some() {
            self.scalars.insert(ONLY_AT_END.to_owned(), 1);
            self.set_best_at(&REGULAR, best.regular);
        }
    }

    fn best_at(&self, names: &[&str; 3]) -> Option<Best> {
        let [step, value, since] = names.map(|name| self.scalars.get(name).copied());
        Some(Best { step: step?, value: f64::from_bits(value?), since: since? })
    }

    fn set_best_at(&mut self, names: &[&str; 3], best: Option<Best>) {
        let scalars = best.map(|best| [best.step, best.value.to_bits(), best.since]);
        let named = scalars.into_iter().flat_map(|scalars| names.iter().zip(scalars));
        self.scalars.extend(named.map(|(name, scalar)| ((*name).to_owned(), scalar)));
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
        let so_far = BestSoFar { regular: Some(best), at_end: None };
        state.set_best(so_far);
        assert_eq!(state.best(), Some(best));
        let again: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!((again.best(), again.best_so_far()), (Some(best), so_far));
        state.set_best(BestSoFar::default());
        assert_eq!(state, State::default());
    }

    #[test]
    fn an_evaluation_at_the_end_counts_until_the_run_is_continued() {
        let mut best = BestSoFar::default();
        // A run whose first checkpoint is its last.
        assert!(best.count(5, 3.0, Counts::AtEnd));
        assert_eq!((best.regular, best.best().map(|best| best.step)), (None, Some(5)));
        let mut state = State::default();
        state.set_best(best);
        assert_eq!(state.best_so_far(), best);

        let mut best = BestSoFar::default();
        assert!(best.count(10, 3.0, Counts::Always) && !best.count(20, 3.5, Counts::Always));
        assert!(!best.count(22, 1.0, Counts::Never), "it counts for nothing");
        assert!(best.count(25, 2.0, Counts::AtEnd));
        state.set_best(best);
        assert_eq!((state.best(), state.best_so_far()), (best.at_end, best));
        assert_eq!(best.steps(), [10, 25]);
        // Continued, it is as if that had not been measured.
        assert!(best.count(30, 2.5, Counts::Always));
        assert_eq!(best, BestSoFar { regular: Some(Best { step: 30, value: 2.5, since: 0 }), at_end: None });
        state.set_best(best);
        assert_eq!(state.scalars.len(), 3, "{:?}", state.scalars);
    }
}
