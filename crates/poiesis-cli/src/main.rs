//! poiesis
fn main() {}
