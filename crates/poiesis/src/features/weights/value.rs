//! Values of pickles, and what the few names of Python that describe tensors make of them.

use std::rc::Rc;

/// How deep values lie within values at most: a tensor needs four levels.
const DEEPEST: u8 = 16;

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    Int(i128),
    Text(Rc<str>),
    /// With how deep its values lie within each other.
    Tuple(Rc<[Value]>, u8),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Name(Name),
    Storage(Rc<Storage>),
    Tensor(Rc<TensorAt>),
    /// A list, a dictionary or an object that was remembered and is used again, which no tensor needs.
    Again,
}

/// The names of Python that describe tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Kind(Kind),
}

/// The kind of numbers in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Double,
    Half,
    Long,
    Int,
}

impl Kind {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Kind::Double | Kind::Long => 8,
            Kind::Float | Kind::Int => 4,
            Kind::Half => 2,
        }
    }
}

/// Numbers of a file that one or several tensors are made of.
#[derive(Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) kind: Kind,
    /// How many there are.
    pub(super) len: usize,
}

/// Where a tensor is.
#[derive(Debug, PartialEq)]
pub(super) struct TensorAt {
    pub(super) storage: Rc<Storage>,
    /// Its first number.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
}

pub(super) fn name(module: &str, name: &str) -> Result<Name, String> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Name::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Name::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
        ("torch", "FloatStorage") => Name::Kind(Kind::Float),
        ("torch", "DoubleStorage") => Name::Kind(Kind::Double),
        ("torch", "HalfStorage") => Name::Kind(Kind::Half),
        ("torch", "LongStorage") => Name::Kind(Kind::Long),
        ("torch", "IntStorage") => Name::Kind(Kind::Int),
        _ => {
            let what = crate::error::escaped(&format!("{module}.{name}"));
            return Err(format!("it asks for `{what}`, which is no part of a tensor and is not run"));
        }
    })
}

/// How deep values lie within a value.
fn depth(value: &Value) -> u8 {
    let deepest = |values: &mut dyn Iterator<Item = &Value>| values.map(depth).max().unwrap_or(0) + 1;
    match value {
        Value::Tuple(_, depth) => *depth,
        Value::List(list) => deepest(&mut list.iter()),
        Value::Dict(dict) => deepest(&mut dict.iter().flat_map(|(key, value)| [key, value])),
        _ => 0,
    }
}

/// The value, where others may hold it: deep ones would exhaust the stack when they are dropped.
pub(super) fn shallow(value: Value) -> Result<Value, String> {
    match depth(&value) {
        DEEPEST.. => Err("its pickle has values too deep within values".into()),
        _ => Ok(value),
    }
}

pub(super) fn tuple(parts: Vec<Value>) -> Result<Value, String> {
    let parts: Vec<Value> = parts.into_iter().map(shallow).collect::<Result<_, _>>()?;
    let depth = parts.iter().map(depth).max().unwrap_or(0) + 1;
    Ok(Value::Tuple(parts.into(), depth))
}

/// The storage that a persistent id names: `("storage", kind, key, place, length, …)`.
pub(super) fn storage(id: &Value) -> Result<Storage, String> {
    let Value::Tuple(parts, _) = id else {
        return Err("its pickle names a storage by something else".into());
    };
    match &parts[..] {
        [
            Value::Text(what),
            Value::Name(Name::Kind(kind)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(len),
            rest @ ..,
        ] if &**what == "storage" && matches!(rest, [] | [Value::Nothing]) => {
            let len = usize::try_from(*len).map_err(|_| "a storage has a negative length")?;
            Ok(Storage { key: key.to_string(), kind: *kind, len })
        }
        _ => Err("its pickle describes a storage in a way that is not known".into()),
    }
}

/// What one of the known names makes of its arguments.
pub(super) fn made(callee: &Value, arguments: &Value) -> Result<Value, String> {
    let (Value::Name(name), Value::Tuple(arguments, _)) = (callee, arguments) else {
        return Err("its pickle calls something that is no name".into());
    };
    match (name, &arguments[..]) {
        (Name::OrderedDict, []) => Ok(Value::Dict(Vec::new())),
        (
            Name::RebuildTensor,
            [Value::Storage(storage), offset, Value::Tuple(shape, _), Value::Tuple(strides, _), ..],
        ) => tensor(storage, offset, shape, strides).map(|tensor| Value::Tensor(Rc::new(tensor))),
        (Name::RebuildParameter, [Value::Tensor(tensor), ..]) => Ok(Value::Tensor(tensor.clone())),
        _ => Err("its pickle makes a tensor in a way that is not known".into()),
    }
}

fn tensor(
    storage: &Rc<Storage>,
    offset: &Value,
    shape: &[Value],
    strides: &[Value],
) -> Result<TensorAt, String> {
    let size = |value: &Value| match value {
        Value::Int(number) => {
            usize::try_from(*number).map_err(|_| "a tensor has a size below zero".to_owned())
        }
        _ => Err("a tensor has a size that is no number".to_owned()),
    };
    let offset = size(offset)?;
    let shape: Vec<usize> = shape.iter().map(size).collect::<Result<_, _>>()?;
    let strides: Vec<usize> = strides.iter().map(size).collect::<Result<_, _>>()?;
    let mut len = 1_usize;
    let mut row_major = vec![0; shape.len()];
    for (stride, length) in row_major.iter_mut().zip(&shape).rev() {
        *stride = len;
        len = len.checked_mul(*length).ok_or("a tensor has more numbers than can be counted")?;
    }
    // The stride of an axis of one entry means nothing.
    let differs = |axis: usize| shape[axis] != 1 && strides.get(axis) != Some(&row_major[axis]);
    if strides.len() != shape.len() || (len > 0 && (0..shape.len()).any(differs)) {
        return Err("a tensor is not stored row by row".into());
    }
    if offset.checked_add(len).is_none_or(|end| end > storage.len) {
        return Err("a tensor is larger than what it is made of".into());
    }
    Ok(TensorAt { storage: storage.clone(), offset, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_must_lie_within_their_storage() {
        let storage = Rc::new(Storage { key: "0".into(), kind: Kind::Float, len: 6 });
        let numbers = |of: &[i128]| of.iter().map(|&n| Value::Int(n)).collect::<Vec<_>>();
        let make = |offset: i128, shape: &[i128], strides: &[i128]| {
            tensor(&storage, &Value::Int(offset), &numbers(shape), &numbers(strides))
        };
        assert_eq!(make(0, &[2, 3], &[3, 1]).unwrap().shape, [2, 3]);
        assert_eq!(make(2, &[1, 4], &[9, 1]).unwrap().offset, 2);
        assert!(make(5, &[], &[]).is_ok());
        for (offset, shape, strides) in [
            (1, &[2, 3][..], &[3, 1][..]),
            (0, &[3, 2][..], &[1, 3][..]),
            (-1, &[1][..], &[1][..]),
            (0, &[-1][..], &[1][..]),
            (i128::MAX, &[1][..], &[1][..]),
            (7, &[0][..], &[1][..]),
            (0, &[1 << 40, 1 << 40][..], &[1 << 40, 1][..]),
            (0, &[2][..], &[][..]),
        ] {
            assert!(make(offset, shape, strides).is_err(), "{offset} {shape:?} {strides:?}");
        }
    }
}
