//! Layouts as data: a structure is a size and named fields at offsets.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "scalars are bit patterns; `from_u64` keeps the low bits"
)]

use std::marker::PhantomData;

/// An integer that stands in guest memory, little-endian.
pub trait Scalar: Copy {
    /// Length in bytes: 1, 2, 4 or 8.
    const SIZE_BYTES: usize;
    /// Widens to 64 bits, with sign for signed types.
    fn to_u64(self) -> u64;
    /// Keeps the low bits.
    fn from_u64(value: u64) -> Self;
}

macro_rules! scalar {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            const SIZE_BYTES: usize = size_of::<$type>();
            fn to_u64(self) -> u64 { self as u64 }
            fn from_u64(value: u64) -> Self { value as $type }
        }
    )*};
}
scalar!(u8, u16, u32, u64, i8, i16, i32, i64);

/// A field of a structure in guest memory.
#[derive(Debug)]
pub struct Field<T> {
    /// Bytes from the start of the structure.
    pub offset_bytes: u64,
    _type: PhantomData<T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Field<T> {}

impl<T: Scalar> Field<T> {
    /// Names the field at this offset.
    pub const fn at(offset_bytes: u64) -> Self {
        Self { offset_bytes, _type: PhantomData }
    }
}

/// Whether a field lies inside its structure.
pub(crate) const fn fits(offset_bytes: usize, field_bytes: usize, size_bytes: usize) -> bool {
    offset_bytes + field_bytes <= size_bytes
}

/// Declares a structure: a type with `SIZE_BYTES` and one [`Field`] constant per field.
///
/// Fields may overlap (unions) but must lie inside and be naturally aligned; both are checked at
/// compile time.
macro_rules! structure {
    ($(#[$meta:meta])* $name:ident: $size:literal {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $offset:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;
        impl $name {
            /// Length of the structure.
            pub const SIZE_BYTES: u64 = $size;
            $(
                $(#[$field_meta])*
                pub const $field: $crate::Field<$type> = $crate::Field::at($offset);
            )*
        }
        const _: () = {
            $(let is_inside = $crate::layout::fits($offset, size_of::<$type>(), $size);
              assert!(is_inside, "field outside the structure");
              assert!($offset % size_of::<$type>() == 0, "field not aligned");)*
        };
    };
}
pub(crate) use structure;
