//! One evaluation for all families, a metric a file. Every number carries the protocol it was measured with.

mod bound;
mod nearest;
mod sliced_wasserstein;

pub use bound::{Bound, BoundProtocol, bound, validation_bound};
pub use nearest::{Nearest, NeighbourStatistics, nearest, neighbour_statistics};
pub use sliced_wasserstein::{SlicedWasserstein, sliced_wasserstein};
