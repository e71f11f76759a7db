//! Somebody else was first to give an object this name.

use events::NAME_TAKEN;
use nt_abi::structures::ke::KEVENT;

use crate::{
    CallResult, Kernel,
    ke::DispatcherType,
    ob::{self, LinkAtEnd, Name, ObjectType},
};

/// Asks whether a free name is taken by now; then an object of nobody's that concerns the driver
/// has it, and stays.
pub(crate) fn take_if_chosen(k: &mut Kernel, name: &Name) -> CallResult<()> {
    let is_free = ob::lookup(k, None, name, LinkAtEnd::Stay).is_err();
    if !is_free || k.ask_here(NAME_TAKEN, 2, 0)? == 0 {
        return Ok(());
    }
    let event = ob::create(k, ObjectType::Event, KEVENT::SIZE_BYTES)?;
    k.init_dispatcher(event, DispatcherType::NotificationEvent, KEVENT::SIZE_BYTES, 0)?;
    match ob::insert(k, event, name, None) {
        Ok(()) => ob::make_permanent(k, event),
        // A name that nobody can have.
        Err(_) => ob::dereference(k, event).map(drop)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::NAME_TAKEN;
    use nt_abi::NtStatus;

    use crate::{
        Kernel,
        testing::{call_by_name, kernel_with, unicode_string},
    };

    fn link(k: &mut Kernel, name: &str) -> u64 {
        let (name, target) = (unicode_string(k, name, 0), unicode_string(k, r"\Device\A", 0));
        call_by_name(k, "IoCreateSymbolicLink", &[name, target]).unwrap() & 0xffff_ffff
    }

    #[test]
    fn a_taken_name_collides_and_the_next_one_is_free() {
        let collision = u64::from(NtStatus::STATUS_OBJECT_NAME_COLLISION.0);
        let mut k = kernel_with([Deviation { kind: NAME_TAKEN.number, ordinal: 0, answer: 1 }]);
        assert_eq!(link(&mut k, r"\??\A"), collision);
        // Whose it is it stays, and a name that is not free is no question.
        assert_eq!(link(&mut k, r"\??\A"), collision);
        assert_eq!(k.tape.asked(NAME_TAKEN), 1);
        assert_eq!(link(&mut k, r"\??\B"), 0);
        assert_eq!(link(&mut k, r"\??\B"), collision);
        assert_eq!(k.tape.asked(NAME_TAKEN), 2);
    }
}
