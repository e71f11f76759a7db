//! Interlocked lists: queues that work at any IRQL.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/singly-and-doubly-linked-lists>

use core::{cell::UnsafeCell, marker::PhantomData, mem::offset_of, ptr, ptr::NonNull};

use crate::{
    abi::synchronization::{
        ExInterlockedInsertTailList, ExInterlockedRemoveHeadList, KSPIN_LOCK, LIST_ENTRY, LIST_HEAD,
    },
    non_paged::NonPaged,
    status::NtStatus,
};

/// A first-in, first-out queue.
///
/// Its spin lock belongs to the interlocked routines alone: they raise above `DISPATCH_LEVEL`, and
/// the lock must not be acquired in another way.
pub struct Queue<T>(NonPaged<Head>, PhantomData<T>);

struct Head {
    list: LIST_HEAD,
    lock: UnsafeCell<KSPIN_LOCK>,
}

/// A value with its place in a queue. Allocated before it is put in, so that putting cannot fail.
pub struct QueueNode<T>(NonPaged<Node<T>>);

#[repr(C)]
struct Node<T> {
    links: LIST_ENTRY,
    value: T,
}

// SAFETY: all access to the list is interlocked, and the values move from thread to thread.
unsafe impl<T: Send> Send for Queue<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Queue<T> {}
// SAFETY: outside of a queue the node has one owner.
unsafe impl<T: Send> Send for QueueNode<T> {}

impl<T> QueueNode<T> {
    /// Allocates a node.
    pub fn new(value: T) -> Result<Self, NtStatus> {
        let links = LIST_ENTRY { Flink: ptr::null_mut(), Blink: ptr::null_mut() };
        Ok(Self(NonPaged::new(Node { links, value })?))
    }

    /// Frees the node. Up to `DISPATCH_LEVEL`, as all pool.
    pub fn into_inner(self) -> T {
        self.0.into_inner().value
    }
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new() -> Result<Self, NtStatus> {
        let head = Head { list: LIST_HEAD::zeroed(), lock: UnsafeCell::new(0) };
        let head = NonPaged::new(head)?;
        let list = head.list.as_ptr().cast::<LIST_ENTRY>();
        // `InitializeListHead`, inline in the headers.
        // SAFETY: the block is ours and does not move.
        unsafe { list.write(LIST_ENTRY { Flink: list, Blink: list }) };
        Ok(Self(head, PhantomData))
    }

    /// Puts a node at the end; true if the queue was empty.
    pub fn push(&self, node: QueueNode<T>) -> bool {
        const { assert!(offset_of!(Node<T>, links) == 0) };
        let entry = node.0.into_raw().as_ptr().cast::<LIST_ENTRY>();
        // SAFETY: an initialised list, its lock, and an entry in no list.
        unsafe {
            ExInterlockedInsertTailList(self.0.list.as_ptr(), entry, self.0.lock.get()).is_null()
        }
    }

    /// Takes the node at the front.
    pub fn pop(&self) -> Option<QueueNode<T>> {
        // SAFETY: an initialised list and its lock.
        let entry = unsafe { ExInterlockedRemoveHeadList(self.0.list.as_ptr(), self.0.lock.get()) };
        let node = NonNull::new(entry.cast::<Node<T>>())?;
        // SAFETY: `push` gave up the ownership, and the entry is in no list any more.
        Some(QueueNode(unsafe { NonPaged::from_raw(node) }))
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
