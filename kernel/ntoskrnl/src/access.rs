//! Kernel services touch guest memory here, on behalf of the driver that called them.
//!
//! A range that the driver may not touch is the driver's fault at its call: the fact is reported,
//! and what follows is what Windows would do.

use events::{
    CanaryTouch, Event, FaultOutcome, MemoryFault, ReadLockWrite, UserBytesChange, UserFetch,
};
use guest_memory::{AccessKind, Accessor, GuestAddr, Objection, Reason};
use nt_abi::{Field, Irql, NtStatus, Scalar};

use crate::{BugCheck, CallResult, Exception, Kernel, Stop, map};

/// Longest range that one service call touches.
const LONGEST_BYTES: u64 = 1 << 28;

/// What an access of a service costs beside its bytes, in units of `GuestMemory::exert`.
const ACCESS_EFFORT: u64 = 12;
/// What a byte costs that is copied with its state.
const COPY_EFFORT: u64 = 4;

fn is_short(bytes: &[u8]) -> bool {
    bytes.len() as u64 <= LONGEST_BYTES
}

impl Kernel {
    /// Reads a field of a structure at `base`.
    pub fn get<T: Scalar>(&mut self, base: GuestAddr, field: Field<T>) -> CallResult<T> {
        self.read_scalar(base.add(field.offset_bytes))
    }

    /// Writes a field of a structure at `base`.
    pub fn set<T: Scalar>(&mut self, base: GuestAddr, field: Field<T>, value: T) -> CallResult<()> {
        self.write_scalar(base.add(field.offset_bytes), value)
    }

    /// Reads an integer.
    pub fn read_scalar<T: Scalar>(&mut self, at: GuestAddr) -> CallResult<T> {
        self.memory.exert(ACCESS_EFFORT);
        // As a rule nothing objects.
        if let Some(value) = self.memory.load_for_service(at, T::SIZE_BYTES) {
            return Ok(T::from_u64(value));
        }
        let mut bytes = [0; 8];
        let (used, _) = bytes.split_at_mut(T::SIZE_BYTES);
        self.read(at, used)?;
        Ok(T::from_u64(u64::from_le_bytes(bytes)))
    }

    /// Writes an integer.
    pub fn write_scalar<T: Scalar>(&mut self, at: GuestAddr, value: T) -> CallResult<()> {
        self.memory.exert(ACCESS_EFFORT);
        if self.memory.store_for_service(at, T::SIZE_BYTES, value.to_u64()).is_some() {
            return Ok(());
        }
        let bytes = value.to_u64().to_le_bytes();
        self.write(at, bytes.split_at(T::SIZE_BYTES).0)
    }

    /// Reads a range.
    pub fn read(&mut self, at: GuestAddr, into: &mut [u8]) -> CallResult<()> {
        self.memory.exert(into.len() as u64);
        // As a rule nothing objects.
        if is_short(into) && self.memory.read(Accessor::Supervisor, at, into).is_ok() {
            return Ok(());
        }
        self.allow(AccessKind::Read, at, into.len() as u64)?;
        self.memory.read(Accessor::Machine, at, into).map_err(|o| self.internal(&o))
    }

    /// Reads a range of guest-given length into a new buffer.
    pub fn read_vec(&mut self, at: GuestAddr, size_bytes: u64) -> CallResult<Vec<u8>> {
        self.allow(AccessKind::Read, at, size_bytes)?;
        self.memory.exert(ACCESS_EFFORT + size_bytes);
        let length = usize::try_from(size_bytes).expect("bounded by `allow`");
        let mut bytes = vec![0; length];
        self.memory.read(Accessor::Machine, at, &mut bytes).map_err(|o| self.internal(&o))?;
        Ok(bytes)
    }

    /// Writes a range of defined bytes.
    pub fn write(&mut self, at: GuestAddr, bytes: &[u8]) -> CallResult<()> {
        self.memory.exert(bytes.len() as u64);
        if is_short(bytes) && self.memory.write(Accessor::Supervisor, at, bytes).is_ok() {
            return Ok(());
        }
        self.allow(AccessKind::Write, at, bytes.len() as u64)?;
        self.memory.write(Accessor::Machine, at, bytes).map_err(|o| self.internal(&o))
    }

    /// Copies with definedness; the ranges may overlap.
    pub fn copy(&mut self, to: GuestAddr, from: GuestAddr, size_bytes: u64) -> CallResult<()> {
        self.allow(AccessKind::Read, from, size_bytes)?;
        self.allow(AccessKind::Write, to, size_bytes)?;
        self.memory.exert(ACCESS_EFFORT + COPY_EFFORT * size_bytes);
        let machine = Accessor::Machine;
        self.memory.copy((machine, to), (machine, from), size_bytes).map_err(|o| self.internal(&o))
    }

    /// Fills with a defined byte.
    pub fn fill(&mut self, at: GuestAddr, byte: u8, size_bytes: u64) -> CallResult<()> {
        let is_short = size_bytes <= LONGEST_BYTES;
        self.memory.exert(ACCESS_EFFORT + size_bytes);
        if is_short && self.memory.fill(Accessor::Supervisor, at, byte, size_bytes).is_ok() {
            return Ok(());
        }
        self.allow(AccessKind::Write, at, size_bytes)?;
        self.memory.fill(Accessor::Machine, at, byte, size_bytes).map_err(|o| self.internal(&o))
    }

    /// Checks that the driver may touch a range; reports and stops otherwise. Watched pages are
    /// shown and granted.
    pub fn allow(&mut self, kind: AccessKind, at: GuestAddr, size_bytes: u64) -> CallResult<()> {
        if size_bytes > LONGEST_BYTES {
            return Err(Stop::Limit { what: format!("{size_bytes} bytes in one call") });
        }
        match self.memory.check(Accessor::Supervisor, kind, at, size_bytes) {
            Ok(()) => Ok(()),
            Err(objection) if objection.reason == Reason::Watched => self.watched(&objection),
            Err(objection) => Err(self.fault(&objection)),
        }
    }

    /// Shows a watched access to whom it concerns, before it happens.
    pub fn watched(&mut self, objection: &Objection) -> CallResult<()> {
        let Objection { address, size_bytes, kind, .. } = *objection;
        if address.page() == map::SHARED_USER_DATA {
            self.refresh_shared_user_data();
            return Ok(());
        }
        if address.0.wrapping_sub(map::CANARY.0.0) < map::CANARY.1 {
            self.emit(Event::CanaryTouch(CanaryTouch { address, size_bytes, kind }))?;
            return Ok(());
        }
        if address.is_kernel_half() {
            // A mapping of an MDL that was locked for reading; Windows lets the store through.
            if kind == AccessKind::Write {
                self.emit(Event::ReadLockWrite(ReadLockWrite { address, size_bytes }))?;
            }
            return Ok(());
        }
        let ordinal = self.tape.asked(events::USER_PAGE_GONE);
        self.emit(Event::UserFetch(UserFetch { address, size_bytes, kind, ordinal }))?;
        if self.ask(events::USER_PAGE_GONE, 2) != 0 {
            // Another thread of the caller frees the page: legal at any moment while the driver
            // runs.
            self.memory.unmap(objection.at.page(), guest_memory::PAGE_BYTES);
            self.mm.provoked.push(objection.at.page());
            let gone = Objection { reason: Reason::NotMapped { arena: None }, ..*objection };
            return Err(self.fault(&gone));
        }
        let answer = self.ask(events::USER_BYTES_CHANGE, UserBytesChange::OPTIONS);
        if let Some(change) = UserBytesChange::from_answer(answer) {
            self.change_user_bytes(address, size_bytes, change);
        }
        Ok(())
    }

    /// Another thread of the caller changes its memory: legal at any moment while the driver runs.
    fn change_user_bytes(&mut self, at: GuestAddr, size_bytes: u64, change: UserBytesChange) {
        let length_bytes = usize::try_from(size_bytes.min(guest_memory::PAGE_BYTES)).unwrap_or(0);
        let mut bytes = vec![0; length_bytes];
        let machine = Accessor::Machine;
        if self.memory.read(machine, at, &mut bytes).is_ok() {
            change.apply(&mut bytes);
            // It was read just now, so it can be written.
            let _ = self.memory.write(machine, at, &bytes);
        }
    }

    /// The offset in the caller's input of a mark that is this kernel address, give or take a field
    /// offset.
    fn mark_at(&self, address: GuestAddr) -> Option<u32> {
        // Marks that look like kernel addresses are multiples of a page.
        let is_kernel = address.is_kernel_half() && address.is_canonical();
        is_kernel.then(|| self.mm.marks_in(address.page().0)).into_iter().flatten().next()
    }

    /// Reports a fault and returns what Windows makes of it.
    pub fn fault(&mut self, objection: &Objection) -> Stop {
        if let Some(name) = self.exports.name_at(objection.address) {
            // A variable that is not modelled, or the code of a routine, which this kernel does not
            // have.
            return Stop::unsupported(format!("the bytes of {name}"));
        }
        let near = self.memory.near(objection.at);
        let outcome = self.fault_outcome(objection);
        let event = MemoryFault {
            objection: *objection,
            near,
            is_stack_guard: self.ke.is_stack_guard(objection.at),
            is_callers_buffer: self.io.is_callers_buffer(objection.at),
            mark: self.mark_at(objection.address),
            outcome,
        };
        if let Err(stop) = self.emit(Event::MemoryFault(event)) {
            return stop;
        }
        match outcome {
            FaultOutcome::Exception => Stop::Exception(Exception {
                code: NtStatus::STATUS_ACCESS_VIOLATION,
                access: Some((objection.at, objection.kind)),
                is_provoked: self.mm.provoked.contains(&objection.at.page()),
            }),
            FaultOutcome::BugCheck(code) => Stop::BugCheck(self.fault_bug_check(code, objection)),
            // Nobody objected to silent corruption, but the kernel cannot carry it out for the
            // driver.
            FaultOutcome::Silent => Stop::Violation,
        }
    }

    /// What Windows makes of a fault. Source: `design.md` of the project's kernel, "Exceptions";
    /// bug check reference 0x0A, 0x50, 0xBE, 0xD1, 0xFC.
    fn fault_outcome(&self, objection: &Objection) -> FaultOutcome {
        if self.ke.is_stack_guard(objection.at) {
            // Pushing the fault's own frame faults again: UNEXPECTED_KERNEL_MODE_TRAP, double
            // fault.
            return FaultOutcome::BugCheck(0x7f);
        }
        if matches!(objection.reason, Reason::Untouchable { .. } | Reason::OutsideBounds) {
            return FaultOutcome::Silent;
        }
        if self.irql() >= Irql::DISPATCH_LEVEL {
            return FaultOutcome::BugCheck(0xd1);
        }
        let is_user = !objection.at.is_kernel_half() || !objection.at.is_canonical();
        match (objection.kind, objection.reason) {
            (AccessKind::Execute, Reason::NotPermitted { .. }) => FaultOutcome::BugCheck(0xfc),
            _ if is_user => FaultOutcome::Exception,
            (AccessKind::Write, Reason::NotPermitted { .. }) => FaultOutcome::BugCheck(0xbe),
            _ => FaultOutcome::BugCheck(0x50),
        }
    }

    fn fault_bug_check(&self, code: u32, objection: &Objection) -> BugCheck {
        let access = match objection.kind {
            AccessKind::Read => 0,
            AccessKind::Write => 1,
            AccessKind::Execute => 8,
        };
        let ip = self.origin().ip.0;
        let parameters = match code {
            0xd1 => [objection.at.0, u64::from(self.irql().0), access, ip],
            0x50 => [objection.at.0, access, ip, 0],
            // Parameter 1 is the trap: 8 is the double fault.
            0x7f => [8, 0, 0, 0],
            _ => [objection.at.0, ip, 0, 0],
        };
        BugCheck { code, parameters }
    }

    /// The machine's own access failed after the check passed: our bug, stated as such.
    fn internal(&self, objection: &Objection) -> Stop {
        unreachable!("checked access to {} failed: {objection:?}", objection.address)
    }
}
