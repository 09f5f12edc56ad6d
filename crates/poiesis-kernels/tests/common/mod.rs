//! Code shared by the tests of all operations: random numbers and comparisons.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::SimdLimit;
use safetensors::SafeTensors;

/// The best instruction set that this test process may use.
pub(crate) fn asked_limit() -> SimdLimit {
    match std::env::var("POIESIS_TEST_SIMD").as_deref() {
        Ok("avx2") => SimdLimit::Avx2,
        Ok("portable") => SimdLimit::Portable,
        _ => SimdLimit::Best,
    }
}

/// Runs all other tests of this process again with lesser instruction sets, in processes of their own.
pub(crate) fn assert_right_with_every_instruction_set(this_test: &str) {
    if std::env::var_os("POIESIS_TEST_SIMD").is_some() {
        return;
    }
    for simd in ["avx2", "portable"] {
        let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
        let tests = tests.args(["--skip", this_test]).env("POIESIS_TEST_SIMD", simd);
        let output = tests.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "with {simd}:\n{text}");
        assert!(text.contains("test result: ok"), "with {simd}:\n{text}");
    }
}

/// `count` numbers in (−1, 1) that depend on `seed`.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    // Before anything is computed from them.
    poiesis_kernels::limit_simd(asked_limit());
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub(crate) fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// Asserts that `got` is within `tolerance` of `expected`, relative to the largest expected value.
pub(crate) fn assert_close(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    let scale = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(g) - e).abs() <= tolerance * scale,
            "{what}: element {i} is {g}, expected {e} (scale {scale})"
        );
    }
}

/// Runs `work` in pools of 1, 2 and 3 threads and asserts that the results have the same bits.
pub(crate) fn assert_same_for_any_threads(work: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let numbers = pool.install(&work);
        numbers
            .into_iter()
            .map(|numbers| numbers.into_iter().map(f32::to_bits).collect())
            .collect::<Vec<Vec<u32>>>()
    };
    let one = run(1);
    assert!(run(2) == one, "2 threads give other numbers than 1");
    assert!(run(3) == one, "3 threads give other numbers than 1");
}

/// Arrays of another implementation: `fixtures/<name>.safetensors`, made by hand with `fixtures/<name>.py`.
pub(crate) struct Fixture(Vec<u8>);

impl Fixture {
    pub(crate) fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        Self(std::fs::read(folder.join(name).with_extension("safetensors")).unwrap())
    }

    /// The f32 array called `name`.
    pub(crate) fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let arrays = SafeTensors::deserialize(&self.0).unwrap();
        let array = arrays.tensor(name).unwrap_or_else(|_| panic!("the fixture has no `{name}`"));
        let values = bytemuck::pod_collect_to_vec::<u8, f32>(array.data());
        Tensor::from_data(TensorData::new(values, array.shape().to_vec()), device)
    }

    /// Asserts that `got` is the array called `name` within `tolerance`, relative to its largest value.
    pub(crate) fn assert_close<const D: usize>(&self, name: &str, got: Tensor<D>, tolerance: f64) {
        let expected = self.tensor::<D>(name, &Device::flex());
        assert_eq!(got.dims(), expected.dims(), "{name}: shapes");
        let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
        assert_close(&values(got), &expected, tolerance, name);
    }
}
