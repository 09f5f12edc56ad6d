//! Going through the parameters of a network with their names: the paths of fields that lead to them.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Something that looks at each parameter.
pub trait NamedVisitor {
    /// Looks at the parameter called `name`, such as `generator.project.weight`.
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>);
}

/// Something that replaces each parameter.
pub trait NamedMapper {
    /// Returns what takes the place of the parameter called `name`.
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>>;
}

/// Shows `visitor` all parameters of `network`, in the order of the fields.
pub fn visit_named<M: Module>(network: &M, visitor: &mut impl NamedVisitor) {
    network.visit(&mut Named { path: Vec::new(), inner: visitor });
}

/// Returns `network` with all parameters replaced by `mapper`, in the order of the fields.
pub fn map_named<M: Module>(network: M, mapper: &mut impl NamedMapper) -> M {
    network.map(&mut Named { path: Vec::new(), inner: mapper })
}

/// Keeps the path to where Burn is in a network.
struct Named<'a, T> {
    path: Vec<String>,
    inner: &'a mut T,
}

impl<T: NamedVisitor> ModuleVisitor for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.inner.visit(&self.path.join("."), param);
    }
}

impl<T: NamedMapper> ModuleMapper for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.inner.map(&self.path.join("."), param)
    }
}
