//! One value must not be written in parts while somebody reads all of it.
//!
//! A single run cannot break this rule. It judges three runs of the same commands: one in which the
//! value is read between the writes of its parts, one in which it is read before them, and one in
//! which it is read after them.

use happens_before::Touch;
use verifier::{Severity, declare_rule};

declare_rule! {
    /// Raised when a request is answered with a value of which one part is old and one new.
    pub static TORN_VALUE = {
        id: "race::torn_value",
        severity: Severity::Violation,
        title: "value read while half of it was written",
        explain: include_str!("torn_value.md"),
        fix: "write it by one aligned store of 8 bytes or `InterlockedExchange64`, or hold the \
            same lock around writing and reading",
        windows: "no bug check by itself: a time, a length or an address is off by whatever the \
            other half is worth",
        contract: &["kernel/introduction-to-spin-locks", "kernel/interlocked-operations"],
        since: "0.1.0",
    }
}

/// An access to the bytes of the value, as logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// A number for who made it.
    pub lane: u32,
    /// What it did.
    pub touch: Touch,
    /// The instruction.
    pub ip: u64,
    /// What the value was just before.
    pub before: u64,
}

/// The instructions that write the two parts, in order, and the one that reads the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Writes the first part.
    pub first: u64,
    /// Writes the second part.
    pub second: u64,
    /// Reads both.
    pub read: u64,
}

/// When the value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before both writes.
    Before,
    /// Between them.
    Between,
    /// After both.
    After,
}

/// What is read at this moment, by another lane than the one that writes both parts; `None` if
/// that never happens without other writes in between.
pub fn seen(log: &[Part], torn: Torn, when: When) -> Option<u64> {
    let ips = match when {
        When::Before => [torn.read, torn.first, torn.second],
        When::Between => [torn.first, torn.read, torn.second],
        When::After => [torn.first, torn.second, torn.read],
    };
    log.windows(3).find_map(|three| {
        let is_alike = three.iter().map(|part| part.ip).eq(ips);
        let read = three.iter().find(|part| part.ip == torn.read)?;
        let mut writes = three.iter().filter(|part| part.ip != torn.read);
        let is_by_another = writes.all(|part| part.lane != read.lane && part.touch == Touch::Store);
        (is_alike && is_by_another && read.touch == Touch::Load).then_some(read.before)
    })
}

/// Judges what the three runs read.
pub fn is_torn(before: u64, between: u64, after: u64) -> bool {
    before != between && after != between
}

#[cfg(test)]
mod tests {
    use happens_before::Touch::{Interlocked, Load, Store};

    use super::{Part, Torn, When, seen};

    const TORN: Torn = Torn { first: 1, second: 2, read: 9 };

    fn log(list: &[(u32, happens_before::Touch, u64, u64)]) -> Vec<Part> {
        list.iter().map(|&(lane, touch, ip, before)| Part { lane, touch, ip, before }).collect()
    }

    #[test]
    fn what_is_read_when() {
        let cases = [
            (When::Before, log(&[(1, Load, 9, 5), (0, Store, 1, 5), (0, Store, 2, 6)]), Some(5)),
            (When::Between, log(&[(0, Store, 1, 5), (1, Load, 9, 6), (0, Store, 2, 6)]), Some(6)),
            (When::After, log(&[(0, Store, 1, 5), (0, Store, 2, 6), (1, Load, 9, 7)]), Some(7)),
            // By the one who writes, or by interlocked instructions.
            (When::Between, log(&[(0, Store, 1, 5), (0, Load, 9, 6), (0, Store, 2, 6)]), None),
            (
                When::Between,
                log(&[(0, Store, 1, 5), (1, Interlocked, 9, 6), (0, Store, 2, 6)]),
                None,
            ),
            (
                When::Between,
                log(&[(0, Store, 1, 5), (1, Load, 9, 6), (1, Store, 3, 6), (0, Store, 2, 6)]),
                None,
            ),
        ];
        for (when, log, expected) in cases {
            assert_eq!(seen(&log, TORN, when), expected, "{log:?}");
        }
    }
}
