//! Without the feature `named` no segment has a name.

use std::fs::File;
use std::num::NonZero;
use std::os::fd::BorrowedFd;

use crate::raw::Mapping;
use crate::segment::Access;

#[derive(Clone, Debug)]
pub(crate) enum Name {}

impl Name {
    pub(crate) fn map(&self, _file: &File, _len: NonZero<usize>, _access: Access) -> nix::Result<Mapping> {
        match *self {}
    }

    pub(crate) fn leave(self, _file: BorrowedFd<'_>) {
        match self {}
    }
}
