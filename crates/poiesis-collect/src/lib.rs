//! poiesis-collect
