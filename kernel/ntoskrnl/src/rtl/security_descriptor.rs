//! Security identifiers, access control lists and security descriptors: building and taking apart.

use guest_memory::GuestAddr;
use nt_abi::{
    Field, NtStatus,
    structures::rtl::{
        ACCESS_ALLOWED_ACE, ACL, SECURITY_DESCRIPTOR, SECURITY_DESCRIPTOR_RELATIVE, SID,
    },
};
use nt_macros::export;

use crate::{CallResult, Kernel, exports};

exports![
    RtlLengthSid,
    RtlLengthRequiredSid,
    RtlValidSid,
    RtlEqualSid,
    RtlCopySid,
    RtlInitializeSid,
    RtlSubAuthoritySid,
    RtlCreateAcl,
    RtlAddAccessAllowedAce,
    RtlCreateSecurityDescriptor,
    RtlLengthSecurityDescriptor,
    RtlSetDaclSecurityDescriptor,
    RtlGetDaclSecurityDescriptor,
    RtlGetSaclSecurityDescriptor,
    RtlGetOwnerSecurityDescriptor,
    RtlGetGroupSecurityDescriptor,
];

/// Revisions. Source: `ntifs.h`, `wdm.h`.
const SID_REVISION: u8 = 1;
const MOST_SUB_AUTHORITIES: u8 = 15;
const SUB_AUTHORITY_BYTES: u64 = 4;
const DESCRIPTOR_REVISION: u32 = 1;
const LOWEST_ACL_REVISION: u32 = 2;
const HIGHEST_ACL_REVISION: u32 = 4;

/// `SECURITY_DESCRIPTOR_CONTROL` bits.
const SE_OWNER_DEFAULTED: u16 = 0x0001;
const SE_GROUP_DEFAULTED: u16 = 0x0002;
const SE_DACL_PRESENT: u16 = 0x0004;
const SE_DACL_DEFAULTED: u16 = 0x0008;
const SE_SACL_PRESENT: u16 = 0x0010;
const SE_SACL_DEFAULTED: u16 = 0x0020;
const SE_SELF_RELATIVE: u16 = 0x8000;

/// Length of a SID.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtllengthsid")]
fn RtlLengthSid(k: &mut Kernel, sid: GuestAddr) -> CallResult<u32> {
    let count = k.get(sid, SID::SubAuthorityCount)?;
    Ok(sid_bytes(count))
}

fn sid_bytes(count: u8) -> u32 {
    8 + 4 * u32::from(count)
}

/// Length of a SID with a number of sub-authorities.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtllengthrequiredsid")]
fn RtlLengthRequiredSid(_k: &mut Kernel, count: u32) -> CallResult<u32> {
    Ok(count.wrapping_mul(4).wrapping_add(8))
}

/// Whether a SID is well formed.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlvalidsid")]
fn RtlValidSid(k: &mut Kernel, sid: GuestAddr) -> CallResult<bool> {
    is_valid_sid(k, sid)
}

fn is_valid_sid(k: &mut Kernel, sid: GuestAddr) -> CallResult<bool> {
    let is_known = k.get(sid, SID::Revision)? == SID_REVISION;
    Ok(is_known && k.get(sid, SID::SubAuthorityCount)? <= MOST_SUB_AUTHORITIES)
}

/// Whether two SIDs are equal.
#[export(irql = .., ddi = "ntifs/nf-ntifs-rtlequalsid")]
fn RtlEqualSid(k: &mut Kernel, a: GuestAddr, b: GuestAddr) -> CallResult<bool> {
    let counts = (k.get(a, SID::SubAuthorityCount)?, k.get(b, SID::SubAuthorityCount)?);
    if counts.0 != counts.1 {
        return Ok(false);
    }
    let size_bytes = u64::from(sid_bytes(counts.0));
    Ok(k.read_vec(a, size_bytes)? == k.read_vec(b, size_bytes)?)
}

/// Copies a SID if it fits.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlcopysid")]
fn RtlCopySid(
    k: &mut Kernel,
    room_bytes: u32,
    to: GuestAddr,
    from: GuestAddr,
) -> CallResult<NtStatus> {
    let size_bytes = sid_bytes(k.get(from, SID::SubAuthorityCount)?);
    if room_bytes < size_bytes {
        return Ok(NtStatus::STATUS_BUFFER_TOO_SMALL);
    }
    k.copy(to, from, u64::from(size_bytes))?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Writes the head of a SID; its sub-authorities stay as they are.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlinitializesid")]
fn RtlInitializeSid(
    k: &mut Kernel,
    sid: GuestAddr,
    authority: GuestAddr,
    count: u8,
) -> CallResult<NtStatus> {
    if count > MOST_SUB_AUTHORITIES {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    k.set(sid, SID::Revision, SID_REVISION)?;
    k.set(sid, SID::SubAuthorityCount, count)?;
    k.copy(sid.add(SID::IdentifierAuthority.offset_bytes), authority, 6)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// The address of a sub-authority.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlsubauthoritysid")]
fn RtlSubAuthoritySid(_k: &mut Kernel, sid: GuestAddr, index: u32) -> CallResult<GuestAddr> {
    Ok(sid.add(SID::SIZE_BYTES + SUB_AUTHORITY_BYTES * u64::from(index)))
}

/// Makes an empty list of a length.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlcreateacl")]
fn RtlCreateAcl(
    k: &mut Kernel,
    acl: GuestAddr,
    length_bytes: u32,
    revision: u32,
) -> CallResult<NtStatus> {
    if u64::from(length_bytes) < ACL::SIZE_BYTES {
        return Ok(NtStatus::STATUS_BUFFER_TOO_SMALL);
    }
    let length = u16::try_from(length_bytes & !3).ok();
    let revision = u8::try_from(revision)
        .ok()
        .filter(|_| (LOWEST_ACL_REVISION..=HIGHEST_ACL_REVISION).contains(&revision));
    let (Some(length), Some(revision)) = (length, revision) else {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    };
    k.fill(acl, 0, ACL::SIZE_BYTES)?;
    k.set(acl, ACL::AclRevision, revision)?;
    k.set(acl, ACL::AclSize, length)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Appends an entry that allows access.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtladdaccessallowedace")]
fn RtlAddAccessAllowedAce(
    k: &mut Kernel,
    acl: GuestAddr,
    revision: u32,
    mask: u32,
    sid: GuestAddr,
) -> CallResult<NtStatus> {
    const ACCESS_ALLOWED_ACE_TYPE: u8 = 0;
    if !is_valid_sid(k, sid)? {
        return Ok(NtStatus::STATUS_INVALID_SID);
    }
    let own = k.get(acl, ACL::AclRevision)?;
    if u32::from(own) > HIGHEST_ACL_REVISION || revision > HIGHEST_ACL_REVISION {
        return Ok(NtStatus::STATUS_REVISION_MISMATCH);
    }
    let room = u64::from(k.get(acl, ACL::AclSize)?);
    let count = k.get(acl, ACL::AceCount)?;
    let mut used = ACL::SIZE_BYTES;
    for _ in 0..count {
        if used + ACCESS_ALLOWED_ACE::SIZE_BYTES > room {
            return Ok(NtStatus::STATUS_INVALID_ACL);
        }
        used += u64::from(k.get(acl.add(used), ACCESS_ALLOWED_ACE::AceSize)?);
    }
    let size_of_sid = u64::from(sid_bytes(k.get(sid, SID::SubAuthorityCount)?));
    let size_bytes = ACCESS_ALLOWED_ACE::SIZE_BYTES + size_of_sid;
    if used + size_bytes > room {
        return Ok(NtStatus::STATUS_ALLOTTED_SPACE_EXCEEDED);
    }
    let ace = acl.add(used);
    k.set(ace, ACCESS_ALLOWED_ACE::AceType, ACCESS_ALLOWED_ACE_TYPE)?;
    k.set(ace, ACCESS_ALLOWED_ACE::AceFlags, 0)?;
    let size = u16::try_from(size_bytes).expect("a SID has at most 68 bytes");
    k.set(ace, ACCESS_ALLOWED_ACE::AceSize, size)?;
    k.set(ace, ACCESS_ALLOWED_ACE::Mask, mask)?;
    k.copy(ace.add(ACCESS_ALLOWED_ACE::SIZE_BYTES), sid, size_of_sid)?;
    k.set(acl, ACL::AceCount, count + 1)?;
    let revision = u8::try_from(revision).expect("checked above");
    k.set(acl, ACL::AclRevision, own.max(revision))?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Makes an absolute descriptor without owner, group and lists.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-rtlcreatesecuritydescriptor",
    irql_note = "the header allows APC_LEVEL"
)]
fn RtlCreateSecurityDescriptor(
    k: &mut Kernel,
    descriptor: GuestAddr,
    revision: u32,
) -> CallResult<NtStatus> {
    if revision != DESCRIPTOR_REVISION {
        return Ok(NtStatus::STATUS_UNKNOWN_REVISION);
    }
    k.fill(descriptor, 0, SECURITY_DESCRIPTOR::SIZE_BYTES)?;
    k.set(descriptor, SECURITY_DESCRIPTOR::Revision, 1)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Sets the discretionary list of an absolute descriptor.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-rtlsetdaclsecuritydescriptor",
    irql_note = "the header allows APC_LEVEL"
)]
fn RtlSetDaclSecurityDescriptor(
    k: &mut Kernel,
    descriptor: GuestAddr,
    is_present: bool,
    dacl: GuestAddr,
    is_defaulted: bool,
) -> CallResult<NtStatus> {
    if u32::from(k.get(descriptor, SECURITY_DESCRIPTOR::Revision)?) != DESCRIPTOR_REVISION {
        return Ok(NtStatus::STATUS_UNKNOWN_REVISION);
    }
    let mut control = k.get(descriptor, SECURITY_DESCRIPTOR::Control)?;
    if control & SE_SELF_RELATIVE != 0 {
        return Ok(NtStatus::STATUS_INVALID_SECURITY_DESCR);
    }
    control &= !(SE_DACL_PRESENT | SE_DACL_DEFAULTED);
    if is_present {
        control |= SE_DACL_PRESENT | if is_defaulted { SE_DACL_DEFAULTED } else { 0 };
        k.set(descriptor, SECURITY_DESCRIPTOR::Dacl, dacl.0)?;
    }
    k.set(descriptor, SECURITY_DESCRIPTOR::Control, control)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Length of a descriptor with everything in it.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-rtllengthsecuritydescriptor",
    irql_note = "the header allows APC_LEVEL"
)]
fn RtlLengthSecurityDescriptor(k: &mut Kernel, descriptor: GuestAddr) -> CallResult<u32> {
    let control = k.get(descriptor, SECURITY_DESCRIPTOR::Control)?;
    let head_bytes = if control & SE_SELF_RELATIVE == 0 {
        SECURITY_DESCRIPTOR::SIZE_BYTES
    } else {
        SECURITY_DESCRIPTOR_RELATIVE::SIZE_BYTES
    };
    let mut size_bytes = u32::try_from(head_bytes).expect("a descriptor's head is short");
    for part in [OWNER, GROUP] {
        let sid = part.read(k, descriptor)?;
        if !sid.is_null() {
            size_bytes += sid_bytes(k.get(sid, SID::SubAuthorityCount)?);
        }
    }
    for (part, present) in [(DACL, SE_DACL_PRESENT), (SACL, SE_SACL_PRESENT)] {
        let acl = part.read(k, descriptor)?;
        if control & present != 0 && !acl.is_null() {
            size_bytes += u32::from(k.get(acl, ACL::AclSize)?).next_multiple_of(4);
        }
    }
    Ok(size_bytes)
}

/// A part of a descriptor in its two forms.
#[derive(Clone, Copy, Debug)]
struct Part {
    absolute: Field<u64>,
    relative: Field<u32>,
}

const OWNER: Part =
    Part { absolute: SECURITY_DESCRIPTOR::Owner, relative: SECURITY_DESCRIPTOR_RELATIVE::Owner };
const GROUP: Part =
    Part { absolute: SECURITY_DESCRIPTOR::Group, relative: SECURITY_DESCRIPTOR_RELATIVE::Group };
const SACL: Part =
    Part { absolute: SECURITY_DESCRIPTOR::Sacl, relative: SECURITY_DESCRIPTOR_RELATIVE::Sacl };
const DACL: Part =
    Part { absolute: SECURITY_DESCRIPTOR::Dacl, relative: SECURITY_DESCRIPTOR_RELATIVE::Dacl };

impl Part {
    /// Where the part stands; null if it is absent.
    fn read(self, k: &mut Kernel, descriptor: GuestAddr) -> CallResult<GuestAddr> {
        let control = k.get(descriptor, SECURITY_DESCRIPTOR::Control)?;
        if control & SE_SELF_RELATIVE == 0 {
            return k.get(descriptor, self.absolute).map(GuestAddr);
        }
        let offset_bytes = k.get(descriptor, self.relative)?;
        Ok(if offset_bytes == 0 {
            GuestAddr::NULL
        } else {
            descriptor.add(u64::from(offset_bytes))
        })
    }
}

/// Tells the discretionary list.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlgetdaclsecuritydescriptor")]
fn RtlGetDaclSecurityDescriptor(
    k: &mut Kernel,
    descriptor: GuestAddr,
    present: GuestAddr,
    acl: GuestAddr,
    defaulted: GuestAddr,
) -> CallResult<NtStatus> {
    get_acl(k, descriptor, DACL, (SE_DACL_PRESENT, SE_DACL_DEFAULTED), [present, acl, defaulted])
}

/// Tells the system list.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlgetsaclsecuritydescriptor")]
fn RtlGetSaclSecurityDescriptor(
    k: &mut Kernel,
    descriptor: GuestAddr,
    present: GuestAddr,
    acl: GuestAddr,
    defaulted: GuestAddr,
) -> CallResult<NtStatus> {
    get_acl(k, descriptor, SACL, (SE_SACL_PRESENT, SE_SACL_DEFAULTED), [present, acl, defaulted])
}

fn get_acl(
    k: &mut Kernel,
    descriptor: GuestAddr,
    part: Part,
    (present_bit, defaulted_bit): (u16, u16),
    [present, acl, defaulted]: [GuestAddr; 3],
) -> CallResult<NtStatus> {
    if u32::from(k.get(descriptor, SECURITY_DESCRIPTOR::Revision)?) != DESCRIPTOR_REVISION {
        return Ok(NtStatus::STATUS_UNKNOWN_REVISION);
    }
    let control = k.get(descriptor, SECURITY_DESCRIPTOR::Control)?;
    let is_present = control & present_bit != 0;
    k.write_scalar(present, u8::from(is_present))?;
    if is_present {
        let at = part.read(k, descriptor)?;
        k.write_scalar(acl, at.0)?;
        k.write_scalar(defaulted, u8::from(control & defaulted_bit != 0))?;
    }
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Tells the owner.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "ntifs/nf-ntifs-rtlgetownersecuritydescriptor",
    irql_note = "the header allows APC_LEVEL"
)]
fn RtlGetOwnerSecurityDescriptor(
    k: &mut Kernel,
    descriptor: GuestAddr,
    owner: GuestAddr,
    defaulted: GuestAddr,
) -> CallResult<NtStatus> {
    get_sid(k, descriptor, OWNER, SE_OWNER_DEFAULTED, [owner, defaulted])
}

/// Tells the group.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlgetgroupsecuritydescriptor")]
fn RtlGetGroupSecurityDescriptor(
    k: &mut Kernel,
    descriptor: GuestAddr,
    group: GuestAddr,
    defaulted: GuestAddr,
) -> CallResult<NtStatus> {
    get_sid(k, descriptor, GROUP, SE_GROUP_DEFAULTED, [group, defaulted])
}

fn get_sid(
    k: &mut Kernel,
    descriptor: GuestAddr,
    part: Part,
    defaulted_bit: u16,
    [sid, defaulted]: [GuestAddr; 2],
) -> CallResult<NtStatus> {
    if u32::from(k.get(descriptor, SECURITY_DESCRIPTOR::Revision)?) != DESCRIPTOR_REVISION {
        return Ok(NtStatus::STATUS_UNKNOWN_REVISION);
    }
    let at = part.read(k, descriptor)?;
    k.write_scalar(sid, at.0)?;
    let control = k.get(descriptor, SECURITY_DESCRIPTOR::Control)?;
    k.write_scalar(defaulted, u8::from(control & defaulted_bit != 0))?;
    Ok(NtStatus::STATUS_SUCCESS)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::testing::{block, call_by_name, kernel};

    /// S-1-1-0, everybody.
    const WORLD: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

    #[test]
    fn a_descriptor_is_built_and_taken_apart() {
        let mut k = kernel();
        let sid = block(&mut k, &WORLD);
        let acl = block(&mut k, &[0xee; 8 + 20 + 4]);
        assert_eq!(call_by_name(&mut k, "RtlCreateAcl", &[acl, 32, 2]), Ok(0));
        let allow = [acl, 2, 0x1f_01ff, sid];
        assert_eq!(call_by_name(&mut k, "RtlAddAccessAllowedAce", &allow), Ok(0));
        let exceeded = u64::from(NtStatus::STATUS_ALLOTTED_SPACE_EXCEEDED.0);
        assert_eq!(call_by_name(&mut k, "RtlAddAccessAllowedAce", &allow), Ok(exceeded));
        assert_eq!(k.read_vec(GuestAddr(acl), 8).unwrap(), [2, 0, 32, 0, 1, 0, 0, 0]);
        assert_eq!(k.read_vec(GuestAddr(acl + 16), 12).unwrap(), WORLD);

        let descriptor = block(&mut k, &[0xee; 0x28]);
        call_by_name(&mut k, "RtlCreateSecurityDescriptor", &[descriptor, 1]).unwrap();
        let length = "RtlLengthSecurityDescriptor";
        assert_eq!(call_by_name(&mut k, length, &[descriptor]), Ok(0x28));
        let set = "RtlSetDaclSecurityDescriptor";
        assert_eq!(call_by_name(&mut k, set, &[descriptor, 1, acl, 0]), Ok(0));
        assert_eq!(call_by_name(&mut k, length, &[descriptor]), Ok(0x28 + 32));
        let out = block(&mut k, &[0xee; 24]);
        let get = "RtlGetDaclSecurityDescriptor";
        call_by_name(&mut k, get, &[descriptor, out, out + 8, out + 16]).unwrap();
        assert_eq!(k.read_scalar::<u8>(GuestAddr(out)), Ok(1));
        assert_eq!(k.read_scalar::<u64>(GuestAddr(out + 8)), Ok(acl));
        assert_eq!(k.read_scalar::<u8>(GuestAddr(out + 16)), Ok(0));
    }

    #[test]
    fn identifiers_are_measured_and_compared() {
        let mut k = kernel();
        let sid = block(&mut k, &WORLD);
        let copy = block(&mut k, &[0; 12]);
        assert_eq!(call_by_name(&mut k, "RtlLengthSid", &[sid]), Ok(12));
        let small = u64::from(NtStatus::STATUS_BUFFER_TOO_SMALL.0);
        assert_eq!(call_by_name(&mut k, "RtlCopySid", &[11, copy, sid]), Ok(small));
        assert_eq!(call_by_name(&mut k, "RtlEqualSid", &[copy, sid]), Ok(0));
        assert_eq!(call_by_name(&mut k, "RtlCopySid", &[12, copy, sid]), Ok(0));
        assert_eq!(call_by_name(&mut k, "RtlEqualSid", &[copy, sid]), Ok(1));
        let authority = block(&mut k, &[0, 0, 0, 0, 0, 1]);
        call_by_name(&mut k, "RtlInitializeSid", &[copy, authority, 1]).unwrap();
        assert_eq!(call_by_name(&mut k, "RtlSubAuthoritySid", &[copy, 0]), Ok(copy + 8));
        assert_eq!(call_by_name(&mut k, "RtlEqualSid", &[copy, sid]), Ok(1));
    }

    #[test]
    fn a_fresh_descriptor_names_nobody() {
        let mut k = kernel();
        let descriptor = block(&mut k, &[0xee; 0x28]);
        let out = block(&mut k, &[0xee; 24]);
        call_by_name(&mut k, "RtlCreateSecurityDescriptor", &[descriptor, 1]).unwrap();
        for name in ["RtlGetOwnerSecurityDescriptor", "RtlGetGroupSecurityDescriptor"] {
            k.write(GuestAddr(out), &[0xee; 24]).unwrap();
            assert_eq!(call_by_name(&mut k, name, &[descriptor, out, out + 8]), Ok(0));
            assert_eq!(k.read_scalar::<u64>(GuestAddr(out)), Ok(0), "{name}");
            assert_eq!(k.read_scalar::<u8>(GuestAddr(out + 8)), Ok(0), "{name}");
        }
        // Only what is present is described further.
        let get = "RtlGetSaclSecurityDescriptor";
        assert_eq!(call_by_name(&mut k, get, &[descriptor, out + 16, out, out + 8]), Ok(0));
        assert_eq!(k.read_scalar::<u8>(GuestAddr(out + 16)), Ok(0));
    }

    #[test]
    fn the_parts_of_a_self_relative_descriptor_are_found() {
        // Revision, padding, SE_OWNER_DEFAULTED | SE_SACL_PRESENT | SE_SELF_RELATIVE, then the
        // offsets of owner, group, SACL and DACL.
        let mut bytes = vec![1, 0, 0x11, 0x80];
        for offset in [20_u32, 32, 44, 0] {
            bytes.extend(offset.to_le_bytes());
        }
        bytes.extend([WORLD, WORLD].concat());
        bytes.extend([2, 0, 8, 0, 0, 0, 0, 0]);
        let mut k = kernel();
        let descriptor = block(&mut k, &bytes);
        let out = block(&mut k, &[0; 24]);
        for (name, offset, defaulted) in
            [("RtlGetOwnerSecurityDescriptor", 20, 1), ("RtlGetGroupSecurityDescriptor", 32, 0)]
        {
            assert_eq!(call_by_name(&mut k, name, &[descriptor, out, out + 8]), Ok(0));
            assert_eq!(k.read_scalar::<u64>(GuestAddr(out)), Ok(descriptor + offset), "{name}");
            assert_eq!(k.read_scalar::<u8>(GuestAddr(out + 8)), Ok(defaulted), "{name}");
        }
        let get = "RtlGetSaclSecurityDescriptor";
        assert_eq!(call_by_name(&mut k, get, &[descriptor, out + 16, out, out + 8]), Ok(0));
        assert_eq!(k.read_scalar::<u8>(GuestAddr(out + 16)), Ok(1));
        assert_eq!(k.read_scalar::<u64>(GuestAddr(out)), Ok(descriptor + 44));
    }

    #[test]
    fn identifiers_are_checked_before_use() {
        let mut k = kernel();
        for (count, expected) in [(0, 8), (1, 12), (15, 68)] {
            assert_eq!(call_by_name(&mut k, "RtlLengthRequiredSid", &[count]), Ok(expected));
        }
        for (revision, count, is_valid) in [(1, 1, 1), (2, 1, 0), (1, 15, 1), (1, 16, 0)] {
            let sid = block(&mut k, &[revision, count, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
            assert_eq!(call_by_name(&mut k, "RtlValidSid", &[sid]), Ok(is_valid));
        }
    }
}
