//! Products of matrices against plain loops in f64.

use poiesis_kernels::internals::gemm::{Gemm, Left, Matrix, Product, Right, Strides, Write};

use crate::common::limit_instruction_set;

fn number(i: usize) -> f32 {
    ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0
}

#[test]
fn equals_the_plain_loops() {
    limit_instruction_set();
    for (rows, depth, columns) in
        [(1, 1, 1), (5, 3, 17), (13, 400, 64), (7, 20, 130), (25, 9, 33), (6, 0, 5), (3, 2, 100)]
    {
        for transposed in [false, true] {
            for write in [Write::Replace, Write::Add] {
                let left: Vec<f32> = (0..rows * depth).map(number).collect();
                let right: Vec<f32> = (0..depth * columns).map(|i| number(i + 5)).collect();
                let (row, column) = if transposed { (1, rows) } else { (depth, 1) };
                let mut packed = vec![0.0; Gemm::F32.packed_len(depth, columns)];
                Gemm::F32.pack(&mut packed, &Matrix::strided(&right, [depth, columns], [columns, 1]));
                let stride = columns + 3;
                let mut result = vec![0.5; rows * stride];
                let values = &left;
                let product = Product {
                    left: Left::new(values, row, column),
                    right: Right::Packed(&packed),
                    rows,
                    depth,
                    columns,
                    write,
                };
                Gemm::F32.multiply(product, &mut result, stride);
                for i in 0..rows {
                    for j in 0..columns {
                        let start = if write == Write::Add { 0.5 } else { 0.0 };
                        let expected = (0..depth).fold(start, |sum, p| {
                            sum + f64::from(left[i * row + p * column]) * f64::from(right[p * columns + j])
                        });
                        let got = f64::from(result[i * stride + j]);
                        assert!((got - expected).abs() < 1e-4, "{rows}x{depth}x{columns}");
                    }
                    assert!(result[i * stride + columns..(i + 1) * stride].iter().all(|&x| x == 0.5));
                }
            }
        }
    }
}

#[test]
fn rows_and_columns_in_runs() {
    limit_instruction_set();
    // A convolution of 3×4 taps over an image of 7×11 pixels of 2 values, from its second tap on.
    let (pitch, width, channels, columns) = (22, 8, 2, 70);
    let image: Vec<f32> = (0..7 * pitch).map(number).collect();
    for (stride, rows) in [(1, 5 * 8), (1, 13), (2, 2 * 4)] {
        let width = width / stride;
        let depth = 11 * channels;
        let right: Vec<f32> = (0..depth * columns).map(|i| number(i + 5)).collect();
        let mut packed = vec![0.0; Gemm::F32.packed_len(depth, columns)];
        Gemm::F32.pack(&mut packed, &Matrix::strided(&right, [depth, columns], [columns, 1]));
        let left = Left {
            values: &image,
            rows: Strides { first: 0, step: stride * channels, run: width, jump: stride * pitch },
            columns: Strides { first: channels, step: 1, run: 4 * channels, jump: pitch },
            rounded: false,
        };
        let mut result = vec![0.0; rows * columns];
        let product =
            Product { left, right: Right::Packed(&packed), rows, depth, columns, write: Write::Replace };
        Gemm::F32.multiply(product, &mut result, columns);
        for i in 0..rows {
            let corner = i / width * stride * pitch + i % width * stride * channels;
            for j in 0..columns {
                let expected: f64 = (0..depth)
                    .map(|p| {
                        let tap = p + channels;
                        let x = image[corner + tap / (4 * channels) * pitch + tap % (4 * channels)];
                        f64::from(x) * f64::from(right[p * columns + j])
                    })
                    .sum();
                let got = f64::from(result[i * columns + j]);
                assert!((got - expected).abs() < 1e-4, "row {i}, column {j}: {got} {expected}");
            }
        }
    }
}

#[test]
fn packs_transposed_matrices() {
    limit_instruction_set();
    let (rows, columns) = (35, 70);
    let source: Vec<f32> = (0..rows * columns).map(number).collect();
    let transposed: Vec<f32> = (0..rows * columns).map(|i| source[i % rows * columns + i / rows]).collect();
    let mut a = vec![0.0; Gemm::F32.packed_len(rows, columns)];
    let mut b = vec![1.0; Gemm::F32.packed_len(rows, columns)];
    Gemm::F32.pack(&mut a, &Matrix::strided(&source, [rows, columns], [columns, 1]));
    Gemm::F32.pack(&mut b, &Matrix::strided(&transposed, [rows, columns], [1, rows]));
    assert_eq!(a, b);
}
