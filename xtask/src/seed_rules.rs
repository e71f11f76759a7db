//! `rules/seed_rules.tsv`: the demands of the literature on drivers, and what judges each.
//!
//! Columns: number, demand, verdict (`judged`, `advice` or `no run`), rules (with `planned` before
//! one that does not exist yet), the page of the contract, and a reason where there is more to say.

/// Where the table is.
pub(crate) const TABLE: &str = "rules/seed_rules.tsv";

/// A group of demands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Category {
    pub(crate) title: &'static str,
    first: u16,
    last: u16,
}

impl Category {
    pub(crate) fn contains(&self, number: u16) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

/// The groups that the table accounts for, in full.
pub(crate) const CATEGORIES: [Category; 4] = [
    Category { title: "E. Device state and synchronisation", first: 76, last: 94 },
    Category { title: "I. Locks and APCs", first: 119, last: 146 },
    Category { title: "J. IRQL and DPC", first: 147, last: 163 },
    Category {
        title: "L. Driver entry, unload, timers, threads, work items",
        first: 184,
        last: 217,
    },
];

/// What becomes of a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Rules report it.
    Judged,
    /// Correct drivers need not follow it; at most its consequences are reported.
    Advice,
    /// No run can show it.
    NoRun,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Judged => "judged",
            Self::Advice => "advice",
            Self::NoRun => "no run",
        }
    }
}

/// A rule that a row names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) is_planned: bool,
}

/// One demand.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Line of the table, from 1.
    pub(crate) line: usize,
    pub(crate) number: u16,
    pub(crate) demand: String,
    pub(crate) verdict: Verdict,
    pub(crate) rules: Vec<Named>,
    pub(crate) page: String,
    /// May be empty.
    pub(crate) reason: String,
}

/// Reads the table; the error names the line.
pub(crate) fn parse(table: &str) -> Result<Vec<Row>, String> {
    let lines = table.lines().enumerate().skip(1);
    lines.map(|(index, line)| row(index + 1, line)).collect()
}

fn row(line: usize, text: &str) -> Result<Row, String> {
    let fields: Vec<&str> = text.split('\t').collect();
    let [number, demand, verdict, rules, page, reason] = fields[..] else {
        return Err(format!("line {line}: {} columns, expected 6", fields.len()));
    };
    let parsed = number.strip_prefix('R').and_then(|digits| digits.parse().ok());
    let verdicts = [Verdict::Judged, Verdict::Advice, Verdict::NoRun];
    let known = verdicts.into_iter().find(|known| known.name() == verdict);
    let named = |name: &str| match name.strip_prefix("planned ") {
        Some(id) => Named { id: id.to_owned(), is_planned: true },
        None => Named { id: name.to_owned(), is_planned: false },
    };
    let names = rules.split(", ").filter(|name| !name.is_empty());
    Ok(Row {
        line,
        number: parsed.ok_or_else(|| format!("line {line}: `{number}` is no number"))?,
        demand: demand.to_owned(),
        verdict: known.ok_or_else(|| format!("line {line}: `{verdict}` is no verdict"))?,
        rules: names.map(named).collect(),
        page: page.to_owned(),
        reason: reason.to_owned(),
    })
}

/// Numbers that the table must have, each once and in this order.
pub(crate) fn numbers() -> impl Iterator<Item = u16> {
    CATEGORIES.into_iter().flat_map(|category| category.first..=category.last)
}
