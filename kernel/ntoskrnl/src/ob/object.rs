//! Objects: creation, reference counts, deletion.

use std::collections::BTreeMap;

use events::{BlockKind, Event, Resource, ResourceTaken, Seq};
use guest_memory::{AccessKind, GuestAddr};
use nt_abi::Irql;

use super::{Name, ObjectType, describe, namespace, object_type};
use crate::{CallResult, Flow, Kernel, Stop, frame, mm};

/// What the kernel knows about an object beside its body.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its type.
    pub kind: ObjectType,
    /// References, those of handles included.
    pub pointer_count: u64,
    /// Handles.
    pub handle_count: u32,
    /// The directory it is in, and its name there.
    pub name: Option<(GuestAddr, Name)>,
    /// Its last reference is gone: nobody may add one.
    pub is_deleting: bool,
    /// Keeps its name without a handle.
    pub is_permanent: bool,
    /// Driver code that asked for it; null for the kernel.
    pub who: GuestAddr,
    /// When it was created.
    pub created: Seq,
    /// References that driver code took and did not give back: who, and when.
    pub(crate) taken: Vec<(GuestAddr, Seq)>,
    /// What a directory or a link holds.
    pub(crate) contents: Contents,
}

/// What no driver sees of an object.
#[derive(Clone, Debug)]
pub(crate) enum Contents {
    Plain,
    /// Entries by upper-case name.
    Directory(BTreeMap<Vec<u16>, GuestAddr>),
    /// The path it stands for.
    SymbolicLink(Name),
}

/// Length of the body of an object that has nothing in guest memory.
const OPAQUE_BODY_BYTES: u64 = 0x10;

/// Creates an unnamed object with a zeroed body and one reference.
pub fn create(k: &mut Kernel, kind: ObjectType, size_bytes: u64) -> CallResult<GuestAddr> {
    let body = mm::allocate_kernel(k, BlockKind::Object, size_bytes, 16)?;
    adopt(k, kind, body);
    Ok(body)
}

/// Creates a directory or a link.
pub(crate) fn create_opaque(
    k: &mut Kernel,
    kind: ObjectType,
    contents: Contents,
) -> CallResult<GuestAddr> {
    let body = create(k, kind, OPAQUE_BODY_BYTES)?;
    object_mut(k, body).contents = contents;
    Ok(body)
}

/// Makes a body that stands in a kernel block an object with one reference.
pub fn adopt(k: &mut Kernel, kind: ObjectType, body: GuestAddr) {
    let object = Object {
        kind,
        pointer_count: 1,
        handle_count: 0,
        name: None,
        is_deleting: false,
        is_permanent: false,
        who: asked_by(k),
        created: k.last_seq,
        taken: Vec::new(),
        contents: Contents::Plain,
    };
    k.ob.objects.insert(body, object);
}

/// The driver code that called the kernel routine being carried out; null if user mode or the
/// kernel asks.
pub(crate) fn asked_by(k: &Kernel) -> GuestAddr {
    match k.core().call {
        Some(_) => k.origin().ip,
        None => GuestAddr::NULL,
    }
}

/// An object that exists.
pub fn object(k: &Kernel, body: GuestAddr) -> &Object {
    k.ob.objects.get(&body).expect("the address is that of an object")
}

/// An object that exists.
pub(crate) fn object_mut(k: &mut Kernel, body: GuestAddr) -> &mut Object {
    k.ob.objects.get_mut(&body).expect("the address is that of an object")
}

/// The object at a driver's pointer. A pointer to anything else is a fault or bug check 0x18.
pub fn claimed(k: &mut Kernel, body: GuestAddr) -> CallResult<ObjectType> {
    if let Some(object) = k.ob.objects.get(&body) {
        return Ok(object.kind);
    }
    // What the routine would touch first decides what Windows would do.
    k.allow(AccessKind::Write, body, 8)?;
    Err(Stop::bug_check(REFERENCE_BY_POINTER, [0, body.0, 0, 0]))
}

/// The same for a routine that adds a reference: an object that is being deleted takes none.
pub fn referenceable(k: &mut Kernel, body: GuestAddr) -> CallResult<ObjectType> {
    let kind = claimed(k, body)?;
    if object(k, body).is_deleting {
        let type_body = object_type::type_object(k, kind);
        return Err(Stop::bug_check(REFERENCE_BY_POINTER, [type_body.0, body.0, 1, 0]));
    }
    Ok(kind)
}

/// "The reference count of an object is illegal for the current state of the object".
const REFERENCE_BY_POINTER: u32 = 0x18;

/// Adds a reference to an object of the kernel.
pub fn reference(k: &mut Kernel, body: GuestAddr) {
    if let Some(object) = k.ob.objects.get_mut(&body) {
        object.pointer_count += 1;
    }
}

/// Adds a reference that driver code asked for and has to give back.
///
/// "Once the driver is done using the pointer, it must call `ObDereferenceObject`". Source: "Life
/// Cycle of an Object".
pub fn reference_for_driver(k: &mut Kernel, body: GuestAddr) -> CallResult<()> {
    reference(k, body);
    note_taken(k, body)
}

/// Remembers that driver code was just given a reference.
pub(crate) fn note_taken(k: &mut Kernel, body: GuestAddr) -> CallResult<()> {
    let who = asked_by(k);
    if who.is_null() {
        return Ok(());
    }
    let resource = Resource::Reference(describe(k, body));
    let when = k.emit(Event::ResourceTaken(ResourceTaken { resource }))?;
    let taken = &mut object_mut(k, body).taken;
    if taken.len() < MOST_TAKEN {
        taken.push((who, when));
    }
    Ok(())
}

/// References of one object that are told apart. A driver that takes more of them without an end
/// has taken those.
const MOST_TAKEN: usize = 256;

/// Takes away a reference that driver code gives back: of those it took, one is as good as another.
pub(crate) fn dereference_for_driver(
    k: &mut Kernel,
    body: GuestAddr,
    deletion: Deletion,
) -> CallResult<Flow> {
    if let Some(object) = k.ob.objects.get_mut(&body) {
        object.taken.pop();
    }
    match deletion {
        Deletion::AtOnce => dereference(k, body),
        Deletion::Deferred => dereference_later(k, body),
    }
}

/// When an object goes whose last reference is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Before the routine returns, if the IRQL allows it.
    AtOnce,
    /// When a system worker comes to it.
    Deferred,
}

/// References that code inside an address range took and did not give back.
pub fn referenced_by(k: &Kernel, base: GuestAddr, size_bytes: u64) -> Vec<(GuestAddr, Seq)> {
    let mut list = Vec::new();
    for (&body, object) in &k.ob.objects {
        let of_image =
            object.taken.iter().filter(|(who, _)| who.0.wrapping_sub(base.0) < size_bytes);
        list.extend(of_image.map(|(_, when)| (body, *when)));
    }
    list
}

/// Takes a reference away. The last one deletes the object, which may call a driver.
///
/// Above `PASSIVE_LEVEL` the deletion waits for a system worker, as
/// `wdm/nf-wdm-obdereferenceobject` allows.
pub fn dereference(k: &mut Kernel, body: GuestAddr) -> CallResult<Flow> {
    if !is_last(k, body)? {
        return Ok(Flow::Return(0));
    }
    if k.irql() > Irql::PASSIVE_LEVEL {
        k.ob.deferred.push_back(body);
        return Ok(Flow::Return(0));
    }
    delete(k, body)
}

/// Takes a reference away; a deletion waits for a system worker.
pub(crate) fn dereference_later(k: &mut Kernel, body: GuestAddr) -> CallResult<Flow> {
    if is_last(k, body)? {
        k.ob.deferred.push_back(body);
    }
    Ok(Flow::Return(0))
}

/// Takes a reference away and says whether it was the last.
fn is_last(k: &mut Kernel, body: GuestAddr) -> CallResult<bool> {
    let kind = claimed(k, body)?;
    let object = object_mut(k, body);
    if object.pointer_count <= u64::from(object.handle_count) {
        // The references that handles hold are not the driver's to give back.
        let type_body = object_type::type_object(k, kind);
        return Err(Stop::bug_check(REFERENCE_BY_POINTER, [type_body.0, body.0, 2, 0]));
    }
    object.pointer_count -= 1;
    object.is_deleting = object.pointer_count == 0;
    Ok(object.is_deleting)
}

/// Deletes an object without references.
pub(crate) fn delete(k: &mut Kernel, body: GuestAddr) -> CallResult<Flow> {
    namespace::remove(k, body);
    let kind = object(k, body).kind;
    match object_type::procedures(k, kind).delete {
        Some(delete) => delete(k, body)?.then(k, FreeBody { body }),
        None => FreeBody { body }.run(k),
    }
}

/// The delete procedure is through: the body goes.
#[derive(Clone, Debug)]
struct FreeBody {
    body: GuestAddr,
}

frame!(FreeBody, |this, k, _| this.run(k));

impl FreeBody {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        if k.ob.objects.remove(&self.body).is_some() {
            mm::free_kernel(k, self.body);
        }
        Ok(Flow::Return(0))
    }
}

/// How objects of a type tell their name, where it is not their place in the name space.
pub(crate) fn query_name(k: &Kernel, kind: ObjectType) -> Option<object_type::QueryName> {
    object_type::procedures(k, kind).query_name
}

/// Notes the event that tells of an object's creation.
pub fn set_created(k: &mut Kernel, body: GuestAddr, created: Seq) {
    if let Some(object) = k.ob.objects.get_mut(&body) {
        object.created = created;
    }
}

/// Lets an object keep its name without a handle.
pub fn make_permanent(k: &mut Kernel, body: GuestAddr) {
    if let Some(object) = k.ob.objects.get_mut(&body) {
        object.is_permanent = true;
    }
}

/// Takes back a reference that was added while the object was being deleted.
pub(crate) fn drop_reference(k: &mut Kernel, body: GuestAddr) {
    if let Some(object) = k.ob.objects.get_mut(&body) {
        object.pointer_count = object.pointer_count.saturating_sub(1);
    }
}

/// Takes permanence away; without a handle the name goes too.
pub fn make_temporary(k: &mut Kernel, body: GuestAddr) {
    // A driver may have given back more references than it had.
    let Some(object) = k.ob.objects.get_mut(&body) else { return };
    object.is_permanent = false;
    if object.handle_count == 0 {
        namespace::remove(k, body);
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use super::{create, dereference, object, reference, referenced_by};
    use crate::{
        Flow, Kernel, Stop,
        ob::{ObjectType, PreviousMode, close_handle, create_handle},
        testing::{block, call_by_name, kernel, place_image},
    };

    fn value(flow: crate::CallResult<Flow>) -> u64 {
        match flow.unwrap() {
            Flow::Return(value) => value,
            other => panic!("{other:?}"),
        }
    }

    fn exists(k: &Kernel, body: GuestAddr) -> bool {
        k.ob.objects.contains_key(&body)
    }

    #[test]
    fn the_last_reference_deletes() {
        let mut k = kernel();
        let body = create(&mut k, ObjectType::Event, 0x18).unwrap();
        reference(&mut k, body);
        value(dereference(&mut k, body));
        assert!(exists(&k, body));
        value(dereference(&mut k, body));
        assert!(!exists(&k, body));
    }

    #[test]
    fn references_of_handles_are_not_the_drivers() {
        let mut k = kernel();
        let body = create(&mut k, ObjectType::Event, 0x18).unwrap();
        let handle = create_handle(&mut k, body, 1, 0).unwrap();
        value(dereference(&mut k, body));
        assert_eq!((object(&k, body).pointer_count, object(&k, body).handle_count), (1, 1));
        let stop = dereference(&mut k, body).unwrap_err();
        assert!(matches!(stop, Stop::BugCheck(check) if check.code == 0x18), "{stop:?}");
        assert_eq!(value(close_handle(&mut k, handle, PreviousMode::Kernel)), 0);
        assert!(!exists(&k, body));
    }

    #[test]
    fn closed_handles_are_invalid() {
        let mut k = kernel();
        let body = create(&mut k, ObjectType::Event, 0x18).unwrap();
        let handle = create_handle(&mut k, body, 1, 0).unwrap();
        assert_eq!(value(close_handle(&mut k, handle, PreviousMode::Kernel)), 0);
        assert_eq!(value(close_handle(&mut k, handle, PreviousMode::Kernel)), 0xc000_0008);
    }

    /// Tests call exports from here: in this image.
    const CALLER: u64 = 0x1234;
    const IMAGE: GuestAddr = GuestAddr(0x1000);

    fn kernel_with_image() -> Kernel {
        let mut k = kernel();
        place_image(&mut k, IMAGE);
        k
    }

    /// How many references of an object code at [`CALLER`] owes.
    fn owed(k: &Kernel, body: GuestAddr) -> usize {
        let list = referenced_by(k, GuestAddr(CALLER - 4), 8);
        list.iter().filter(|(object, _)| *object == body).count()
    }

    #[test]
    fn a_driver_owes_the_references_it_took_until_it_gives_them_back() {
        let mut k = kernel_with_image();
        let body = create(&mut k, ObjectType::Event, 0x18).unwrap();
        let handle = create_handle(&mut k, body, 1, 0).unwrap().0;
        let into = block(&mut k, &[0; 8]);
        // What the kernel holds for itself nobody owes.
        reference(&mut k, body);
        assert_eq!(owed(&k, body), 0);
        let steps: [(&str, &[u64], usize); 10] = [
            ("ObfReferenceObject", &[body.0], 1),
            ("ObfReferenceObjectWithTag", &[body.0, 7], 2),
            ("ObReferenceObjectByPointer", &[body.0, 0, 0, 0], 3),
            ("ObReferenceObjectByHandle", &[handle, 0, 0, 0, into, 0], 4),
            // `ExEventObjectType` is not the type of a directory: no reference.
            ("ObReferenceObjectByPointer", &[body.0, 0, into, 0], 4),
            ("ObfDereferenceObject", &[body.0], 3),
            ("ObfDereferenceObjectWithTag", &[body.0, 7], 2),
            ("ObDereferenceObjectDeferDelete", &[body.0], 1),
            ("ObfDereferenceObject", &[body.0], 0),
            // One that it had not taken: it owes nothing.
            ("ObfDereferenceObject", &[body.0], 0),
        ];
        for (name, arguments, expected) in steps {
            call_by_name(&mut k, name, arguments).unwrap();
            assert_eq!(owed(&k, body), expected, "{name}");
        }
    }

    #[test]
    fn a_reference_is_owed_by_the_image_whose_code_took_it() {
        let mut k = kernel_with_image();
        let body = create(&mut k, ObjectType::Event, 0x18).unwrap();
        call_by_name(&mut k, "ObfReferenceObject", &[body.0]).unwrap();
        for (base, size_bytes, expected) in [
            (CALLER, 1, 1),
            (IMAGE.0, 0x235, 1),
            // An image ends before its base plus its size.
            (IMAGE.0, 0x234, 0),
            (CALLER + 1, 0x1000, 0),
        ] {
            let list = referenced_by(&k, GuestAddr(base), size_bytes);
            assert_eq!(list.len(), expected, "{base:x} {size_bytes:x}");
        }
    }
}
