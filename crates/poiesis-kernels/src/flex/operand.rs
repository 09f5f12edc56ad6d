//! Conversion between Burn's tensors and slices of `f32`.

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Int, Tensor};
use burn_autodiff::ops::NodeGuard;
use burn_backend::DType;
use burn_flex::FlexTensor;

use super::pool::Buffer;

/// The autodiff tensor of the Flex backend.
type AutodiffTensor = <Autodiff<Flex> as burn_backend::BackendTypes>::FloatTensorPrimitive;

/// An argument of an operation: an f32 tensor on Flex.
pub(crate) enum Operand {
    Plain(FlexTensor),
    Tracked(AutodiffTensor),
}

impl Operand {
    /// Takes an f32 tensor of the Flex backend, with or without autodiff; `None` for any other.
    pub(crate) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 {
            return None;
        }
        let tensor = tensor.clone();
        if tensor.is_autodiff() {
            tensor.try_into_primitive::<Autodiff<Flex>>().ok().map(Self::Tracked)
        } else {
            tensor.try_into_primitive::<Flex>().ok().map(Self::Plain)
        }
    }

    /// An optional argument; one that is not given becomes an empty constant.
    pub(crate) fn optional<const D: usize>(tensor: Option<&Tensor<D>>) -> Option<Self> {
        tensor.map_or_else(|| Some(Self::Plain(self::tensor(Buffer::take(0), &[0]))), Self::new)
    }

    /// Whether the argument is in a graph, if only as a constant.
    pub(crate) fn is_autodiff(&self) -> bool {
        matches!(self, Self::Tracked(_))
    }

    /// Whether the argument takes a gradient.
    pub(crate) fn is_tracked(&self) -> bool {
        matches!(self, Self::Tracked(tensor) if tensor.is_tracked())
    }

    /// The values, contiguous, and the node in the graph; an argument without autodiff becomes a constant.
    pub(crate) fn into_parts(self) -> (FlexTensor, NodeGuard) {
        let tracked = match self {
            Self::Plain(values) => AutodiffTensor::new(values),
            Self::Tracked(tracked) => tracked,
        };
        let (values, node) = tracked.into_parts();
        (contiguous(&values), node)
    }

    /// The values, contiguous.
    pub(crate) fn into_values(self) -> FlexTensor {
        match self {
            Self::Plain(values) => contiguous(&values),
            Self::Tracked(tracked) => contiguous(&tracked.into_parts().0),
        }
    }
}

/// The values of arguments without autodiff, contiguous; `None` if one of them is in a graph.
pub(crate) fn constants<const N: usize>(operands: [Operand; N]) -> Option<[FlexTensor; N]> {
    let constant = !operands.iter().any(Operand::is_autodiff);
    constant.then(|| operands.map(Operand::into_values))
}

/// The values of an i64 or i32 tensor of the Flex backend in row-major order; `None` for any other.
pub(crate) fn integers<const D: usize>(tensor: &Tensor<D, Int>) -> Option<Vec<i64>> {
    let tensor = tensor.clone();
    let tensor = if tensor.is_autodiff() {
        tensor.try_into_primitive::<Autodiff<Flex>>().ok()?
    } else {
        tensor.try_into_primitive::<Flex>().ok()?
    };
    let tensor = if tensor.layout().contiguous_offsets().is_some() { tensor } else { tensor.to_contiguous() };
    match tensor.dtype() {
        DType::I64 => tensor.as_slice::<i64>().map(<[i64]>::to_vec),
        DType::I32 => tensor.as_slice::<i32>().map(|values| values.iter().copied().map(i64::from).collect()),
        _ => None,
    }
}

/// The same values in row-major order without gaps.
pub(crate) fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor.clone() } else { tensor.to_contiguous() }
}

/// The values of a tensor that [`contiguous`] returned.
pub(crate) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or(&[])
}

/// A tensor of `shape` that owns `buffer`.
pub(crate) fn tensor(buffer: Buffer, shape: &[usize]) -> FlexTensor {
    debug_assert_eq!(buffer.len(), shape.iter().product::<usize>());
    let layout = burn_flex::Layout::contiguous(burn_std::Shape::from(shape.to_vec()));
    FlexTensor::new(buffer.into_bytes(), layout, DType::F32)
}
