//! A value that is kept as a whole.

use std::{
    fmt::{self, Debug},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::Keep;

/// A value, and the copy that it may still be.
pub struct Saved<T> {
    value: T,
    /// The copy that was captured or brought back last, if the value was not changed since.
    same_as: Option<Arc<T>>,
}

impl<T> Saved<T> {
    /// A value that no snapshot has.
    pub fn new(value: T) -> Self {
        Self { value, same_as: None }
    }
}

impl<T> Deref for Saved<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Saved<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.same_as = None;
        &mut self.value
    }
}

impl<T: Clone + Debug + Send + Sync> Keep for Saved<T> {
    type Copy = Arc<T>;

    fn capture(&mut self) -> Arc<T> {
        let value = &self.value;
        Arc::clone(self.same_as.get_or_insert_with(|| Arc::new(value.clone())))
    }

    #[inline]
    fn restore(&mut self, copy: &Arc<T>) {
        if !self.same_as.as_ref().is_some_and(|same| Arc::ptr_eq(same, copy)) {
            self.value.clone_from(copy);
            self.same_as = Some(Arc::clone(copy));
        }
    }
}

impl<T: Clone> Clone for Saved<T> {
    /// A copy of the value, which no snapshot has.
    fn clone(&self) -> Self {
        Self::new(self.value.clone())
    }
}

impl<T: Default> Default for Saved<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Debug> Debug for Saved<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<'a, T> IntoIterator for &'a Saved<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.value.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Saved;
    use crate::Keep;

    #[test]
    fn what_did_not_change_is_copied_once() {
        let mut saved = Saved::new(vec![1]);
        let (first, second) = (saved.capture(), saved.capture());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(saved.len(), 1);
        assert!(Arc::ptr_eq(&first, &saved.capture()), "looking changes nothing");
        saved.push(2);
        let third = saved.capture();
        assert!(!Arc::ptr_eq(&first, &third));
        saved.restore(&first);
        assert_eq!(*saved, [1]);
        assert!(Arc::ptr_eq(&first, &saved.capture()));
        saved.restore(&third);
        assert_eq!(*saved, [1, 2]);
    }
}
