//! What the data directories of an image state.
//!
//! All are read from the mapped image, as the loader does, not from the file.

pub(crate) mod debug;
pub(crate) mod exports;
pub(crate) mod imports;
pub(crate) mod load_config;
pub(crate) mod version;
