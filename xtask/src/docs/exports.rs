//! `docs/exports.md`: what drivers can import, and how far it is modelled.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{HEAD, SITE, cell, page_link};
use crate::reference::{Export, Reference};

/// The highest device level and the highest of all.
const DIRQL_HIGH: u8 = 11;
const HIGH_LEVEL: u8 = 15;

pub(super) fn page(reference: &Reference) -> String {
    let mut modules: BTreeMap<&str, Vec<&Export>> = BTreeMap::new();
    for export in &reference.exports {
        modules.entry(&export.module).or_default().push(export);
    }
    let mut out = format!("{HEAD}\n\n# Exports\n\n");
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "What a driver can import; a call of anything else ends the run as *unsupported*, with its \
         name.\n\
         The range of IRQLs is checked at every call; the condition behind it by the routine \
         itself, or where the memory is touched.\n\
         `hal.dll` and `ntoskrnl.exe` serve each other's names.\n\n\
         | image | routines | modelled | modelled with limits | variables |\n\
         | --- | --- | --- | --- | --- |"
    );
    let mut total = [0; 4];
    for (module, exports) in &modules {
        let limited = exports.iter().filter(|export| !export.limits.is_empty()).count();
        let variables = reference.variables.iter().filter(|v| v.module == *module).count();
        let counts = [exports.len(), exports.len() - limited, limited, variables];
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        let _ = writeln!(out, "| `{module}` | {} |", counts.map(|c| c.to_string()).join(" | "));
    }
    let _ = writeln!(out, "| all | {} |\n", total.map(|count| count.to_string()).join(" | "));
    for (module, exports) in &modules {
        let _ = writeln!(
            out,
            "## {module}\n\n| routine | IRQL | modelled | page |\n| --- | --- | --- | --- |"
        );
        for export in exports {
            let _ = writeln!(out, "{}", row(export));
        }
        out.push('\n');
        let variables: Vec<_> =
            reference.variables.iter().filter(|variable| variable.module == *module).collect();
        if !variables.is_empty() {
            out.push_str("| variable | page |\n| --- | --- |\n");
            for variable in variables {
                let page = link(&variable.page);
                let _ = writeln!(out, "| `{}` | {page} |", variable.name);
            }
            out.push('\n');
        }
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

fn row(export: &Export) -> String {
    let name = match export.written_as.as_str() {
        "" => format!("`{}`", export.name),
        written => format!("`{}`, written `{written}`", export.name),
    };
    let mut irql = range(export.irql);
    if !export.irql_when.is_empty() {
        let _ = write!(irql, "; {}", cell(&export.irql_when));
    }
    if !export.irql_note.is_empty() {
        let _ = write!(irql, " ({})", cell(&export.irql_note));
    }
    let modelled = match export.limits.as_str() {
        "" => "modelled".to_owned(),
        limits => format!("modelled with limits: {}", cell(limits)),
    };
    format!("| {name} | {irql} | {modelled} | {} |", link(&export.page))
}

/// Pages of routines lie below `ddi`, those of the C library beside all drivers, others have their
/// own folder.
fn link(page: &str) -> String {
    if page.starts_with("c-runtime-library/") {
        return format!("[{page}]({SITE}/cpp/{page})");
    } else if page.starts_with("cpp/") {
        return format!("[{page}]({SITE}/{page})");
    }
    let is_ddi = page.rsplit('/').next().is_some_and(|name| {
        ["nf-", "nc-", "ns-", "ne-", "ni-"].iter().any(|kind| name.starts_with(kind))
    });
    if is_ddi { page_link(&format!("ddi/{page}")) } else { page_link(page) }
}

fn range((min, max): (u8, u8)) -> String {
    match (min, max) {
        (0, HIGH_LEVEL) => "any".to_owned(),
        (min, max) if min == max => level(min),
        (0, max) => format!("≤ {}", level(max)),
        (min, HIGH_LEVEL) => format!("≥ {}", level(min)),
        (min, max) => format!("{} to {}", level(min), level(max)),
    }
}

fn level(irql: u8) -> String {
    match irql {
        0 => "PASSIVE_LEVEL".to_owned(),
        1 => "APC_LEVEL".to_owned(),
        2 => "DISPATCH_LEVEL".to_owned(),
        3..=DIRQL_HIGH => "DIRQL".to_owned(),
        13 => "CLOCK_LEVEL".to_owned(),
        14 => "IPI_LEVEL".to_owned(),
        HIGH_LEVEL => "HIGH_LEVEL".to_owned(),
        other => format!("IRQL {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Export, range, row};

    #[test]
    fn ranges_in_words() {
        let cases = [
            ((0, 15), "any"),
            ((0, 0), "PASSIVE_LEVEL"),
            ((0, 2), "≤ DISPATCH_LEVEL"),
            ((2, 15), "≥ DISPATCH_LEVEL"),
            ((0, 11), "≤ DIRQL"),
            ((1, 2), "APC_LEVEL to DISPATCH_LEVEL"),
        ];
        for (limits, expected) in cases {
            assert_eq!(range(limits), expected);
        }
    }

    #[test]
    fn a_row_says_what_is_left_out() {
        let export = Export {
            name: "KeX".to_owned(),
            page: "wdm/nf-wdm-kex".to_owned(),
            irql: (0, 2),
            irql_when: "APC_LEVEL at most if Wait is TRUE".to_owned(),
            limits: "no a|b".to_owned(),
            ..Export::default()
        };
        let expected = "| `KeX` | ≤ DISPATCH_LEVEL; APC_LEVEL at most if Wait is TRUE \
             | modelled with limits: no a\\|b | [ddi/wdm/nf-wdm-kex]\
             (https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kex) |";
        assert_eq!(row(&export), expected);
    }
}
