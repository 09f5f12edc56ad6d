//! The memory that decoding may take: what an example needs is counted before anything is allocated for it, over all threads, and
//! an example waits until there is room.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::card::Reason;
use crate::options::Limits;

/// What files being read and what is decoded from them may take at a time.
///
/// Whoever needs both takes a share for the file first. As nobody who has a share for decoding waits for another, somebody can
/// always go on.
pub(crate) struct Memory {
    pub(crate) files: Budget,
    pub(crate) decoding: Budget,
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Memory {
        let files = limits.max_memory / 4;
        Memory { files: Budget::new(files), decoding: Budget::new(limits.for_decoding()) }
    }
}

/// A number of bytes that several threads share.
pub(crate) struct Budget {
    all: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

/// The right to so many bytes, given back when dropped.
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    fn new(all: u64) -> Budget {
        Budget { all, free: Mutex::new(all), returned: Condvar::new() }
    }

    /// Waits for so many bytes. More than there are at all is an error, for the list of skipped files.
    pub(crate) fn take(&self, bytes: u64) -> Result<Share<'_>, Reason> {
        if bytes > self.all {
            return Err(too_much(bytes, self.all));
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        Ok(Share { budget: self, bytes })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.returned.notify_all();
    }
}

/// Why an example that needs so many bytes is skipped.
pub(crate) fn too_much(bytes: u64, allowed: u64) -> Reason {
    let text = format!(
        "decoding it takes about {} MB of memory, above the {} MB that are left for that",
        bytes.div_ceil(1_000_000),
        allowed / 1_000_000
    );
    Reason::mended_by("max_memory", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn shares_never_come_to_more_than_there_is_and_everyone_gets_theirs() {
        let budget = Budget::new(100);
        let (taken, most, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (budget, taken, most, done) = (&budget, &taken, &most, &done);
                scope.spawn(move || {
                    for i in 0..200 {
                        let bytes = [1, 30, 60, 100][((thread + i) % 4) as usize];
                        let share = budget.take(bytes).unwrap();
                        most.fetch_max(taken.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        taken.fetch_sub(bytes, Ordering::SeqCst);
                        drop(share);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 8 * 200);
        assert_eq!(most.into_inner(), 100);
        assert_eq!(*budget.free.lock().unwrap(), 100);
    }

    #[test]
    fn what_can_never_fit_is_refused_with_the_option_that_helps() {
        let refused = Budget::new(3_000_000).take(3_000_001).err().unwrap();
        assert_eq!(refused.option, Some("max_memory"));
        assert_eq!(
            refused.text,
            "decoding it takes about 4 MB of memory, above the 3 MB that are left for that"
        );
    }
}
