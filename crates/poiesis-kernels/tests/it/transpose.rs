//! Transposing matrices.

use poiesis_kernels::internals::transpose;

use crate::common::limit_instruction_set;

#[test]
fn every_size() {
    limit_instruction_set();
    for (rows, columns) in [(0, 5), (1, 1), (8, 8), (7, 9), (16, 24), (33, 70), (64, 11)] {
        let (source_stride, target_stride) = (columns + 3, rows + 2);
        let source: Vec<f32> = (0..rows * source_stride).map(|i| i as f32).collect();
        let mut target = vec![-1.0; columns * target_stride];
        transpose(&source, source_stride, [rows, columns], &mut target, target_stride);
        for (i, &value) in target.iter().enumerate() {
            let (c, r) = (i / target_stride, i % target_stride);
            let expected = if r < rows { (r * source_stride + c) as f32 } else { -1.0 };
            assert_eq!(value, expected, "{rows}×{columns}, row {r}, column {c}");
        }
    }
}
