//! What tests of several of these models share.

pub(super) mod images;
pub(super) mod sequences;
