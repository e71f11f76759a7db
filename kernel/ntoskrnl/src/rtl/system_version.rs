//! The version of the system, and times in fields.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    structures::rtl::{RTL_OSVERSIONINFOEXW, RTL_OSVERSIONINFOW, TIME_FIELDS},
};
use nt_macros::export;

use crate::{CallResult, Kernel, exports};

exports![RtlGetVersion, RtlIsNtDdiVersionAvailable, RtlTimeToTimeFields, RtlTimeFieldsToTime,];

/// Windows 10 22H2, a workstation.
pub(crate) const NT_VERSION: (u32, u32, u32) = (10, 0, 19045);
const VER_PLATFORM_WIN32_NT: u32 = 2;
const VER_NT_WORKSTATION: u8 = 1;
const VER_SUITE_SINGLEUSERTS: u16 = 0x100;
/// `NTDDI_WIN10_VB`: the version of 20H1, whose kernel 22H2 shares.
const NTDDI_VERSION: u32 = 0x0a00_0008;

const UNITS_PER_MILLISECOND: u64 = 10_000;
const UNITS_PER_DAY: u64 = 86_400_000 * UNITS_PER_MILLISECOND;
/// 1 January 1601 was a Monday.
const FIRST_WEEKDAY: u64 = 1;

/// Tells the version.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlgetversion")]
fn RtlGetVersion(k: &mut Kernel, to: GuestAddr) -> CallResult<NtStatus> {
    let size_bytes = k.get(to, RTL_OSVERSIONINFOW::dwOSVersionInfoSize)?;
    let (major, minor, build) = NT_VERSION;
    k.set(to, RTL_OSVERSIONINFOW::dwMajorVersion, major)?;
    k.set(to, RTL_OSVERSIONINFOW::dwMinorVersion, minor)?;
    k.set(to, RTL_OSVERSIONINFOW::dwBuildNumber, build)?;
    k.set(to, RTL_OSVERSIONINFOW::dwPlatformId, VER_PLATFORM_WIN32_NT)?;
    // No service pack.
    k.set(to, RTL_OSVERSIONINFOW::szCSDVersion, 0)?;
    if u64::from(size_bytes) == RTL_OSVERSIONINFOEXW::SIZE_BYTES {
        k.set(to, RTL_OSVERSIONINFOEXW::wServicePackMajor, 0)?;
        k.set(to, RTL_OSVERSIONINFOEXW::wServicePackMinor, 0)?;
        k.set(to, RTL_OSVERSIONINFOEXW::wSuiteMask, VER_SUITE_SINGLEUSERTS)?;
        k.set(to, RTL_OSVERSIONINFOEXW::wProductType, VER_NT_WORKSTATION)?;
        k.set(to, RTL_OSVERSIONINFOEXW::wReserved, 0)?;
    }
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Whether the system is at least of a version.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlisntddiversionavailable")]
fn RtlIsNtDdiVersionAvailable(_k: &mut Kernel, version: u32) -> CallResult<bool> {
    // "The version must have no service pack information": the low 16 bits above the release
    // number.
    Ok(version <= NTDDI_VERSION)
}

/// Splits a time.
#[export(irql = .., ddi = "wdm/nf-wdm-rtltimetotimefields",
    irql_when = "above APC_LEVEL only if both blocks are resident")]
fn RtlTimeToTimeFields(k: &mut Kernel, time: GuestAddr, to: GuestAddr) -> CallResult<()> {
    let time: u64 = k.read_scalar(time)?;
    let (days, of_day) = (time / UNITS_PER_DAY, time % UNITS_PER_DAY / UNITS_PER_MILLISECOND);
    let (year, month, day) = date_of(days);
    let field = |value: u64| i16::try_from(value).unwrap_or(i16::MAX);
    k.set(to, TIME_FIELDS::Year, field(year))?;
    k.set(to, TIME_FIELDS::Month, field(month))?;
    k.set(to, TIME_FIELDS::Day, field(day))?;
    k.set(to, TIME_FIELDS::Hour, field(of_day / 3_600_000))?;
    k.set(to, TIME_FIELDS::Minute, field(of_day / 60_000 % 60))?;
    k.set(to, TIME_FIELDS::Second, field(of_day / 1000 % 60))?;
    k.set(to, TIME_FIELDS::Milliseconds, field(of_day % 1000))?;
    k.set(to, TIME_FIELDS::Weekday, field((days + FIRST_WEEKDAY) % 7))
}

/// Joins the fields of a time; false if one is out of range.
#[export(irql = .., ddi = "wdm/nf-wdm-rtltimefieldstotime",
    irql_when = "above APC_LEVEL only if both blocks are resident")]
fn RtlTimeFieldsToTime(k: &mut Kernel, fields: GuestAddr, to: GuestAddr) -> CallResult<bool> {
    let mut get = |field| k.get(fields, field).map(|value: i16| u64::try_from(value).ok());
    let values = [
        get(TIME_FIELDS::Year)?,
        get(TIME_FIELDS::Month)?,
        get(TIME_FIELDS::Day)?,
        get(TIME_FIELDS::Hour)?,
        get(TIME_FIELDS::Minute)?,
        get(TIME_FIELDS::Second)?,
        get(TIME_FIELDS::Milliseconds)?,
    ];
    let [Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second), Some(ms)] =
        values
    else {
        return Ok(false);
    };
    let is_date = year >= 1601 && (1..=12).contains(&month);
    if !is_date || !(1..=days_in(year, month)).contains(&day) {
        return Ok(false);
    }
    if hour > 23 || minute > 59 || second > 59 || ms > 999 {
        return Ok(false);
    }
    let days =
        days_before_year(year) + (1..month).map(|m| days_in(year, m)).sum::<u64>() + (day - 1);
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    k.write_scalar(to, days * UNITS_PER_DAY + of_day * UNITS_PER_MILLISECOND)?;
    Ok(true)
}

/// Days from 1601 to the start of a year.
fn days_before_year(year: u64) -> u64 {
    let past = year - 1601;
    past * 365 + past / 4 - past / 100 + past / 400
}

fn days_in(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a number of days since 1601.
fn date_of(days: u64) -> (u64, u64, u64) {
    let mut year = 1601 + days / 366;
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - days_before_year(year);
    let mut month = 1;
    while rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::testing::{block, call_by_name, kernel};

    #[test]
    fn times_split_and_join() {
        // Unix time 0, a leap day, the first instant, a moment of 2024.
        let cases: [(u64, [i16; 8]); 4] = [
            (116_444_736_000_000_000, [1970, 1, 1, 0, 0, 0, 0, 4]),
            (0, [1601, 1, 1, 0, 0, 0, 0, 1]),
            (125_963_423_999_990_000, [2000, 2, 29, 23, 59, 59, 999, 2]),
            (133_485_408_000_000_000, [2024, 1, 1, 0, 0, 0, 0, 1]),
        ];
        let mut k = kernel();
        for (time, fields) in cases {
            let at = block(&mut k, &time.to_le_bytes());
            let to = block(&mut k, &[0; 16]);
            call_by_name(&mut k, "RtlTimeToTimeFields", &[at, to]).unwrap();
            let bytes = k.read_vec(GuestAddr(to), 16).unwrap();
            let found: Vec<i16> =
                bytes.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
            assert_eq!(found, fields);
            let back = block(&mut k, &[0; 8]);
            assert_eq!(call_by_name(&mut k, "RtlTimeFieldsToTime", &[to, back]), Ok(1));
            assert_eq!(k.read_scalar::<u64>(GuestAddr(back)), Ok(time));
        }
    }

    #[test]
    fn the_version_is_that_of_the_machine() {
        let mut k = kernel();
        let info = block(&mut k, &[0; 0x11c]);
        k.write_scalar(GuestAddr(info), 0x11c_u32).unwrap();
        call_by_name(&mut k, "RtlGetVersion", &[info]).unwrap();
        assert_eq!(k.read_scalar::<u32>(GuestAddr(info + 4)), Ok(10));
        assert_eq!(k.read_scalar::<u32>(GuestAddr(info + 12)), Ok(19045));
        assert_eq!(k.read_scalar::<u8>(GuestAddr(info + 0x11a)), Ok(1));
        let short = block(&mut k, &[0; 0x114]);
        k.write_scalar(GuestAddr(short), 0x114_u32).unwrap();
        assert_eq!(call_by_name(&mut k, "RtlGetVersion", &[short]), Ok(0));
        for (version, expected) in [(0x0603_0000, 1), (0x0a00_0008, 1), (0x0a00_000b, 0)] {
            let name = "RtlIsNtDdiVersionAvailable";
            assert_eq!(call_by_name(&mut k, name, &[version]), Ok(expected));
        }
    }
}
