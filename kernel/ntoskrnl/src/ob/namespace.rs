//! The name space: directories, symbolic links, look-up.

use std::collections::BTreeMap;

use guest_memory::GuestAddr;
use nt_abi::NtStatus;

use super::{
    Name, ObjectType,
    object::{self, Contents},
};
use crate::{CallResult, Kernel};

/// What a path led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The last object reached.
    pub object: GuestAddr,
    /// What is left of the path: for the object itself to understand, starting with a separator.
    pub remaining: Name,
}

/// Symbolic links followed in one look-up.
const LONGEST_CHAIN: u32 = 32;

/// Creates the directories that every Windows has, as far as drivers name them.
pub(crate) fn create_directories(k: &mut Kernel) -> CallResult<()> {
    k.ob.root = new_directory(k)?;
    object::object_mut(k, k.ob.root).is_permanent = true;
    for path in [
        r"\Device",
        r"\Driver",
        r"\FileSystem",
        r"\BaseNamedObjects",
        r"\ObjectTypes",
        r"\KernelObjects",
        r"\Callback",
        r"\GLOBAL??",
    ] {
        let directory = new_directory(k)?;
        keep(k, directory, path);
        if path == r"\GLOBAL??" {
            k.ob.dos_devices = directory;
        }
    }
    // `\??` of a process without a logon session of its own is the global directory.
    let (root, global) = (k.ob.root, k.ob.dos_devices);
    if let Contents::Directory(entries) = &mut object::object_mut(k, root).contents {
        entries.insert(Name::new("??").key(), global);
    }
    for (path, target) in
        [(r"\DosDevices", r"\??"), (r"\??\Global", r"\GLOBAL??"), (r"\??\GLOBALROOT", "")]
    {
        let contents = Contents::SymbolicLink(Name::new(target));
        let link = object::create_opaque(k, ObjectType::SymbolicLink, contents)?;
        keep(k, link, path);
    }
    Ok(())
}

fn new_directory(k: &mut Kernel) -> CallResult<GuestAddr> {
    object::create_opaque(k, ObjectType::Directory, Contents::Directory(BTreeMap::new()))
}

fn keep(k: &mut Kernel, object: GuestAddr, path: &str) {
    object::object_mut(k, object).is_permanent = true;
    let inserted = insert(k, object, &Name::new(path), None);
    assert!(inserted.is_ok(), "the first names differ");
}

/// Creates an unnamed directory.
pub fn create_directory(k: &mut Kernel) -> CallResult<GuestAddr> {
    new_directory(k)
}

/// Creates an unnamed symbolic link.
pub fn create_link(k: &mut Kernel, target: Name) -> CallResult<GuestAddr> {
    object::create_opaque(k, ObjectType::SymbolicLink, Contents::SymbolicLink(target))
}

/// The path a link stands for.
pub fn link_target(k: &Kernel, link: GuestAddr) -> Option<&Name> {
    match &k.ob.objects.get(&link)?.contents {
        Contents::SymbolicLink(target) => Some(target),
        _ => None,
    }
}

/// Finds what a path leads to. Symbolic links on the way are followed; one at the end as `end`
/// says.
pub fn lookup(
    k: &Kernel,
    root: Option<GuestAddr>,
    path: &Name,
    end: LinkAtEnd,
) -> Result<Found, NtStatus> {
    walk(k, root, path, end).map_err(|dead_end| match dead_end {
        DeadEnd::Free { .. } => NtStatus::STATUS_OBJECT_NAME_NOT_FOUND,
        DeadEnd::Status(status) => status,
    })
}

/// Why a path leads to nothing.
enum DeadEnd {
    /// Only its last component does not exist: this name in this directory is free.
    Free { directory: GuestAddr, name: Name },
    /// Anything else.
    Status(NtStatus),
}

fn walk(
    k: &Kernel,
    root: Option<GuestAddr>,
    path: &Name,
    end: LinkAtEnd,
) -> Result<Found, DeadEnd> {
    let fail = |status| Err(DeadEnd::Status(status));
    let starts_at_root = |path: &Name| path.0.first() == Some(&u16::from(b'\\'));
    let mut object = root.unwrap_or(k.ob.root);
    let mut remaining = match root {
        // A name relative to a directory has no separator at its start.
        Some(_) if !path.is_empty() => Name::default().join(path),
        _ => path.clone(),
    };
    if root.is_none() && !starts_at_root(&remaining) {
        return fail(NtStatus::STATUS_OBJECT_PATH_SYNTAX_BAD);
    }
    if root.is_none() && remaining.0.len() == 1 {
        return Ok(Found { object, remaining: Name::default() });
    }
    let mut links = 0;
    loop {
        let Some(found) = k.ob.objects.get(&object) else {
            return fail(NtStatus::STATUS_INVALID_HANDLE);
        };
        match &found.contents {
            Contents::Directory(entries) => {
                let Some((name, rest)) = remaining.split_first() else {
                    return Ok(Found { object, remaining });
                };
                if name.is_empty() {
                    return fail(NtStatus::STATUS_OBJECT_NAME_INVALID);
                }
                match entries.get(&name.key()) {
                    Some(&next) => (object, remaining) = (next, rest),
                    None if rest.is_empty() => {
                        return Err(DeadEnd::Free { directory: object, name });
                    }
                    None => return fail(NtStatus::STATUS_OBJECT_PATH_NOT_FOUND),
                }
            }
            Contents::SymbolicLink(_) if remaining.is_empty() && end == LinkAtEnd::Stay => {
                return Ok(Found { object, remaining });
            }
            Contents::SymbolicLink(target) => {
                links += 1;
                if links > LONGEST_CHAIN {
                    return fail(NtStatus::STATUS_OBJECT_NAME_INVALID);
                }
                (object, remaining) = (k.ob.root, target.with(&remaining));
                if !starts_at_root(&remaining) {
                    return fail(NtStatus::STATUS_OBJECT_PATH_SYNTAX_BAD);
                }
            }
            Contents::Plain => return Ok(Found { object, remaining }),
        }
    }
}

/// What to do with a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAtEnd {
    /// Go on at its target.
    Follow,
    /// It is what is wanted.
    Stay,
}

/// Names an object. `Err` with the object of that name, or with the status of a path that leads
/// nowhere.
pub fn insert(
    k: &mut Kernel,
    object: GuestAddr,
    path: &Name,
    root: Option<GuestAddr>,
) -> Result<(), InsertError> {
    let kind = object::object(k, object).kind;
    let end = match kind {
        ObjectType::SymbolicLink => LinkAtEnd::Stay,
        _ => LinkAtEnd::Follow,
    };
    let (directory, name) = match walk(k, root, path, end) {
        Ok(found) if found.remaining.is_empty() => return Err(InsertError::Exists(found.object)),
        // A device in the middle of the path: names behind it are not of this name space.
        Ok(_) => return Err(InsertError::Status(NtStatus::STATUS_OBJECT_TYPE_MISMATCH)),
        Err(DeadEnd::Free { directory, name }) => (directory, name),
        Err(DeadEnd::Status(status)) => return Err(InsertError::Status(status)),
    };
    if let Contents::Directory(entries) = &mut object::object_mut(k, directory).contents {
        entries.insert(name.key(), object);
    }
    object::object_mut(k, object).name = Some((directory, name));
    Ok(())
}

/// Why a name could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// An object has it.
    Exists(GuestAddr),
    /// The path leads nowhere.
    Status(NtStatus),
}

impl InsertError {
    /// As a create routine returns it.
    pub fn status(self) -> NtStatus {
        match self {
            Self::Exists(_) => NtStatus::STATUS_OBJECT_NAME_COLLISION,
            Self::Status(status) => status,
        }
    }
}

/// Takes an object's name away.
pub(crate) fn remove(k: &mut Kernel, object: GuestAddr) {
    let name = k.ob.objects.get_mut(&object).and_then(|object| object.name.take());
    let Some((directory, name)) = name else { return };
    let directory = k.ob.objects.get_mut(&directory).map(|directory| &mut directory.contents);
    if let Some(Contents::Directory(entries)) = directory {
        entries.remove(&name.key());
    }
}

/// The full path of an object; `None` without a name.
pub fn path_of(k: &Kernel, object: GuestAddr) -> Option<Name> {
    if object == k.ob.root {
        return Some(Name::new("\\"));
    }
    let mut components = Vec::new();
    let mut at = object;
    while at != k.ob.root {
        let (directory, name) = k.ob.objects.get(&at)?.name.as_ref()?;
        components.push(name);
        at = *directory;
    }
    Some(components.into_iter().rev().fold(Name::default(), |path, name| path.join(name)))
}

/// Symbolic links of `\??` with their targets, in order of name.
pub fn dos_links(k: &Kernel) -> Vec<(Name, Name, GuestAddr)> {
    let Contents::Directory(entries) = &object::object(k, k.ob.dos_devices).contents else {
        return Vec::new();
    };
    let prefix = Name::new(r"\??");
    let link = |at: &GuestAddr| {
        let (_, name) = object::object(k, *at).name.as_ref()?;
        Some((prefix.join(name), link_target(k, *at)?.clone(), *at))
    };
    entries.values().filter_map(link).collect()
}

#[cfg(test)]
mod tests {
    use nt_abi::NtStatus;

    use super::{InsertError, LinkAtEnd, create_link, dos_links, insert, lookup, path_of};
    use crate::{
        Kernel,
        ob::{Name, ObjectType, make_temporary, object},
        testing::kernel,
    };

    /// A kernel with a device `\Device\Zero` and a link `\??\Zero` to it.
    fn with_device() -> Kernel {
        let mut k = kernel();
        let device = object::create(&mut k, ObjectType::Device, 0x150).unwrap();
        insert(&mut k, device, &Name::new(r"\Device\Zero"), None).unwrap();
        let link = create_link(&mut k, Name::new(r"\Device\Zero")).unwrap();
        insert(&mut k, link, &Name::new(r"\DosDevices\Zero"), None).unwrap();
        object::make_permanent(&mut k, link);
        k
    }

    fn found(k: &Kernel, path: &str) -> String {
        match lookup(k, None, &Name::new(path), LinkAtEnd::Follow) {
            Ok(found) => {
                let path = path_of(k, found.object).unwrap();
                format!("{path} + {}", found.remaining)
            }
            Err(status) => status.name().unwrap().to_owned(),
        }
    }

    #[test]
    fn paths_lead_through_links_to_devices() {
        let k = with_device();
        let cases = [
            (r"\Device\Zero", r"\Device\Zero + "),
            (r"\device\zERO", r"\Device\Zero + "),
            (r"\??\Zero", r"\Device\Zero + "),
            (r"\DosDevices\Zero", r"\Device\Zero + "),
            (r"\GLOBAL??\Zero", r"\Device\Zero + "),
            (r"\??\Global\Zero", r"\Device\Zero + "),
            (r"\??\GLOBALROOT\Device\Zero", r"\Device\Zero + "),
            (r"\??\Zero\a\b", r"\Device\Zero + \a\b"),
            (r"\Device\Zero\", r"\Device\Zero + \"),
            (r"\Device", r"\Device + "),
            (r"\", r"\ + "),
            (r"\Device\One", "STATUS_OBJECT_NAME_NOT_FOUND"),
            (r"\Devices\Zero", "STATUS_OBJECT_PATH_NOT_FOUND"),
            (r"Device\Zero", "STATUS_OBJECT_PATH_SYNTAX_BAD"),
            ("", "STATUS_OBJECT_PATH_SYNTAX_BAD"),
            (r"\\Device\Zero", "STATUS_OBJECT_NAME_INVALID"),
        ];
        for (path, expected) in cases {
            assert_eq!(found(&k, path), expected, "{path}");
        }
    }

    #[test]
    fn names_collide_without_case() {
        let mut k = with_device();
        let second = object::create(&mut k, ObjectType::Device, 0x150).unwrap();
        let taken = insert(&mut k, second, &Name::new(r"\Device\ZERO"), None);
        assert!(matches!(taken, Err(InsertError::Exists(_))));
        let nowhere = insert(&mut k, second, &Name::new(r"\No\Zero"), None);
        let status = NtStatus::STATUS_OBJECT_PATH_NOT_FOUND;
        assert_eq!(nowhere, Err(InsertError::Status(status)));
    }

    #[test]
    fn a_link_to_a_free_name_is_a_place_for_it() {
        let mut k = with_device();
        let link = create_link(&mut k, Name::new(r"\Device\Later")).unwrap();
        insert(&mut k, link, &Name::new(r"\??\Later"), None).unwrap();
        assert_eq!(found(&k, r"\??\Later"), "STATUS_OBJECT_NAME_NOT_FOUND");
        let device = object::create(&mut k, ObjectType::Device, 0x150).unwrap();
        insert(&mut k, device, &Name::new(r"\??\Later"), None).unwrap();
        assert_eq!(found(&k, r"\??\Later"), r"\Device\Later + ");
        assert_eq!(path_of(&k, device), Some(Name::new(r"\Device\Later")));
    }

    #[test]
    fn a_temporary_link_without_handles_loses_its_name() {
        let mut k = with_device();
        let (_, target, link) =
            dos_links(&k).into_iter().find(|(name, ..)| *name == Name::new(r"\??\Zero")).unwrap();
        assert_eq!(target, Name::new(r"\Device\Zero"));
        make_temporary(&mut k, link);
        assert_eq!(found(&k, r"\??\Zero"), "STATUS_OBJECT_NAME_NOT_FOUND");
    }
}
