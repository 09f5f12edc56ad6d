//! Statistics that are fitted to vectors, such as the features of images: each method in one file. All of them are deterministic, and
//! what is drawn comes from the keyed generator.

mod agreement;
pub mod clusters;
mod dense;
mod eigen;
pub mod lbfgs;
mod logistic;
mod matching;
mod mixture;
mod pca;
mod probe;
mod rows;

pub use agreement::Contingency;
pub use clusters::{Clusters, k_means};
pub use dense::{factor, products};
pub use eigen::{Eigen, symmetric_eigen, symmetric_eigenvalues};
pub use logistic::Logistic;
pub use matching::best_matching;
pub use mixture::Mixture;
pub use pca::Pca;
pub use probe::{Probe, likeliest};
pub use rows::{Rows, Standardizer};
