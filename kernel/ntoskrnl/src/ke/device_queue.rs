//! Device queues: `KDEVICE_QUEUE`, the queue with a busy flag that StartIo drivers use.
//!
//! The list stands in guest memory with the layout of the WDK. Every operation takes the queue's
//! own spin lock on Windows; here it is one step of the kernel, which no other processor divides,
//! and which orders what came before one operation with what comes after the next.

use guest_memory::GuestAddr;
use nt_abi::{
    constants::io::DEVICE_QUEUE_OBJECT,
    structures::{
        LIST_ENTRY,
        io::{KDEVICE_QUEUE, KDEVICE_QUEUE_ENTRY},
    },
};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![
    KeInitializeDeviceQueue,
    KeInsertDeviceQueue,
    KeInsertByKeyDeviceQueue,
    KeRemoveDeviceQueue,
    KeRemoveByKeyDeviceQueue,
    KeRemoveEntryDeviceQueue,
];

/// Entries in one queue at most: a list that leads back into itself has no end.
const LONGEST_QUEUE: u32 = 1 << 20;

/// Initialises a device queue as empty and not busy.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keinitializedevicequeue")]
fn KeInitializeDeviceQueue(k: &mut Kernel, queue: GuestAddr) -> CallResult<()> {
    initialize(k, queue)
}

/// Puts an entry at the tail of a busy queue. FALSE: the queue was not busy, is busy now, and the
/// entry was not queued.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keinsertdevicequeue")]
fn KeInsertDeviceQueue(k: &mut Kernel, queue: GuestAddr, entry: GuestAddr) -> CallResult<bool> {
    insert(k, queue, entry, None)
}

/// The same at the place of a sort key: behind entries with the same or a lower one.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keinsertbykeydevicequeue")]
fn KeInsertByKeyDeviceQueue(
    k: &mut Kernel,
    queue: GuestAddr,
    entry: GuestAddr,
    key: u32,
) -> CallResult<bool> {
    insert(k, queue, entry, Some(key))
}

/// Takes the entry at the head. Null: the queue was empty and is not busy now.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keremovedevicequeue")]
fn KeRemoveDeviceQueue(k: &mut Kernel, queue: GuestAddr) -> CallResult<GuestAddr> {
    Ok(remove(k, queue, None)?.unwrap_or_default())
}

/// Takes the first entry whose key is not lower, else the head. Null: the queue was empty and is
/// not busy now.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keremovebykeydevicequeue")]
fn KeRemoveByKeyDeviceQueue(k: &mut Kernel, queue: GuestAddr, key: u32) -> CallResult<GuestAddr> {
    Ok(remove(k, queue, Some(key))?.unwrap_or_default())
}

/// Takes a certain entry; FALSE if it is not queued.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keremoveentrydevicequeue")]
fn KeRemoveEntryDeviceQueue(
    k: &mut Kernel,
    queue: GuestAddr,
    entry: GuestAddr,
) -> CallResult<bool> {
    order(k, queue);
    if k.get(entry, KDEVICE_QUEUE_ENTRY::Inserted)? == 0 {
        return Ok(false);
    }
    unlink(k, entry)?;
    Ok(true)
}

/// The queue's lock is acquired and released.
fn order(k: &mut Kernel, queue: GuestAddr) {
    let lock = queue.add(KDEVICE_QUEUE::Lock.offset_bytes);
    k.order_acquire(lock);
    k.order_release(lock);
}

fn head_of(queue: GuestAddr) -> GuestAddr {
    queue.add(KDEVICE_QUEUE::DeviceListFlink.offset_bytes)
}

/// Writes an empty queue that is not busy.
pub(crate) fn initialize(k: &mut Kernel, queue: GuestAddr) -> CallResult<()> {
    let head = head_of(queue);
    let size = i16::try_from(KDEVICE_QUEUE::SIZE_BYTES).unwrap_or(i16::MAX);
    k.set(queue, KDEVICE_QUEUE::Type, DEVICE_QUEUE_OBJECT)?;
    k.set(queue, KDEVICE_QUEUE::Size, size)?;
    k.set(queue, KDEVICE_QUEUE::Lock, 0)?;
    k.set(queue, KDEVICE_QUEUE::Busy, 0)?;
    k.set(head, LIST_ENTRY::Flink, head.0)?;
    k.set(head, LIST_ENTRY::Blink, head.0)
}

/// Queues an entry if the queue is busy; else makes the queue busy and says `false`.
pub(crate) fn insert(
    k: &mut Kernel,
    queue: GuestAddr,
    entry: GuestAddr,
    key: Option<u32>,
) -> CallResult<bool> {
    order(k, queue);
    if let Some(key) = key {
        k.set(entry, KDEVICE_QUEUE_ENTRY::SortKey, key)?;
    }
    if k.get(queue, KDEVICE_QUEUE::Busy)? == 0 {
        k.set(queue, KDEVICE_QUEUE::Busy, 1)?;
        k.set(entry, KDEVICE_QUEUE_ENTRY::Inserted, 0)?;
        return Ok(false);
    }
    let head = head_of(queue);
    let before = match key {
        // The first entry with a higher key, or the head.
        Some(key) => find(k, head, |found| found > key)?.unwrap_or(head),
        None => head,
    };
    let after = GuestAddr(k.get(before, LIST_ENTRY::Blink)?);
    k.set(entry, LIST_ENTRY::Flink, before.0)?;
    k.set(entry, LIST_ENTRY::Blink, after.0)?;
    k.set(after, LIST_ENTRY::Flink, entry.0)?;
    k.set(before, LIST_ENTRY::Blink, entry.0)?;
    k.set(entry, KDEVICE_QUEUE_ENTRY::Inserted, 1)?;
    Ok(true)
}

/// Takes the next entry; an empty queue stops being busy.
pub(crate) fn remove(
    k: &mut Kernel,
    queue: GuestAddr,
    key: Option<u32>,
) -> CallResult<Option<GuestAddr>> {
    order(k, queue);
    let head = head_of(queue);
    let first = GuestAddr(k.get(head, LIST_ENTRY::Flink)?);
    if first == head {
        k.set(queue, KDEVICE_QUEUE::Busy, 0)?;
        return Ok(None);
    }
    let entry = match key {
        Some(key) => find(k, head, |found| found >= key)?.unwrap_or(first),
        None => first,
    };
    unlink(k, entry)?;
    Ok(Some(entry))
}

/// The first entry whose key is wanted.
fn find(
    k: &mut Kernel,
    head: GuestAddr,
    is_wanted: impl Fn(u32) -> bool,
) -> CallResult<Option<GuestAddr>> {
    let mut at = GuestAddr(k.get(head, LIST_ENTRY::Flink)?);
    for _ in 0..LONGEST_QUEUE {
        if at == head {
            return Ok(None);
        }
        if is_wanted(k.get(at, KDEVICE_QUEUE_ENTRY::SortKey)?) {
            return Ok(Some(at));
        }
        at = GuestAddr(k.get(at, LIST_ENTRY::Flink)?);
    }
    Err(Stop::Limit { what: format!("{LONGEST_QUEUE} entries in one device queue") })
}

fn unlink(k: &mut Kernel, entry: GuestAddr) -> CallResult<()> {
    let next = GuestAddr(k.get(entry, LIST_ENTRY::Flink)?);
    let previous = GuestAddr(k.get(entry, LIST_ENTRY::Blink)?);
    k.set(previous, LIST_ENTRY::Flink, next.0)?;
    k.set(next, LIST_ENTRY::Blink, previous.0)?;
    k.set(entry, KDEVICE_QUEUE_ENTRY::Inserted, 0)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::structures::io::{KDEVICE_QUEUE, KDEVICE_QUEUE_ENTRY};

    use crate::{
        Kernel,
        testing::{block, call_by_name, kernel},
    };

    fn queue(k: &mut Kernel) -> u64 {
        let queue = block(k, &[0xee; 0x28]);
        call_by_name(k, "KeInitializeDeviceQueue", &[queue]).unwrap();
        queue
    }

    fn entry(k: &mut Kernel) -> u64 {
        block(k, &[0xee; 0x18])
    }

    fn is_busy(k: &mut Kernel, queue: u64) -> u8 {
        k.get(GuestAddr(queue), KDEVICE_QUEUE::Busy).unwrap()
    }

    #[test]
    fn the_first_entry_makes_the_queue_busy_and_is_not_queued() {
        let mut k = kernel();
        let (queue, first, second) = (queue(&mut k), entry(&mut k), entry(&mut k));
        assert_eq!(is_busy(&mut k, queue), 0);
        assert_eq!(call_by_name(&mut k, "KeInsertDeviceQueue", &[queue, first]), Ok(0));
        assert_eq!(is_busy(&mut k, queue), 1);
        assert_eq!(k.get(GuestAddr(first), KDEVICE_QUEUE_ENTRY::Inserted), Ok(0));
        assert_eq!(call_by_name(&mut k, "KeInsertDeviceQueue", &[queue, second]), Ok(1));
        assert_eq!(k.get(GuestAddr(second), KDEVICE_QUEUE_ENTRY::Inserted), Ok(1));
        assert_eq!(call_by_name(&mut k, "KeRemoveDeviceQueue", &[queue]), Ok(second));
        assert_eq!(is_busy(&mut k, queue), 1, "somebody took an entry and works on it");
        assert_eq!(call_by_name(&mut k, "KeRemoveDeviceQueue", &[queue]), Ok(0));
        assert_eq!(is_busy(&mut k, queue), 0, "an empty queue is not busy any more");
    }

    #[test]
    fn keys_sort_and_equal_keys_keep_their_order() {
        let mut k = kernel();
        let queue = queue(&mut k);
        let busy = entry(&mut k);
        call_by_name(&mut k, "KeInsertByKeyDeviceQueue", &[queue, busy, 9]).unwrap();
        let entries: Vec<u64> = [5, 3, 5, 7, 3]
            .into_iter()
            .map(|key| {
                let entry = entry(&mut k);
                let arguments = [queue, entry, key];
                assert_eq!(call_by_name(&mut k, "KeInsertByKeyDeviceQueue", &arguments), Ok(1));
                entry
            })
            .collect();
        for index in [1, 4, 0, 2, 3] {
            let next = call_by_name(&mut k, "KeRemoveDeviceQueue", &[queue]);
            assert_eq!(next, Ok(entries[index]), "entry {index}");
        }
    }

    #[test]
    fn removal_by_key_takes_the_first_that_is_not_lower_else_the_head() {
        let cases = [(0, 0), (3, 0), (4, 1), (5, 1), (8, 2), (9, 2), (10, 0)];
        for (key, expected) in cases {
            let mut k = kernel();
            let queue = queue(&mut k);
            let busy = entry(&mut k);
            call_by_name(&mut k, "KeInsertDeviceQueue", &[queue, busy]).unwrap();
            let entries: Vec<u64> = [3, 5, 9]
                .into_iter()
                .map(|key| {
                    let entry = entry(&mut k);
                    call_by_name(&mut k, "KeInsertByKeyDeviceQueue", &[queue, entry, key]).unwrap();
                    entry
                })
                .collect();
            let taken = call_by_name(&mut k, "KeRemoveByKeyDeviceQueue", &[queue, key]);
            assert_eq!(taken, Ok(entries[expected]), "key {key}");
        }
    }

    #[test]
    fn an_entry_is_removed_once_wherever_it_stands() {
        let mut k = kernel();
        let queue = queue(&mut k);
        let entries: Vec<u64> = (0..4).map(|_| entry(&mut k)).collect();
        for &entry in &entries {
            call_by_name(&mut k, "KeInsertDeviceQueue", &[queue, entry]).unwrap();
        }
        let remove = "KeRemoveEntryDeviceQueue";
        assert_eq!(call_by_name(&mut k, remove, &[queue, entries[2]]), Ok(1));
        assert_eq!(call_by_name(&mut k, remove, &[queue, entries[2]]), Ok(0));
        assert_eq!(call_by_name(&mut k, remove, &[queue, entries[0]]), Ok(0), "never queued");
        assert_eq!(call_by_name(&mut k, "KeRemoveDeviceQueue", &[queue]), Ok(entries[1]));
        assert_eq!(call_by_name(&mut k, "KeRemoveDeviceQueue", &[queue]), Ok(entries[3]));
        assert_eq!(call_by_name(&mut k, "KeRemoveByKeyDeviceQueue", &[queue, 0]), Ok(0));
    }

    #[test]
    fn a_list_that_leads_into_itself_ends_in_a_limit() {
        let mut k = kernel();
        let (queue, first, second) = (queue(&mut k), entry(&mut k), entry(&mut k));
        call_by_name(&mut k, "KeInsertDeviceQueue", &[queue, first]).unwrap();
        call_by_name(&mut k, "KeInsertByKeyDeviceQueue", &[queue, second, 1]).unwrap();
        k.write_scalar(GuestAddr(second), second).unwrap();
        let stop = call_by_name(&mut k, "KeRemoveByKeyDeviceQueue", &[queue, 7]).unwrap_err();
        assert!(matches!(stop, crate::Stop::Limit { .. }), "{stop:?}");
    }
}
