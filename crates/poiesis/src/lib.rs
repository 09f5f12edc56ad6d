//! poiesis
