//! The table of demands is complete: every number once, every rule with its twins, every page.

use super::{Complaint, tree::Tree};
use crate::seed_rules::{TABLE, Verdict, numbers, parse};

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let Some(file) = tree.get(TABLE) else {
        return vec![Complaint::new(TABLE, 0, "the table of demands is gone")];
    };
    let rows = match parse(file.text()) {
        Ok(rows) => rows,
        Err(error) => return vec![Complaint::new(TABLE, 0, error)],
    };
    let mut complaints = Vec::new();
    let mut complain =
        |line, message: String| complaints.push(Complaint::new(TABLE, line, message));
    if !rows.iter().map(|row| row.number).eq(numbers()) {
        let count = numbers().count();
        complain(0, format!("expected {count} numbers, each once and in order"));
    }
    for row in &rows {
        let is_unexplained = row.verdict != Verdict::Judged && row.reason.is_empty();
        for (is_missing, what) in [
            (row.demand.is_empty(), "demand"),
            (!row.page.contains('/'), "page"),
            (is_unexplained, "reason why it is not judged"),
            (row.verdict == Verdict::Judged && row.rules.is_empty(), "rule"),
        ] {
            if is_missing {
                complain(row.line, format!("R{:03} has no {what}", row.number));
            }
        }
        for named in &row.rules {
            let path = named.id.replace("::", "/");
            let has_rule = tree.get(&format!("rules/rulebook/src/{path}.rs")).is_some();
            let has_twin = tree.get(&format!("tests/ui/{path}/bad.c")).is_some();
            match (named.is_planned, has_rule && has_twin) {
                (true, _) if has_rule => {
                    complain(row.line, format!("`{}` exists: it is planned no more", named.id));
                }
                (false, false) => {
                    complain(row.line, format!("`{}` is no rule with a bad driver", named.id));
                }
                _ => {}
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, TABLE, check, numbers};

    fn table(change: impl Fn(u16) -> String) -> String {
        let rows: Vec<String> = numbers().map(change).collect();
        format!("head\n{}\n", rows.join("\n"))
    }

    fn complaints(table: &str) -> usize {
        let files = [
            (TABLE, table),
            ("rules/rulebook/src/pool/leak.rs", ""),
            ("tests/ui/pool/leak/bad.c", ""),
        ];
        check(&Tree::of(&files)).len()
    }

    #[test]
    fn a_complete_table_passes_and_each_hole_is_named() {
        let row = |rest: &'static str| move |number| format!("R{number:03}\tx\t{rest}");
        let good = table(row("judged\tpool::leak, planned lock::x\tkernel/x\t"));
        assert_eq!(complaints(&good), 0);
        assert_eq!(complaints(&good.replacen("R076", "R077", 1)), 1);
        let cases = [
            "judged\t\tkernel/x\t",
            "judged\tpool::leak\t\t",
            "judged\tplanned pool::leak\tkernel/x\t",
            "judged\tpool::no_such\tkernel/x\t",
            "advice\t\tkernel/x\t",
        ];
        for case in cases {
            assert_eq!(complaints(&table(row(case))), numbers().count(), "{case}");
        }
        assert_eq!(complaints(&good.replace("judged", "perhaps")), 1);
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
