//! Work on many threads whose result does not depend on how many there are.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array, which safe Rust cannot express")]

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::Yield;
use rayon::prelude::*;

/// How long a thread of the pool spins for the tasks of the next operation before it goes to sleep. Waking it takes some tens of
/// microseconds, as long as a small operation; the time between two operations of a training step is hardly longer.
const SPIN_TIME: Duration = Duration::from_micros(200);

/// Number of threads that spin for tasks.
static SPINNING: AtomicUsize = AtomicUsize::new(0);

/// Makes sure that the other threads of the pool spin for tasks.
fn wake_others() {
    let Some(here) = rayon::current_thread_index() else { return };
    let others = rayon::current_num_threads() - 1;
    if SPINNING.load(Ordering::Relaxed) >= others {
        return;
    }
    SPINNING.fetch_add(1, Ordering::Relaxed);
    rayon::spawn(move || {
        // This thread may execute the job itself while it waits for its tasks.
        if rayon::current_thread_index() != Some(here) {
            spin_for_tasks();
        }
        SPINNING.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Executes tasks of other threads until there have been none for a while.
fn spin_for_tasks() {
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < SPIN_TIME {
        if rayon::yield_now() == Some(Yield::Executed) {
            idle_since = Instant::now();
        } else {
            (0..32).for_each(|_| spin_loop());
            // Another thread may need this core, even the one that the tasks wait for.
            std::thread::yield_now();
        }
    }
}

/// Runs `task(0) … task(count − 1)`, in any order, on rayon's threads.
pub fn tasks(count: usize, task: impl Fn(usize) + Send + Sync) {
    if count <= 1 {
        (0..count).for_each(task);
    } else {
        wake_others();
        (0..count).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// Runs `task(index, chunk)` for the chunks of `size` values of an array, the last one shorter, in any order.
pub(crate) fn chunks(array: &mut [f32], size: usize, task: impl Fn(usize, &mut [f32]) + Send + Sync) {
    if array.len() <= size {
        task(0, array);
    } else {
        wake_others();
        array.par_chunks_mut(size).enumerate().with_max_len(1).for_each(|(index, chunk)| task(index, chunk));
    }
}

/// The results of `task(0) … task(count − 1)`, in their order, computed in any order on rayon's threads.
pub(crate) fn map<T: Send>(count: usize, task: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    if count <= 1 {
        return (0..count).map(task).collect();
    }
    wake_others();
    (0..count).into_par_iter().with_max_len(1).map(task).collect()
}

/// Runs `work` on one of rayon's threads: if it consists of many calls of [`tasks`], each then starts
/// without waking threads from outside.
pub(crate) fn inside(work: impl FnOnce() + Send) {
    rayon::scope(|_| work());
}

/// The parts of `0..len` of `size` elements each, the last one shorter; numbered by [`part`].
pub(crate) fn parts(len: usize, size: usize) -> usize {
    len.div_ceil(size)
}

/// Part `index` of `0..len`.
pub(crate) fn part(len: usize, size: usize, index: usize) -> Range<usize> {
    index * size..((index + 1) * size).min(len)
}

/// An array of which several tasks write disjoint parts.
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: `Shared` is used like a `&mut [f32]`, which may move between threads; it is only accessed through unsafe
// functions, whose callers promise disjoint ranges.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(array: &'a mut [f32]) -> Self {
        Self { start: array.as_mut_ptr(), len: array.len(), borrow: PhantomData }
    }

    /// A pointer to element `at`, valid as long as the array, for elements before its end.
    pub(crate) fn pointer(&self, at: usize) -> *mut f32 {
        self.start.wrapping_add(at)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The elements of `range`, to write.
    ///
    /// # Safety
    ///
    /// No two parts that live at the same time may overlap.
    #[expect(clippy::mut_from_ref, reason = "disjointness is the caller's promise")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range is inside the array, which is borrowed mutably for the life of `self`; the caller promises that
        // no other part overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The elements of `range`, to read.
    ///
    /// # Safety
    ///
    /// No task writes them as long as they are borrowed.
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &[f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range is inside the array, which is borrowed for the life of `self`; the caller promises that nothing
        // writes it.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}
