//! poiesis-collect

/// What can go wrong while reading or packing data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {}
