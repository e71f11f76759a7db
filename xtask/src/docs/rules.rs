//! `docs/rules.md`: the rules by area, and what became of each demand of the literature.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{HEAD, cell, page_link};
use crate::{
    reference::Rule,
    seed_rules::{CATEGORIES, Named, Row, Verdict},
};

pub(super) fn page(rules: &[Rule], seeds: &[Row]) -> String {
    let mut out = format!("{HEAD}\n\n# Rules\n\n");
    let mut areas: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for rule in rules {
        let area = rule.id.split("::").next().unwrap_or_default();
        areas.entry(area).or_default().push(rule);
    }
    let (count, area_count) = (rules.len(), areas.len());
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{count} rules in {area_count} areas.\n\
         `bugcheck explain RULE` prints the page of a rule with a bad and a good driver.\n\
         A *violation* breaks the contract, a *hazard* is legal only by luck, an *exposure* lets \
         unprivileged input reach a privileged operation.\n"
    );
    for (area, rules) in &areas {
        let _ = writeln!(
            out,
            "## {area}\n\n| rule | severity | mistake | contract |\n| --- | --- | --- | --- |"
        );
        for rule in rules {
            let (severity, title) = (&rule.severity, cell(&rule.title));
            let pages: Vec<String> = rule.contract.iter().map(|page| page_link(page)).collect();
            let pages = pages.join("<br>");
            let _ = writeln!(out, "| {} | {severity} | {title} | {pages} |", link(&rule.id));
        }
        out.push('\n');
    }
    literature(&mut out, seeds);
    out
}

/// The table of demands.
fn literature(out: &mut String, seeds: &[Row]) {
    let count = |verdict| seeds.iter().filter(|row| row.verdict == verdict).count();
    let (judged, advice, no_run) =
        (count(Verdict::Judged), count(Verdict::Advice), count(Verdict::NoRun));
    let names = seeds.iter().flat_map(|row| &row.rules);
    let planned: std::collections::BTreeSet<_> =
        names.filter(|named| named.is_planned).map(|named| &named.id).collect();
    let _ = writeln!(
        out,
        "## What the literature demands\n\n\
         Books and papers about Windows drivers make demands of their own, numbered here.\n\
         Each is accounted for: *judged* by rules, *advice* that correct drivers need not follow, \
         or out of reach of any run.\n\
         For advice, the page says why it is no promise, and the rules judge what comes of it.\n\
         Of {} demands, {judged} are judged, {advice} are advice, and {no_run} no run can show; \
         {} of the rules named are planned.\n",
        seeds.len(),
        planned.len(),
    );
    for category in CATEGORIES {
        let _ = writeln!(
            out,
            "### {}\n\n| number | demand | verdict | rules | page |\n\
             | --- | --- | --- | --- | --- |",
            category.title
        );
        for row in seeds.iter().filter(|row| category.contains(row.number)) {
            let verdict = match (row.verdict, row.reason.as_str()) {
                (verdict, "") => verdict.name().to_owned(),
                (verdict, reason) => format!("{}: {reason}", verdict.name()),
            };
            let rules: Vec<String> = row.rules.iter().map(named).collect();
            let _ = writeln!(
                out,
                "| R{:03} | {} | {} | {} | {} |",
                row.number,
                cell(&row.demand),
                cell(&verdict),
                rules.join("<br>"),
                page_link(&row.page)
            );
        }
        out.push('\n');
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
}

fn named(named: &Named) -> String {
    if named.is_planned { format!("planned: `{}`", named.id) } else { link(&named.id) }
}

/// A rule with its test drivers.
fn link(id: &str) -> String {
    format!("[`{id}`](../tests/ui/{})", id.replace("::", "/"))
}
