//! Code shared by the tests of all operations: random numbers and comparisons.

use std::path::Path;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use poiesis_kernels::{Activation, SimdLimit};
use safetensors::SafeTensors;

/// Every activation, with one slope.
pub(crate) const ACTIVATIONS: [Activation; 9] = [
    Activation::Identity,
    Activation::Relu,
    Activation::LeakyRelu(0.2),
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Softplus,
    Activation::Elu,
    Activation::Silu,
    Activation::Gelu,
];

/// The best instruction set that this test process may use.
fn asked_limit() -> SimdLimit {
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

/// Whether this process runs `this_test` and no other. If not, runs it in a process of its own, where it may change what applies to
/// the whole process.
pub(crate) fn runs_alone(this_test: &str) -> bool {
    const ALONE: &str = "POIESIS_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    let output = test.args(["--exact", this_test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
    false
}

/// `count` numbers in (−1, 1) that depend on `seed`.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    // Before anything is computed from them.
    limit_instruction_set();
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

/// The same values in f64.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The distribution of the standard normal: `erfc(−x / √2) / 2`, by its series near 0 and its continued fraction elsewhere.
pub(crate) fn normal_distribution(x: f64) -> f64 {
    let z = x.abs();
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let tail = if z < 3.0 {
        let mut term = z;
        let mut sum = z;
        for k in 1..100 {
            term *= z * z / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 - density * sum
    } else {
        density / (1..200).rev().fold(z, |f, k| z + f64::from(k) / f)
    };
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// The gradient of a leaf that has one.
pub(crate) fn gradient<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
    values(leaf.grad(gradients).unwrap())
}

/// The result `y` of an operation, and the gradients of its input and of two parameters if that of `y` is `dy`.
pub(crate) fn with_gradients<const X: usize, const W: usize, const Y: usize>(
    y: Tensor<Y>,
    dy: &[f32],
    (x, weight, bias): (&Tensor<X>, &Tensor<W>, &Tensor<1>),
) -> Vec<Vec<f32>> {
    let dy = tensor(dy, y.dims(), &y.device());
    let gradients = (y.clone() * dy).sum().backward();
    let [dweight, dbias] = [gradient(weight, &gradients), gradient(bias, &gradients)];
    vec![values(y), gradient(x, &gradients), dweight, dbias]
}

/// Result and every gradient of a normalisation of the last axis of `shape`, with an input that is transposed in memory or not.
pub(crate) fn run_norm(
    norm: impl FnOnce(Tensor<3>, Tensor<1>, Tensor<1>) -> Tensor<3>,
    shape: [usize; 3],
    transposed: bool,
) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let [a, b, channels] = shape;
    let count = shape.iter().product();
    let x: Vec<f32> = numbers(count, 1).iter().map(|x| x * 2.0 + 0.5).collect();
    let memory = if transposed { [a, channels, b] } else { shape };
    let leaf = tensor(&x, memory, &device).require_grad();
    let x = if transposed { leaf.clone().swap_dims(1, 2) } else { leaf.clone() };
    let [gamma, beta] =
        [2, 3].map(|seed| tensor(&numbers(channels, seed), [channels], &device).require_grad());
    let y = norm(x, gamma.clone(), beta.clone());
    with_gradients(y, &numbers(count, 4), (&leaf, &gamma, &beta))
}

/// Limits the instruction set of this process, if it is asked to. Tests call this before they compute anything, by themselves or by
/// asking for a device or for numbers, as the first operation of the process settles the instruction set.
pub(crate) fn limit_instruction_set() {
    poiesis_kernels::limit_simd(asked_limit());
}

/// The device of most tests.
pub(crate) fn flex_device() -> Device {
    limit_instruction_set();
    Device::flex()
}

/// The same with autodiff.
pub(crate) fn autodiff_device() -> Device {
    flex_device().autodiff()
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

/// [`assert_close`] for each of several outputs.
pub(crate) fn assert_all_close(got: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: outputs");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_close(got, &wide(expected), tolerance, &format!("{what}, output {i}"));
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
        let expected = self.tensor::<D>(name, &flex_device());
        assert_eq!(got.dims(), expected.dims(), "{name}: shapes");
        let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
        assert_close(&values(got), &expected, tolerance, name);
    }

    /// Runs `operation` on the arrays `names`, an input and two parameters, and asserts that the result is the array `y` and that
    /// the gradients of its sum with `dy` are those called `d` and the name, within `tolerances` of result and gradients. The names
    /// of arguments and results begin with `prefixes`.
    pub(crate) fn assert_operation<const X: usize, const W: usize, const Y: usize>(
        &self,
        prefixes: [&str; 2],
        names: [&str; 3],
        tolerances: [f64; 2],
        operation: impl FnOnce(Tensor<X>, Tensor<W>, Tensor<1>) -> Tensor<Y>,
    ) {
        let device = autodiff_device();
        let argument = |name: &str| format!("{}{name}", prefixes[0]);
        let gradient = |name: &str| format!("{}d{name}", prefixes[1]);
        let x = self.tensor::<X>(&argument(names[0]), &device).require_grad();
        let weight = self.tensor::<W>(&argument(names[1]), &device).require_grad();
        let bias = self.tensor::<1>(&argument(names[2]), &device).require_grad();
        let y = operation(x.clone(), weight.clone(), bias.clone());
        let gradients = (y.clone() * self.tensor(&argument("dy"), &device)).sum().backward();
        self.assert_close(&format!("{}y", prefixes[1]), y, tolerances[0]);
        self.assert_close(&gradient(names[0]), x.grad(&gradients).unwrap(), tolerances[1]);
        self.assert_close(&gradient(names[1]), weight.grad(&gradients).unwrap(), tolerances[1]);
        self.assert_close(&gradient(names[2]), bias.grad(&gradients).unwrap(), tolerances[1]);
    }
}
