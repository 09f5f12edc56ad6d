//! Statistics that are fitted to vectors, such as the features of images: each method in one file. All of them are deterministic, and
//! what is drawn comes from the keyed generator.

mod agreement;
pub mod clusters;
pub mod conformal;
mod dense;
mod eigen;
pub mod lbfgs;
mod logistic;
mod matching;
mod mixture;
mod near;
mod pca;
mod probe;
mod rows;
mod tsne;

pub use agreement::Contingency;
pub use clusters::{Clusters, k_means};
pub use conformal::Conformal;
pub use dense::{factor, products};
pub use eigen::{Eigen, symmetric_eigen, symmetric_eigenvalues};
pub use logistic::Logistic;
pub use matching::best_matching;
pub use mixture::Mixture;
pub use near::{Near, near};
pub use pca::Pca;
pub use probe::{Probe, likeliest};
pub use rows::{Rows, Standardizer};
pub use tsne::{T_SNE_STEPS, t_sne};
