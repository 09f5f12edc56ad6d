//! Options of attention.

/// The options of [`attention`](crate::attention()).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttentionOptions {
    /// Whether a query sees only the keys up to its own position. The last query is at the position of the last key: with fewer
    /// queries than keys, query `i` sees the keys up to `keys − queries + i`.
    pub causal: bool,
    /// Factor on the products of queries and keys; `None` for `1 / √dim`.
    pub scale: Option<f64>,
}
