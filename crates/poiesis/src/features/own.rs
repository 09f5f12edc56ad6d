//! The feature network of a data set: a small convolutional network that was trained on it, and the file that keeps it beside the
//! packed data.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::Dataset;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::sensitivity::Sensitivity;
use super::{FeatureNetwork, Features};
use crate::atomic;
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::nn::{
    Activation, Array, Arrays, BatchNorm, Conv2d, Init, Initializer, Linear, Mode, SquareKernel, StateDict,
    activate, flatten,
};

/// The file in the folder of a data set.
const FILE: &str = "features.safetensors";
/// Features of an image.
const DIMS: usize = 64;
/// Features of the first convolutions; all further ones have as many as the last of these.
const WIDTHS: [usize; 3] = [16, 32, 64];
/// Images whose longer side is larger are halved at once.
const LARGE: usize = 64;
/// The longer side of the last image.
const LAST: usize = 4;
/// Images that are computed at once.
const BATCH: usize = 64;
const HE: Initializer = Initializer::FanInNormal(std::f64::consts::SQRT_2);

/// What a feature network was trained to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The classes of the data.
    Classes,
    /// By how many quarter turns an image was rotated (Gidaris et al. 2018, arXiv:1803.07728), where there are no classes.
    Rotations,
}

impl Task {
    /// The task in a word.
    pub fn name(self) -> &'static str {
        match self {
            Task::Classes => "classes",
            Task::Rotations => "rotations",
        }
    }
}

/// How a feature network was made, and what it can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// The name of the data set.
    pub data: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The shape of its images.
    pub shape: ImageShape,
    /// What the network was trained to predict.
    pub task: Task,
    /// Outputs of the network: the classes, or four rotations.
    pub outputs: usize,
    /// Seed of weights and batches.
    pub seed: u64,
    /// Training steps.
    pub steps: u64,
    /// Images that it was trained on.
    pub images: usize,
    /// Images that it had not seen, on which the accuracy was measured.
    pub held_out: usize,
    /// Fraction of them that it classifies correctly.
    pub accuracy: f64,
    /// How the Fréchet distance in its features reacts to changes.
    pub sensitivity: Sensitivity,
}

/// The network itself.
#[derive(Module, Debug)]
pub(super) struct Network {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    features: Linear,
    output: Linear,
}

impl Network {
    pub(super) fn new(shape: ImageShape, outputs: usize, init: &mut Init) -> Network {
        let (mut convs, mut norms) = (Vec::new(), Vec::new());
        let (mut sides, mut inputs) = ([shape.height, shape.width], shape.channels);
        loop {
            let longer = sides[0].max(sides[1]);
            let stride = if convs.is_empty() && longer <= LARGE { 1 } else { 2 };
            let outputs = WIDTHS[convs.len().min(WIDTHS.len() - 1)];
            convs.push(Conv2d::new([inputs, outputs], SquareKernel { size: 3, stride }, HE, init));
            norms.push(BatchNorm::new(outputs, 0.0, 1e-5, init));
            inputs = outputs;
            sides = sides.map(|side| side.div_ceil(stride));
            if sides[0].max(sides[1]) <= LAST {
                break;
            }
        }
        let features = Linear::with_bias(sides[0] * sides[1] * inputs, DIMS, HE, init);
        let output = Linear::with_bias(DIMS, outputs, Initializer::FanIn, init);
        Network { convs, norms, features, output }
    }

    /// The features and the logits of images. The features are what the last layer sees, before its activation.
    pub(super) fn forward(&self, x: Tensor<4>, mode: Mode) -> (Tensor<2>, Tensor<2>) {
        let stage =
            |h, (conv, norm): (&Conv2d, &BatchNorm)| norm.forward(conv.forward(h), Activation::Relu, mode);
        let h = self.convs.iter().zip(&self.norms).fold(x, stage);
        let features = self.features.forward(flatten(h), Activation::Identity);
        let logits = self.output.forward(activate(features.clone(), Activation::Relu), Activation::Identity);
        (features, logits)
    }
}

/// A feature network that was trained on a data set.
pub struct OwnNetwork {
    name: String,
    info: NetworkInfo,
    arrays: Arrays,
    network: Network,
    device: Device,
}

impl OwnNetwork {
    /// Where the feature network of a data set is kept.
    pub fn path(dataset: &Dataset) -> PathBuf {
        dataset.folder().join(FILE)
    }

    /// Opens the feature network of a data set; `None` when none was made yet.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Weights`] when the file is damaged, or was made for other data.
    pub fn open(dataset: &Dataset, device: &Device) -> Result<Option<OwnNetwork>> {
        let path = OwnNetwork::path(dataset);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = poiesis_collect::regular::read(&path).map_err(Error::io("read", &path))?;
        let (info, arrays) = read(&bytes).map_err(|reason| unusable(&path, reason))?;
        if info.fingerprint != dataset.card().fingerprint {
            return Err(unusable(&path, "it was made for other data".into()));
        }
        OwnNetwork::with(info, arrays, device).map(Some).map_err(|reason| unusable(&path, reason))
    }

    pub(super) fn with(info: NetworkInfo, arrays: Arrays, device: &Device) -> Result<OwnNetwork, String> {
        let blank = Network::new(info.shape, info.outputs, &mut Init::blank(device));
        let network = StateDict::from_arrays(arrays.clone(), device).load_into(blank)?;
        let mut hasher = blake3::Hasher::new();
        for (name, array) in &arrays {
            hasher.update(format!("{name} {:?}", array.shape).as_bytes());
            hasher.update(bytemuck::cast_slice(&array.data));
        }
        let hash = hasher.finalize().to_hex();
        let name = format!("features-of-{}-{}", crate::error::escaped(&info.data), &hash[..8]);
        Ok(OwnNetwork { name, info, arrays, network, device: device.clone() })
    }

    /// How it was made, and what it can tell.
    pub fn info(&self) -> &NetworkInfo {
        &self.info
    }

    pub(super) fn set_info(&mut self, change: impl FnOnce(&mut NetworkInfo)) {
        change(&mut self.info);
    }

    /// Keeps it with the data set, instead of an earlier one; returns where.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(super) fn keep(&self, dataset: &Dataset) -> Result<PathBuf> {
        let path = OwnNetwork::path(dataset);
        let malformed = |reason: String| Error::Malformed { path: path.clone(), reason };
        let info = serde_json::to_string(&self.info).map_err(|error| malformed(error.to_string()))?;
        let bytes: Vec<(&String, &Array, Vec<u8>)> = self
            .arrays
            .iter()
            .map(|(name, array)| (name, array, array.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let views: Result<Vec<_>, _> = bytes
            .iter()
            .map(|(name, array, bytes)| {
                Ok((name.as_str(), TensorView::new(Dtype::F32, array.shape.clone(), bytes)?))
            })
            .collect();
        let views = views.map_err(|error: safetensors::SafeTensorError| malformed(error.to_string()))?;
        let metadata = HashMap::from([("info".to_owned(), info)]);
        let file =
            safetensors::serialize(views, Some(metadata)).map_err(|error| malformed(error.to_string()))?;
        atomic::write(&path, &file)?;
        Ok(path)
    }
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::Weights {
        path: path.to_owned(),
        reason,
        remedy: "make the feature network of the data again".into(),
    }
}

fn read(bytes: &[u8]) -> Result<(NetworkInfo, Arrays), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let info = header.metadata().as_ref().and_then(|metadata| metadata.get("info"));
    let info: NetworkInfo = serde_json::from_str(info.ok_or("it does not say how it was made")?)
        .map_err(|error| error.to_string())?;
    let ImageShape { height, width, channels } = info.shape;
    let sides = [height, width, info.outputs].iter().all(|n| (1..=1 << 16).contains(n));
    if !sides || !matches!(channels, 1 | 3 | 4) {
        return Err("it says that it is for images that do not exist".into());
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut arrays = Arrays::new();
    for (name, view) in tensors.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("the array `{}` is not of 32-bit floats", crate::error::escaped(name)));
        }
        let data = bytemuck::pod_collect_to_vec::<u8, f32>(view.data());
        arrays.insert(name.to_owned(), Array { shape: view.shape().to_vec(), data });
    }
    Ok((info, arrays))
}

impl FeatureNetwork for OwnNetwork {
    fn name(&self) -> &str {
        &self.name
    }

    fn dims(&self) -> usize {
        DIMS
    }

    fn classes(&self) -> usize {
        match self.info.task {
            Task::Classes => self.info.outputs,
            Task::Rotations => 0,
        }
    }

    fn batch_size(&self) -> usize {
        BATCH
    }

    fn compute(&self, images: &[u8], shape: ImageShape) -> Features {
        assert_eq!(shape, self.info.shape, "a feature network is for images of one shape");
        let x = to_tensor(images, shape, &self.device);
        let (features, logits) = self.network.forward(x, Mode::Eval);
        let values = |x: Tensor<2>| x.into_data().iter::<f32>().collect::<Vec<f32>>();
        let logits = if self.classes() > 0 { values(logits) } else { Vec::new() };
        Features { dims: DIMS, values: values(features), classes: self.classes(), logits }
    }
}

impl OwnNetwork {
    /// The likeliest output of each image, whatever the task.
    pub(super) fn predictions(&self, images: &[u8]) -> Vec<usize> {
        let x = to_tensor(images, self.info.shape, &self.device);
        let (_, logits) = self.network.forward(x, Mode::Eval);
        let outputs = logits.dims()[1];
        let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
        let likeliest = |row: &[f32]| {
            (0..outputs).fold(0, |best, class| if row[class] > row[best] { class } else { best })
        };
        logits.chunks_exact(outputs).map(likeliest).collect()
    }
}

/// 8-bit images as a tensor in [-1, 1].
pub(super) fn to_tensor(images: &[u8], shape: ImageShape, device: &Device) -> Tensor<4> {
    let count = images.len() / shape.dims();
    let values: Vec<f32> = images.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, [count, shape.height, shape.width, shape.channels]), device)
}
