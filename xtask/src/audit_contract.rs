//! `cargo xtask audit-contract`: the limits that exports declare are those of the documentation.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::{
    facts::{self, Fact, LEVELS, Limits},
    reference::{self, Export},
};

/// What the comparison of one export came to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Declared as documented, with the condition where there is one.
    Agrees,
    /// `irql_note` or `irql_when` says why it differs.
    Noted,
    /// Two sources give two limits; the declaration is one of them or none.
    Disputed,
    /// The page gives no limit, or there is no page.
    NotDocumented,
    /// The page has a condition that nothing declares, so nothing is reported for it.
    ConditionMissing,
    /// Declared otherwise than documented.
    Differs(Limits),
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run() -> Result<()> {
    let Some(facts) = facts::read()? else {
        println!("audit-contract: skipped, the table of documented limits is not here");
        return Ok(());
    };
    let by_page = facts.iter().map(|(name, fact)| (name.to_lowercase(), fact)).collect();
    let reference = reference::read()?;
    let (mut agree, mut noted, mut disputed, mut silent) = (0, 0, 0, 0);
    let (mut missing, mut wrong) = (Vec::new(), Vec::new());
    for export in &reference.exports {
        let fact = fact_of(export, &facts, &by_page);
        match judge(export, fact) {
            Verdict::Agrees => agree += 1,
            Verdict::Noted => noted += 1,
            Verdict::Disputed => disputed += 1,
            Verdict::NotDocumented => silent += 1,
            Verdict::ConditionMissing => {
                missing.push((&export.name, fact.map_or("", |fact| fact.irql_text.as_str())));
            }
            Verdict::Differs(page) => {
                let (ours, page) = (shown(declared(export)), shown(page));
                wrong.push(format!("{} declares {ours}, its page says {page}", export.name));
            }
        }
    }
    if !missing.is_empty() {
        println!(
            "audit-contract: conditional limits whose condition is not written, not reported:"
        );
        for (name, text) in &missing {
            println!("  {name:<36} {text}");
        }
    }
    for line in &wrong {
        println!("{line}");
    }
    if !wrong.is_empty() {
        bail!(
            "{} exports differ from their page; correct them or give an `irql_note`",
            wrong.len()
        );
    }
    println!(
        "audit-contract: {} exports: {agree} agree with their page, {noted} say why they differ, \
         {disputed} have disputed limits, {silent} have no documented limit, {} lack a condition",
        reference.exports.len(),
        missing.len()
    );
    Ok(())
}

/// By its own name, by the name an author writes, or by the page it cites.
fn fact_of<'a>(
    export: &Export,
    facts: &'a BTreeMap<String, Fact>,
    by_page: &BTreeMap<String, &'a Fact>,
) -> Option<&'a Fact> {
    // Only a page of a function: some exports are documented beside a type or a callback alone.
    let page = export.page.split_once("/nf-").and_then(|(_, rest)| rest.rsplit('-').next());
    facts
        .get(&export.name)
        .or_else(|| facts.get(&export.written_as))
        .or_else(|| by_page.get(page?).copied())
}

fn judge(export: &Export, fact: Option<&Fact>) -> Verdict {
    let is_noted = !export.irql_note.is_empty();
    let has_condition = !export.irql_when.is_empty();
    match fact {
        None => Verdict::NotDocumented,
        Some(_) if is_noted => Verdict::Noted,
        Some(fact) if fact.is_disputed => Verdict::Disputed,
        Some(fact) if fact.is_conditional && !has_condition => Verdict::ConditionMissing,
        Some(fact) => match fact.limits {
            None if has_condition => Verdict::Agrees,
            None => Verdict::NotDocumented,
            Some(page) if page == declared(export) => Verdict::Agrees,
            Some(_) if has_condition => Verdict::Noted,
            Some(page) => Verdict::Differs(page),
        },
    }
}

fn declared(export: &Export) -> Limits {
    // In the table, all device levels are one.
    let index = |level: u8| match level {
        0..=2 => usize::from(level),
        3..=11 => 3,
        12..=14 => 4,
        _ => 5,
    };
    Limits { min: index(export.irql.0), max: index(export.irql.1) }
}

fn shown(limits: Limits) -> String {
    let name = |index: usize| LEVELS.get(index).copied().unwrap_or("?");
    match limits {
        Limits { min, max } if min == max => name(min).to_owned(),
        Limits { min, max } => format!("{}..={}", name(min), name(max)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Export, Fact, Limits, Verdict, judge};

    #[test]
    fn a_difference_needs_a_reason_and_a_condition_needs_words() {
        let page = Limits { min: 0, max: 1 };
        let fact = |is_conditional| Fact { limits: Some(page), is_conditional, ..Fact::default() };
        let export = |max, when: &str, note: &str| Export {
            irql: (0, max),
            irql_when: when.to_owned(),
            irql_note: note.to_owned(),
            ..Export::default()
        };
        let cases = [
            (export(1, "", ""), false, Verdict::Agrees),
            (export(2, "", ""), false, Verdict::Differs(page)),
            (export(2, "", "why"), false, Verdict::Noted),
            (export(2, "if", ""), false, Verdict::Noted),
            (export(1, "", ""), true, Verdict::ConditionMissing),
            (export(1, "if", ""), true, Verdict::Agrees),
            (export(1, "", "why"), true, Verdict::Noted),
        ];
        for (export, is_conditional, expected) in cases {
            assert_eq!(judge(&export, Some(&fact(is_conditional))), expected, "{export:?}");
        }
        let disputed = Fact { is_disputed: true, ..fact(false) };
        assert_eq!(judge(&export(2, "", ""), Some(&disputed)), Verdict::Disputed);
        assert_eq!(judge(&export(2, "", ""), None), Verdict::NotDocumented);
    }
}
