//! Inception against PyTorch, with weights that a formula gives both sides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::SafeTensors;

use super::*;
use crate::nn::{Array, Arrays};
use crate::testing::distance;

/// Relative to the largest: some hundred roundings in a row, f32 here against f64 there.
const TOLERANCE: f64 = 5e-6;

/// As in `parity.py`: SplitMix64 of the CRC-32 of the name and the position.
fn uniform(name: &str, count: usize) -> Vec<f64> {
    let crc = !name.bytes().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    let number = |at: usize| {
        let z = (u64::from(crc) << 32).wrapping_add(at as u64);
        let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count).map(number).collect()
}

fn array(name: &str, shape: &[usize]) -> Array {
    let part = name.rsplit('.').next().unwrap();
    let fan_in: usize = shape[1..].iter().product();
    let value = |u: f64| match part {
        "weight" if shape.len() == 1 => 0.75 + 0.5 * u,
        "running_var" => 0.75 + 0.5 * u,
        "bias" | "running_mean" => 0.2 * u - 0.1,
        _ => (2.0 * u - 1.0) * (6.0 / fan_in as f64).sqrt(),
    };
    let data = uniform(name, shape.iter().product()).into_iter().map(|u| value(u) as f32).collect();
    Array { shape: shape.to_vec(), data }
}

fn fixture() -> (BTreeMap<String, Vec<f32>>, Arrays) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/features/inception/parity.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let convs: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["convs"]).unwrap();
    let mut arrays = Arrays::from([("fc.weight".into(), array("fc.weight", &[CLASSES, DIMS]))]);
    for (conv, shape) in &convs {
        let weight = format!("{conv}.conv.weight");
        arrays.insert(weight.clone(), array(&weight, shape));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            let name = format!("{conv}.bn.{part}");
            arrays.insert(name.clone(), array(&name, &shape[..1]));
        }
    }
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values =
        |view: safetensors::tensor::TensorView<'_>| bytemuck::pod_collect_to_vec::<u8, f32>(view.data());
    (tensors.iter().map(|(name, view)| (name.to_owned(), values(view))).collect(), arrays)
}

fn weights(arrays: Arrays) -> Weights {
    Weights { path: "given.pth".into(), arrays, sha256: "0123456789".into() }
}

#[test]
fn features_and_logits_are_those_of_pytorch_and_faults_name_the_array() {
    let (theirs, arrays) = fixture();
    let device = Device::flex();

    let fault = |arrays: Arrays| {
        let error = Inception::with(weights(arrays), "x".into(), &device).err().unwrap();
        (error.to_string(), error.hint().unwrap())
    };
    let mut lacking = arrays.clone();
    lacking.remove("Mixed_6c.branch7x7dbl_4.bn.running_mean");
    let (message, hint) = fault(lacking);
    assert!(message.contains("`Mixed_6c.branch7x7dbl_4.bn.running_mean` is missing"), "{message}");
    assert!(message.contains("given.pth") && hint.contains("pytorch-fid"));
    let mut misshapen = arrays.clone();
    misshapen.insert("fc.weight".into(), Array { shape: vec![1000, DIMS], data: vec![0.0; 1000 * DIMS] });
    assert!(
        fault(misshapen).0.contains("`fc.weight` has shape [1000, 2048], the network wants [1008, 2048]")
    );

    let network = Inception::with(weights(arrays), "x".into(), &device).unwrap();
    for (name, height, width) in [("small", 32, 24), ("large", 310, 340), ("exact", 299, 299)] {
        let shape = ImageShape { height, width, channels: 3 };
        let pixels = uniform(&format!("image.{name}"), shape.dims());
        let pixels: Vec<u8> = pixels.into_iter().map(|u| (256.0 * u) as u8).collect();
        let found = network.compute(&pixels, shape);
        for (part, ours) in [("features", &found.values), ("logits", &found.logits)] {
            let away = distance(ours, &theirs[&format!("{name}.{part}")]);
            assert!(away <= TOLERANCE, "{part} of {name} are {away:e} away");
        }
    }
}

#[test]
fn grey_and_transparent_images_are_read_as_colour() {
    assert_eq!(colour(&[51]), [0.2; 3]);
    assert_eq!(colour(&[255, 0, 51, 0]), [1.0; 3]);
    assert_eq!(colour(&[255, 0, 51, 255]), [1.0, 0.0, 0.2]);
}

#[test]
fn resizing_is_bilinear_between_the_centres_of_pixels() {
    // Two pixels: the left quarter is the first one, the right quarter the second, and between them it changes evenly.
    let row = resized(&[0, 255], ImageShape { height: 1, width: 2, channels: 1 });
    let red: Vec<f32> = row[..3 * SIDE].iter().step_by(3).copied().collect();
    assert!((red[0], red[SIDE / 4 - 1]) == (-1.0, -1.0) && (red[SIDE - 1] - 1.0).abs() < 1e-6);
    assert!(red[SIDE / 2].abs() < 1e-5 && red.windows(2).all(|pair| pair[1] > pair[0] - 1e-6));
    // Much smaller images are not smoothed: of 598 pixels each second pair is averaged.
    let stripes: Vec<u8> = (0..598).map(|x| if x % 4 < 2 { 0 } else { 255 }).collect();
    let row = resized(&stripes, ImageShape { height: 1, width: 598, channels: 1 });
    assert_eq!([row[0], row[3], row[6]], [-1.0, 1.0, -1.0]);
}
