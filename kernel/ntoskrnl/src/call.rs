//! What an export gets and what it returns.

use std::marker::PhantomData;

use guest_memory::{AccessKind, GuestAddr};
use nt_abi::{NtStatus, Scalar};

use crate::{Flow, Kernel};

/// The result of an export: a value for the driver, or a reason the run cannot simply go on.
///
/// A failing [`NtStatus`] is an ordinary value.
pub type CallResult<T> = Result<T, Stop>;

/// Why an export did not return to the driver.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The driver asked for something this kernel does not model. Says nothing about the driver.
    Unsupported {
        /// Its name.
        feature: String,
    },
    /// The kernel raises a bug check.
    BugCheck(BugCheck),
    /// The observer stopped the run.
    Violation,
    /// An exception is raised at the call, for the driver's handlers.
    Exception(Exception),
    /// A bound of the configuration was reached.
    Limit {
        /// Which.
        what: String,
    },
}

/// A bug check: what Windows would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BugCheck {
    /// The code.
    pub code: u32,
    /// Its parameters.
    pub parameters: [u64; 4],
}

/// An exception to be dispatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// `ExceptionCode`.
    pub code: NtStatus,
    /// For an access violation: where and how.
    pub access: Option<(GuestAddr, AccessKind)>,
    /// True if the page went away by a choice of the run.
    pub is_provoked: bool,
}

impl Stop {
    /// Names what is not modelled.
    pub fn unsupported(feature: impl Into<String>) -> Self {
        Self::Unsupported { feature: feature.into() }
    }

    /// A bug check.
    pub fn bug_check(code: u32, parameters: [u64; 4]) -> Self {
        Self::BugCheck(BugCheck { code, parameters })
    }

    /// An exception without an address.
    pub fn raise(code: NtStatus) -> Self {
        Self::Exception(Exception { code, access: None, is_provoked: false })
    }
}

/// A typed argument, decoded from the registers and the stack of a call.
///
/// Argument 0 to 3 are rcx, rdx, r8, r9; the others lie above the home space ("x64 calling
/// convention").
pub trait FromArg: Sized {
    /// Decodes argument `index`, counted from 0.
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self>;
}

macro_rules! integer_arg {
    ($($type:ty),*) => {$(
        impl FromArg for $type {
            fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
                Ok(<$type as Scalar>::from_u64(k.argument(index)?))
            }
        }
    )*};
}
integer_arg!(u8, u16, u32, u64, i8, i16, i32, i64);

impl FromArg for bool {
    /// A `BOOLEAN`: one byte.
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
        Ok(k.argument(index)? & 0xff != 0)
    }
}

impl FromArg for GuestAddr {
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
        Ok(Self(k.argument(index)?))
    }
}

impl FromArg for NtStatus {
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
        u32::from_arg(k, index).map(Self)
    }
}

/// A guest pointer to a `T`; a claim until it is read.
#[derive(Debug)]
pub struct GuestPtr<T> {
    /// Where it points.
    pub at: GuestAddr,
    _type: PhantomData<T>,
}

impl<T> Clone for GuestPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for GuestPtr<T> {}

impl<T> GuestPtr<T> {
    /// Points at `at`.
    pub fn new(at: GuestAddr) -> Self {
        Self { at, _type: PhantomData }
    }
}

impl<T> FromArg for GuestPtr<T> {
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
        GuestAddr::from_arg(k, index).map(Self::new)
    }
}

/// The arguments behind the named ones of a variadic routine.
#[derive(Clone, Copy, Debug)]
pub struct VarArgs {
    next: VarSource,
}

#[derive(Clone, Copy, Debug)]
enum VarSource {
    /// Arguments of the current call, from this index.
    Call(usize),
    /// A `va_list`: on x64 a pointer to 8-byte slots.
    List(GuestAddr),
}

impl VarArgs {
    /// Reads a `va_list`.
    pub fn from_list(list: GuestAddr) -> Self {
        Self { next: VarSource::List(list) }
    }

    /// Takes the next 8-byte slot.
    pub fn next(&mut self, k: &mut Kernel) -> CallResult<u64> {
        match self.next {
            VarSource::Call(index) => {
                self.next = VarSource::Call(index + 1);
                k.argument(index)
            }
            VarSource::List(at) => {
                self.next = VarSource::List(at.add(8));
                k.read_scalar(at)
            }
        }
    }
}

impl FromArg for VarArgs {
    fn from_arg(_: &mut Kernel, index: usize) -> CallResult<Self> {
        Ok(Self { next: VarSource::Call(index) })
    }
}

/// What an export may return; becomes rax, or a flow.
pub trait IntoFlow {
    /// Converts.
    fn into_flow(self) -> CallResult<Flow>;
}

impl<T: IntoFlow> IntoFlow for CallResult<T> {
    fn into_flow(self) -> CallResult<Flow> {
        self?.into_flow()
    }
}

impl IntoFlow for Flow {
    fn into_flow(self) -> CallResult<Flow> {
        Ok(self)
    }
}

impl IntoFlow for () {
    fn into_flow(self) -> CallResult<Flow> {
        Ok(Flow::Return(0))
    }
}

macro_rules! integer_return {
    ($($type:ty),*) => {$(
        impl IntoFlow for $type {
            fn into_flow(self) -> CallResult<Flow> { Ok(Flow::Return(self.to_u64())) }
        }
    )*};
}
integer_return!(u8, u16, u32, u64, i8, i16, i32, i64);

impl IntoFlow for bool {
    fn into_flow(self) -> CallResult<Flow> {
        Ok(Flow::Return(u64::from(self)))
    }
}

impl IntoFlow for NtStatus {
    /// A status is a 32-bit value; the upper half of rax is not part of it.
    fn into_flow(self) -> CallResult<Flow> {
        Ok(Flow::Return(u64::from(self.0)))
    }
}

impl IntoFlow for GuestAddr {
    fn into_flow(self) -> CallResult<Flow> {
        Ok(Flow::Return(self.0))
    }
}

impl<T> IntoFlow for GuestPtr<T> {
    fn into_flow(self) -> CallResult<Flow> {
        self.at.into_flow()
    }
}
