//! The container of a PDB: numbered streams, each scattered over blocks of the file.
//!
//! Source: <https://llvm.org/docs/PDB/MsfFile.html>.

use super::DebugInfoError;
use crate::bytes::{slice_at, u32_at};

const MAGIC: &[u8; 32] = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0";

/// Size of a stream that does not exist.
const NO_STREAM: u32 = u32::MAX;

/// The streams of a PDB.
pub(super) struct Streams<'a> {
    file: &'a [u8],
    block_bytes: u32,
    directory: Vec<u8>,
    stream_count: u32,
}

impl<'a> Streams<'a> {
    pub(super) fn open(file: &'a [u8]) -> Result<Self, DebugInfoError> {
        if file.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(DebugInfoError::NotPdb);
        }
        let field = |offset| u32_at(file, offset).ok_or(malformed("a complete superblock"));
        let block_bytes = field(32)?;
        if !block_bytes.is_power_of_two() || !(0x200..=0x1_0000).contains(&block_bytes) {
            return Err(malformed("a block size of 512 bytes to 64 KiB"));
        }
        let directory_bytes = field(44)?;
        if u64::from(directory_bytes) > file.len() as u64 {
            return Err(malformed("a stream directory shorter than the file"));
        }
        let block_count = directory_bytes.div_ceil(block_bytes);
        // The numbers of the directory's blocks fill blocks, whose numbers end the superblock.
        let map_blocks = (block_count * 4).div_ceil(block_bytes);
        let map_list = slice_at(file, 52, map_blocks * 4).ok_or(malformed("a block map"))?;
        let map = gather(file, block_bytes, map_list, block_count * 4)?;
        let directory = gather(file, block_bytes, &map, directory_bytes)?;
        let stream_count = u32_at(&directory, 0).ok_or(malformed("a stream count"))?;
        let streams = Self { file, block_bytes, directory, stream_count };
        streams.check_sizes()?;
        Ok(streams)
    }

    /// Copies a stream together; none if it does not exist.
    pub(super) fn read(&self, number: u32) -> Result<Option<Vec<u8>>, DebugInfoError> {
        if number >= self.stream_count {
            return Ok(None);
        }
        let skipped: u64 = (0..number).map(|other| self.blocks_of(other)).sum();
        let Some(len_bytes) = self.size_of(number) else { return Ok(None) };
        let list_at = 4 + u64::from(self.stream_count) * 4 + skipped * 4;
        let list_bytes = self.blocks_of(number) * 4;
        let list = u32::try_from(list_at)
            .ok()
            .zip(u32::try_from(list_bytes).ok())
            .and_then(|(at, len)| slice_at(&self.directory, at, len))
            .ok_or(malformed("a block list for each stream"))?;
        gather(self.file, self.block_bytes, list, len_bytes).map(Some)
    }

    /// Streams share no blocks, so together they are shorter than the file. Without this check a
    /// small file could name one block a million times.
    fn check_sizes(&self) -> Result<(), DebugInfoError> {
        if u64::from(self.stream_count) * 4 > self.directory.len() as u64 {
            return Err(malformed("a size for each stream"));
        }
        let block_bytes = u64::from(self.block_bytes);
        let total: u64 = (0..self.stream_count).map(|n| self.blocks_of(n) * block_bytes).sum();
        if total > (self.file.len() as u64).saturating_add(block_bytes) {
            return Err(malformed("streams that fit into the file"));
        }
        Ok(())
    }

    fn size_of(&self, number: u32) -> Option<u32> {
        u32_at(&self.directory, number.checked_mul(4)?.checked_add(4)?)
            .filter(|&size| size != NO_STREAM)
    }

    fn blocks_of(&self, number: u32) -> u64 {
        u64::from(self.size_of(number).unwrap_or(0).div_ceil(self.block_bytes))
    }
}

/// Joins the blocks of a list, and cuts the last one.
fn gather(
    file: &[u8],
    block_bytes: u32,
    list: &[u8],
    len_bytes: u32,
) -> Result<Vec<u8>, DebugInfoError> {
    let mut joined = Vec::new();
    for block in list.chunks_exact(4) {
        let block = block.try_into().map_or(0, u32::from_le_bytes);
        let rest = u64::from(len_bytes).saturating_sub(joined.len() as u64);
        let here = u32::try_from(rest.min(u64::from(block_bytes))).unwrap_or(block_bytes);
        let at = block.checked_mul(block_bytes).ok_or(malformed("blocks inside the file"))?;
        let bytes = slice_at(file, at, here).ok_or(malformed("blocks inside the file"))?;
        joined.extend_from_slice(bytes);
    }
    if joined.len() as u64 == u64::from(len_bytes) {
        Ok(joined)
    } else {
        Err(malformed("a block for each part of a stream"))
    }
}

fn malformed(expected: &'static str) -> DebugInfoError {
    DebugInfoError::Malformed { part: "the PDB container", expected }
}
