//! Files of weights that other programs have written: safetensors, and checkpoints of PyTorch in both of its formats, which are read
//! without running any of the code that a pickle can name.

mod pickle;
mod torch;
mod value;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::nn::{Array, Arrays};

/// Largest file that is read, in bytes: ten times the weights of Inception.
const LARGEST: u64 = 1 << 30;

/// Arrays of a file.
pub(super) struct Weights {
    /// Where they were read.
    pub(super) path: PathBuf,
    /// The arrays by name; only those of 32 and 64-bit floats, the latter rounded to 32.
    pub(super) arrays: Arrays,
    /// The SHA-256 of the file in hexadecimal.
    pub(super) sha256: String,
}

impl Weights {
    /// Reads a checkpoint of PyTorch or a safetensors file, whichever its first bytes say it is.
    pub(super) fn read(path: &Path) -> Result<Weights> {
        let bytes = bytes_of(path)?;
        let arrays = if is_safetensors(&bytes) { safetensors(&bytes) } else { torch::arrays(&bytes) };
        let arrays = arrays.map_err(|reason| unusable(path, reason))?;
        let sha256 = HEXLOWER.encode(Sha256::digest(&bytes).as_slice());
        Ok(Weights { path: path.to_owned(), arrays, sha256 })
    }

    /// Takes the array of that name and shape.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(array) = self.arrays.remove(name) else {
            return Err(unusable(&self.path, format!("the array `{name}` is missing")));
        };
        if array.shape != shape {
            let reason =
                format!("the array `{name}` has shape {:?}, the network wants {shape:?}", array.shape);
            return Err(unusable(&self.path, reason));
        }
        if array.data.iter().any(|x| !x.is_finite()) {
            return Err(unusable(&self.path, format!("the array `{name}` has values that are not finite")));
        }
        Ok(array.data)
    }
}

fn unusable(path: &Path, reason: impl Into<String>) -> Error {
    Error::Weights {
        path: path.to_owned(),
        reason: reason.into(),
        remedy: "give the weights that pytorch-fid publishes, as .pth or safetensors".into(),
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let io = || Error::io("read", path);
    let file: File = poiesis_collect::regular::open(path).map_err(io())?;
    if file.metadata().map_err(io())?.len() > LARGEST {
        return Err(unusable(path, "it is larger than a gibibyte"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(io())?;
    Ok(bytes)
}

/// Whether a file begins as safetensors do: with the length of a header, which is a JSON object.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

fn safetensors(bytes: &[u8]) -> Result<Arrays, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let array = |view: &safetensors::tensor::TensorView<'_>| {
        let data = match view.dtype() {
            Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(view.data()),
            Dtype::F64 => narrowed(&bytemuck::pod_collect_to_vec::<u8, f64>(view.data())),
            _ => return None,
        };
        Some(Array { shape: view.shape().to_vec(), data })
    };
    Ok(tensors.iter().filter_map(|(name, view)| Some((name.to_owned(), array(&view)?))).collect())
}

fn narrowed(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `parity.py` has saved with PyTorch in both formats: a plain array, one of 64-bit floats, a scalar, and a counter.
    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/features/weights/fixtures").join(name)
    }

    #[test]
    fn checkpoints_of_pytorch_are_read_in_both_formats() {
        for name in ["zip.pth", "legacy.pth"] {
            let Weights { arrays, sha256, .. } = Weights::read(&fixture(name)).unwrap();
            assert_eq!(
                arrays.keys().collect::<Vec<_>>(),
                ["bn.running_var", "conv.weight", "scalar"],
                "{name}"
            );
            let weight = &arrays["conv.weight"];
            assert_eq!(
                (&weight.shape[..], &weight.data[..]),
                (&[2, 3][..], &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5][..])
            );
            assert_eq!(arrays["bn.running_var"].data, [0.25, -4.0]);
            assert_eq!(arrays["scalar"], Array { shape: Vec::new(), data: vec![7.0] });
            assert_eq!(sha256.len(), 64);
        }
    }

    #[test]
    fn safetensors_are_read_and_faults_name_the_array() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let data: Vec<u8> = [1.0f32, 2.0, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![3], &data).unwrap();
        std::fs::write(&path, safetensors::serialize([("x", view)], None).unwrap()).unwrap();
        let fault = |name: &str, shape: &[usize]| {
            Weights::read(&path).unwrap().take(name, shape).unwrap_err().to_string()
        };
        assert!(fault("y", &[3]).contains("`y` is missing"));
        assert!(fault("x", &[2]).contains("`x` has shape [3], the network wants [2]"));
        assert!(fault("x", &[3]).contains("`x` has values that are not finite"));
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(Weights::read(&path), Err(Error::Weights { .. })));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Weights::read(&path), Err(Error::Weights { .. })));
        assert!(matches!(Weights::read(folder.path()), Err(Error::Io { .. })));
    }
}
