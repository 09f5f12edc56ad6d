//! Where the rows or columns of a matrix begin in memory.

/// Offsets of the entries along an axis: runs of `run` entries `step` apart, whose beginnings are `jump` apart. The first
/// entry may be in the middle of a run.
#[derive(Clone, Copy, Debug)]
pub struct Strides {
    /// Entries before the first one.
    pub first: usize,
    /// Distance of the entries of a run.
    pub step: usize,
    /// Entries of a run.
    pub run: usize,
    /// Distance of the beginnings of runs.
    pub jump: usize,
}

impl Strides {
    /// One run without end.
    pub(crate) fn even(step: usize) -> Self {
        Self { first: 0, step, run: usize::MAX, jump: 0 }
    }

    /// Runs of `run` entries `step` apart that begin `jump` apart.
    pub(crate) fn runs(step: usize, run: usize, jump: usize) -> Self {
        match run {
            1 => Self::even(jump),
            _ if jump == run * step => Self::even(step),
            _ => Self { first: 0, step, run, jump },
        }
    }

    /// The entries from `count` on.
    pub(crate) fn skip(self, count: usize) -> Self {
        Self { first: self.first + count, ..self }
    }

    #[inline(always)]
    pub(crate) fn at(self, index: usize) -> usize {
        let index = self.first + index;
        index / self.run * self.jump + index % self.run * self.step
    }

    /// How many entries of a run are left from this one on.
    #[inline(always)]
    pub(crate) fn left_in_run(self, index: usize) -> usize {
        self.run - (self.first + index) % self.run
    }

    /// The largest offset of the first `count` entries.
    pub(crate) fn last(self, count: usize) -> usize {
        let last = self.at(count - 1);
        // The end of the previous run may be further on.
        let in_run = (self.first + count - 1) % self.run + 1;
        if count > in_run { last.max(self.at(count - 1 - in_run)) } else { last }
    }
}
