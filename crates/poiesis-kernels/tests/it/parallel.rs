//! Tasks on many threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use poiesis_kernels::internals::tasks;

/// A thread that spins for tasks may execute one that starts tasks of its own and waits for them.
#[test]
fn tasks_within_tasks_come_to_an_end() {
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let sum = AtomicUsize::new(0);
        pool.install(|| {
            for _ in 0..200 {
                tasks(7, |i| {
                    tasks(5, |j| {
                        sum.fetch_add(10 * i + j, Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(sum.into_inner(), 200 * (5 * 10 * 21 + 7 * 10));
    }
}
