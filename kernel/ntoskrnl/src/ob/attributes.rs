//! Object attributes and the mode of a caller.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::{OBJ_KERNEL_HANDLE, OBJ_VALID_ATTRIBUTES, USER_MODE},
    structures::{UNICODE_STRING, ob::OBJECT_ATTRIBUTES},
};

use super::{Handle, Name};
use crate::{CallResult, FromArg, Kernel};

/// Who called a service: `Zw` routines and driver requests come from the kernel, system calls from
/// user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousMode {
    /// `KernelMode`.
    Kernel,
    /// `UserMode`.
    User,
}

impl FromArg for PreviousMode {
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
        u8::from_arg(k, index).map(Self::from_processor_mode)
    }
}

impl PreviousMode {
    /// From a `KPROCESSOR_MODE`.
    pub fn from_processor_mode(mode: u8) -> Self {
        if mode == USER_MODE { Self::User } else { Self::Kernel }
    }

    /// As a `KPROCESSOR_MODE`.
    pub fn processor_mode(self) -> u8 {
        match self {
            Self::Kernel => 0,
            Self::User => USER_MODE,
        }
    }
}

/// What `OBJECT_ATTRIBUTES` say.
#[derive(Clone, Debug, Default)]
pub struct ObjectAttributes {
    /// The directory or file that the name is relative to.
    pub root: Option<Handle>,
    /// The name; `None` without one.
    pub name: Option<Name>,
    /// `OBJ_XXX`.
    pub attributes: u32,
    /// Null without one.
    pub security_descriptor: GuestAddr,
}

impl ObjectAttributes {
    /// A path from the root of the name space.
    pub fn path(name: Name, attributes: u32) -> Self {
        Self { name: Some(name), attributes, ..Self::default() }
    }

    /// Reads what a driver passed.
    pub fn capture(k: &mut Kernel, at: GuestAddr) -> CallResult<Result<Self, NtStatus>> {
        if at.is_null() {
            return Ok(Ok(Self::default()));
        }
        let length = k.get(at, OBJECT_ATTRIBUTES::Length)?;
        let attributes = k.get(at, OBJECT_ATTRIBUTES::Attributes)?;
        if u64::from(length) != OBJECT_ATTRIBUTES::SIZE_BYTES
            || attributes & !OBJ_VALID_ATTRIBUTES != 0
        {
            return Ok(Err(NtStatus::STATUS_INVALID_PARAMETER));
        }
        let root = k.get(at, OBJECT_ATTRIBUTES::RootDirectory)?;
        let name = GuestAddr(k.get(at, OBJECT_ATTRIBUTES::ObjectName)?);
        let security_descriptor = GuestAddr(k.get(at, OBJECT_ATTRIBUTES::SecurityDescriptor)?);
        let name = match name.is_null() {
            true => None,
            false => Some(read_name(k, name)?),
        };
        let root = (root != 0).then_some(Handle(root));
        Ok(Ok(Self { root, name, attributes, security_descriptor }))
    }

    /// Whether the handle is to be good in every process.
    pub fn is_kernel_handle(&self) -> bool {
        self.attributes & OBJ_KERNEL_HANDLE != 0
    }
}

/// Reads a `UNICODE_STRING` of a driver.
pub fn read_name(k: &mut Kernel, at: GuestAddr) -> CallResult<Name> {
    let length = k.get(at, UNICODE_STRING::Length)?;
    let buffer = GuestAddr(k.get(at, UNICODE_STRING::Buffer)?);
    if length == 0 {
        return Ok(Name::default());
    }
    let bytes = k.read_vec(buffer, u64::from(length & !1))?;
    let units = bytes.chunks_exact(2).map(|pair| match *pair {
        [low, high] => u16::from_le_bytes([low, high]),
        _ => 0,
    });
    Ok(Name(units.collect()))
}

/// Writes a name into a new kernel buffer and describes it in the `UNICODE_STRING` at `at`.
pub fn write_name(k: &mut Kernel, at: GuestAddr, buffer: GuestAddr, name: &Name) -> CallResult<()> {
    let bytes: Vec<u8> = name.0.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX - 1);
    k.write(buffer, &bytes)?;
    k.set(at, UNICODE_STRING::Length, length)?;
    k.set(at, UNICODE_STRING::MaximumLength, length)?;
    k.set(at, UNICODE_STRING::Buffer, buffer.0)
}
