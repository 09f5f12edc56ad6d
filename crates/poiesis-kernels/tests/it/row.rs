//! Products of one row.

use poiesis_kernels::internals::gemm::{Gemm, Left, Matrix, Product, Right, Write};
use poiesis_kernels::internals::row_product;

use crate::common::numbers;

#[test]
fn equals_a_row_of_the_product_of_matrices() {
    for (depth, columns, stride) in
        [(1, 1, 1), (0, 3, 3), (17, 64, 64), (500, 300, 311), (5, 200, 200), (64, 6, 6)]
    {
        let x = numbers(depth, 1);
        let weight = numbers(depth * stride, 2);
        let mut packed = vec![0.0; Gemm::F32.packed_len(depth, columns)];
        Gemm::F32.pack(&mut packed, &Matrix::strided(&weight, [depth, columns], [stride, 1]));
        let mut expected = vec![0.5; columns];
        let left = Left::new(&x, depth, 1);
        let right = Right::Packed(&packed);
        let whole = Product { left, right, rows: 1, depth, columns, write: Write::Replace };
        Gemm::F32.multiply(whole, &mut expected, columns);
        let mut got = vec![0.5; columns];
        row_product(&x, &weight, stride, &mut got);
        assert_eq!(got, expected, "{depth} by {columns}");
    }
}
