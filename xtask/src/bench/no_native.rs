//! Where the host cannot run the kernels natively.

use std::time::Duration;

use anyhow::{Result, bail};
use pe_image::Image;

pub(super) struct Kernel {}

impl Kernel {
    pub(super) fn load(_image: &Image) -> Result<Self> {
        bail!("bench compares with native runs and needs x86-64 Linux")
    }

    pub(super) fn run(&mut self) -> u64 {
        0
    }
}

pub(super) fn thread_time() -> Duration {
    Duration::ZERO
}
