//! The lines of an image that a convolutional LSTM processes.

/// The lines of an image that a [`conv_lstm`](crate::conv_lstm()) processes one after the other: the line that a position
/// `(row, column)` belongs to, and its place in that line. The predecessor of a position, whose cell it continues, is at the
/// same place of the previous line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lines {
    /// Rows from the top: line `row`, place `column`.
    Rows,
    /// Diagonals from the upper left corner: line `row + column`, place `row`. The predecessor is the position to the
    /// left, and the position above is one place before the predecessor.
    Diagonals,
    /// The same from the upper right corner: line `row + width − 1 − column`, place `row`. The predecessor is the position to
    /// the right.
    MirroredDiagonals,
}
