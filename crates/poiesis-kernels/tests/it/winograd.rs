//! Every scheme of Winograd's algorithm against direct sums.

use poiesis_kernels::internals::gemm::Gemm;
use poiesis_kernels::internals::pool::Buffer;
use poiesis_kernels::internals::winograd::{
    Geometry, Plan, SchemeName, dgrad, direct_dgrad, direct_fprop, direct_wgrad, fprop, wgrad,
};
use poiesis_kernels::{Precision, instruction_set};

use crate::common::{assert_close, limit_instruction_set, numbers, wide};

fn geometry(batch: usize, size: usize, kernel: usize, stride: usize, channels: usize) -> Geometry {
    let padding = (kernel - 1) / 2;
    Geometry {
        batch,
        large: [size, size + 1],
        channels,
        small: [size, size + 1].map(|size| (size + 2 * padding - kernel) / stride + 1),
        out: 48,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
        groups: 1,
        active_taps: kernel * kernel,
        transposed: false,
    }
}

/// Every scheme, whether it would be chosen or not, against direct sums.
#[test]
fn every_scheme_equals_direct_sums() {
    let cases = [
        (SchemeName::F22, 4, 2),
        (SchemeName::F42, 4, 2),
        (SchemeName::F22, 2, 1),
        (SchemeName::F42, 2, 1),
        (SchemeName::F23, 3, 1),
        (SchemeName::F43, 3, 1),
        (SchemeName::F23, 5, 2),
        (SchemeName::F43, 5, 2),
        (SchemeName::F34, 4, 1),
        (SchemeName::F34, 7, 2),
        (SchemeName::F25, 5, 1),
        (SchemeName::F25, 9, 2),
        (SchemeName::F43, 6, 1),
        (SchemeName::F34, 7, 1),
        (SchemeName::F25, 10, 1),
    ];
    for (name, kernel, stride) in cases {
        // The last has too many tiles to be transformed whole.
        for (batch, size, channels) in [(2, 9, 32), (1, 14, 80), (1, 3, 16), (2, 150, 32)] {
            if size > 100 && name != SchemeName::F23 && name != SchemeName::F42 {
                continue;
            }
            for transposed in [false, true] {
                let mut g = geometry(batch, size, kernel, stride, channels);
                g.transposed = transposed;
                check(Plan { scheme: name, gemm: Gemm::F32 }, &g);
            }
        }
    }
}

/// Small whole numbers, which rounding leaves as they are, have exact sums.
#[test]
fn rounded_schemes_equal_direct_sums_of_whole_numbers() {
    limit_instruction_set();
    if !Precision::Bf16.is_supported() {
        println!("skipped: this processor has no AVX512-BF16");
        return;
    }
    let whole = |len, seed| -> Vec<f32> { numbers(len, seed).iter().map(|x| (2.0 * x).round()).collect() };
    for (name, kernel, stride) in [
        (SchemeName::F22, 4, 2),
        (SchemeName::F22, 2, 1),
        (SchemeName::F23, 3, 1),
        (SchemeName::F23, 5, 2),
        (SchemeName::F23, 6, 1),
    ] {
        let plan = Plan { scheme: name, gemm: Gemm::BF16 };
        for (batch, size, channels) in [(2, 9, 32), (1, 14, 96), (1, 3, 32), (2, 40, 32)] {
            for transposed in [false, true] {
                let g = Geometry { out: 64, transposed, ..geometry(batch, size, kernel, stride, channels) };
                let (x, y) = (whole(g.large_len(), 1), whole(g.small_len(), 2));
                let (weight, bias) = (whole(g.weights(), 3), whole(g.out, 4));
                let small = direct_fprop(&g, &x, &weight, Some(&bias));
                assert_eq!(fprop(plan, &g, &x, &weight, Some(&bias))[..], small[..], "{name:?} {g:?}");
                let large = direct_dgrad(&g, &y, &weight, None);
                assert_eq!(dgrad(plan, &g, &y, &weight, None)[..], large[..], "{name:?} {g:?}");
                let gradient = direct_wgrad(&g, &x, &y);
                assert_eq!(wgrad(plan, &g, &x, &y)[..], gradient[..], "{name:?} {g:?}");
            }
        }
    }
}

/// The mean error of rounded factors, which for direct sums is 2.1e-3 of the results' spread.
#[test]
fn rounding_doubles_the_error() {
    limit_instruction_set();
    if !Precision::Bf16.is_supported() {
        println!("skipped: this processor has no AVX512-BF16");
        return;
    }
    for (name, kernel, stride) in [(SchemeName::F22, 4, 2), (SchemeName::F23, 3, 1)] {
        let plan = Plan { scheme: name, gemm: Gemm::BF16 };
        let g = Geometry { out: 64, ..geometry(1, 16, kernel, stride, 256) };
        let (x, y, weight) = (numbers(g.large_len(), 1), numbers(g.small_len(), 2), numbers(g.weights(), 3));
        let pairs = [
            (fprop(plan, &g, &x, &weight, None), direct_fprop(&g, &x, &weight, None)),
            (dgrad(plan, &g, &y, &weight, None), direct_dgrad(&g, &y, &weight, None)),
            (wgrad(plan, &g, &x, &y), direct_wgrad(&g, &x, &y)),
        ];
        for (got, expected) in pairs {
            let squares =
                |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>();
            let errors = squares(&mut got.iter().zip(expected.iter()).map(|(got, expected)| got - expected));
            let error = (errors / squares(&mut expected.iter().copied())).sqrt();
            println!("{name:?}: {error:.1e}");
            assert!((3e-3..5e-3).contains(&error), "{name:?}: {error}");
        }
    }
}

fn check(plan: Plan, g: &Geometry) {
    let x = numbers(g.large_len(), 1);
    let y = numbers(g.small_len(), 2);
    let weight = numbers(g.weights(), 3);
    let small_bias = numbers(g.out, 4);
    let large_bias = numbers(g.channels, 5);
    // Without vectors no scheme is ever chosen.
    if instruction_set() == "portable" {
        return;
    }
    let close = |got: Buffer, expected: Buffer, what: &str| {
        assert_close(&got, &wide(&expected), 1e-5, &format!("{what} of {plan:?} {g:?}"));
    };
    close(
        fprop(plan, g, &x, &weight, Some(&small_bias)),
        direct_fprop(g, &x, &weight, Some(&small_bias)),
        "small image",
    );
    close(
        dgrad(plan, g, &y, &weight, Some(&large_bias)),
        direct_dgrad(g, &y, &weight, Some(&large_bias)),
        "large image",
    );
    close(wgrad(plan, g, &x, &y), direct_wgrad(g, &x, &y), "weight gradient");
}
