//! State that snapshots keep: capturing it and going back cost what changed since.
//!
//! Each field of a component's state notes whether it may differ from the copy that was captured or
//! brought back last: a [`Saved`] as a whole, a [`SavedMap`] by its entries. What did not change is
//! neither copied for the next snapshot nor copied back. [`kept!`] declares a structure of such
//! fields; a field that it forgets does not exist.

mod map;
mod whole;

use std::fmt::Debug;

pub use map::SavedMap;
pub use whole::Saved;

/// State that a snapshot keeps.
pub trait Keep {
    /// What a snapshot has of it.
    type Copy: Clone + Debug + Send;
    /// Copies it, as far as the last copy is not it still.
    fn capture(&mut self) -> Self::Copy;
    /// Goes back to a copy, older or newer.
    fn restore(&mut self, copy: &Self::Copy);
}

/// Makes types of a few bytes fields of their own: they are copied every time.
#[macro_export]
macro_rules! kept_plainly {
    ($($type:ty),*) => {$(
        impl $crate::Keep for $type {
            type Copy = Self;
            #[inline]
            fn capture(&mut self) -> Self {
                *self
            }
            #[inline]
            fn restore(&mut self, copy: &Self) {
                *self = *copy;
            }
        }
    )*};
}
kept_plainly!(bool, u8, u16, u32, u64, usize);

impl<T: Copy + Debug + Send> Keep for Option<T> {
    type Copy = Self;

    fn capture(&mut self) -> Self {
        *self
    }

    fn restore(&mut self, copy: &Self) {
        *self = *copy;
    }
}

/// Declares a structure whose fields are all kept, and what a snapshot has of it:
/// `kept! { struct State as StateCopy { … } }`.
#[macro_export]
macro_rules! kept {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident as $copy:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        /// What a snapshot has of it.
        #[derive(Clone, Debug)]
        $vis struct $copy {
            $($field: <$type as $crate::Keep>::Copy,)*
        }

        impl $crate::Keep for $name {
            type Copy = $copy;

            fn capture(&mut self) -> $copy {
                $copy { $($field: $crate::Keep::capture(&mut self.$field),)* }
            }

            fn restore(&mut self, copy: &$copy) {
                $($crate::Keep::restore(&mut self.$field, &copy.$field);)*
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{Keep, Saved, SavedMap};

    kept! {
        #[derive(Debug, Default)]
        struct State as StateCopy {
            count: u64,
            list: Saved<Vec<u8>>,
            map: SavedMap<u8, u8>,
        }
    }

    #[test]
    fn every_field_comes_back() {
        let mut state = State::default();
        state.list.push(1);
        let first = state.capture();
        (state.count, *state.list) = (7, vec![2, 3]);
        state.map.insert(4, 5);
        let second = state.capture();
        state.restore(&first);
        assert_eq!((state.count, state.list.as_slice(), state.map.len()), (0, &[1][..], 0));
        state.restore(&second);
        assert_eq!((state.count, state.list.as_slice()), (7, &[2, 3][..]));
        assert_eq!(state.map.get(&4), Some(&5));
    }
}
