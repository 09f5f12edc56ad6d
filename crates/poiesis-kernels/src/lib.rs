//! poiesis-kernels
