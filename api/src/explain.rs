//! The rules, their areas and the moves, and their pages.

use crate::near::did_you_mean;

/// What the moves are; they are named in its tables.
const MOVES: &str = include_str!("../../docs/moves.md");

/// A rule in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSummary {
    /// Its id.
    pub id: &'static str,
    /// `violation`, `hazard` or `exposure`.
    pub severity: &'static str,
    /// The mistake in a few words.
    pub title: &'static str,
    /// Paths of the documentation pages that make the promise.
    pub contract: &'static [&'static str],
}

/// Lists every rule.
pub fn rules() -> Vec<RuleSummary> {
    rulebook::rules()
        .map(|rule| RuleSummary {
            id: rule.id,
            severity: rule.severity.name(),
            title: rule.title,
            contract: rule.contract,
        })
        .collect()
}

/// Returns the page of a rule, its examples filled in. `None`: there is no such rule.
pub fn explain(id: &str) -> Option<String> {
    let rule = rulebook::find(id)?;
    let mut page = String::new();
    for line in rule.explain.lines() {
        let example = line.strip_prefix("{{").and_then(|line| line.strip_suffix("}}"));
        match example {
            Some(file) => page.push_str(&example_text(rule.id, file)),
            None => {
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page.push_str(&format!(
        "\nSeverity: {}. Since {}.\nHelp: {}.\nOn Windows: {}.\n",
        rule.severity, rule.since, rule.fix, rule.windows
    ));
    Some(page)
}

/// Returns what there is to say about a rule, an area of rules such as `pool`, or a move.
///
/// # Errors
///
/// One sentence about a name that nobody knows.
pub fn explain_topic(name: &str) -> Result<String, String> {
    if let Some(page) = explain(name) {
        return Ok(page);
    }
    let area = name.strip_suffix("::").unwrap_or(name);
    let rules: Vec<RuleSummary> =
        rules().into_iter().filter(|rule| area_of(rule.id) == area).collect();
    if !rules.is_empty() {
        return Ok(rule_list(&rules));
    }
    if strategies::move_names().any(|known| known == name) {
        return Ok(move_page(name));
    }
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    let hint = did_you_mean(name, topics(), "; `bugcheck rules` lists the rules");
    Err(format!("no rule, area or move is called `{shown}`{hint}"))
}

/// Lists rules, aligned: a line each.
pub fn rule_list(rules: &[RuleSummary]) -> String {
    let width = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let line =
        |rule: &RuleSummary| format!("{:width$}  {:9}  {}\n", rule.id, rule.severity, rule.title);
    rules.iter().map(line).collect()
}

/// The end of a sentence about a rule that does not exist.
pub(crate) fn near_rules(id: &str) -> String {
    let ids = rulebook::rules().map(|rule| rule.id);
    did_you_mean(id, ids, "; `bugcheck rules` lists them")
}

/// All names that have a page.
fn topics() -> impl Iterator<Item = &'static str> {
    let ids = rulebook::rules().map(|rule| rule.id);
    let areas = rulebook::rules().map(|rule| area_of(rule.id));
    ids.chain(areas).chain(strategies::move_names())
}

fn area_of(id: &str) -> &str {
    id.split("::").next().unwrap_or(id)
}

/// The row of a move, a line for each of its columns.
fn move_page(name: &str) -> String {
    let quoted = format!("`{name}`");
    let cells = |line: &'static str| line.trim_matches('|').split(" | ").map(str::trim);
    let mut headings: Vec<&str> = Vec::new();
    for line in MOVES.lines().filter(|line| line.starts_with('|')) {
        let row: Vec<&str> = cells(line).collect();
        match row.first() {
            Some(&"move") => headings = row,
            Some(first) if first.split(", ").any(|cell| cell == quoted) => {
                let mut page = format!("# {name}\n\nA move of the hostile kernel.\n\n");
                for (heading, cell) in headings.iter().zip(row).skip(1) {
                    page.push_str(&format!("{heading}: {cell}\n"));
                }
                page.push_str(&format!(
                    "\n`bugcheck check --without-move {name}` leaves it out.\n"
                ));
                return page;
            }
            _ => {}
        }
    }
    format!("# {name}\n\nA move of the hostile kernel; docs/moves.md tells more.\n")
}

/// The source of a test driver, fenced.
fn example_text(id: &str, file: &str) -> String {
    match rulebook::example(id, file) {
        Some(text) => format!("```c\n{}\n```\n", text.trim_end()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{explain, explain_topic, rules};

    #[test]
    fn every_rule_has_a_page() {
        for rule in rules() {
            let page = explain(rule.id).expect("it is listed");
            assert!(!page.contains("{{"), "{}", rule.id);
            assert!(page.contains("Help: "), "{}", rule.id);
        }
        assert_eq!(explain("pool::no_such"), None);
    }

    #[test]
    fn an_area_lists_its_rules() {
        for area in ["pool", "pool::"] {
            let list = explain_topic(area).expect("there is such an area");
            assert!(list.lines().count() >= 3, "{list}");
            assert!(list.lines().all(|line| line.starts_with("pool::")), "{list}");
        }
    }

    #[test]
    fn every_move_has_a_page() {
        for name in strategies::move_names() {
            let page = explain_topic(name).expect("it is known");
            assert!(page.contains("what ") && page.contains("leaves it out"), "{name}: {page}");
        }
    }

    #[test]
    fn names_that_are_nearly_right_are_offered() {
        let cases = [
            ("pool::leaked", "did you mean `pool::leaked_at_unload`?"),
            ("double_fre", "did you mean `pool::double_free`?"),
            ("pol", "did you mean `pool`?"),
            ("wait_time_out", "did you mean `wait_times_out`?"),
            ("foo", "no rule, area or move is called `foo`; `bugcheck rules` lists the rules"),
        ];
        for (name, words) in cases {
            let error = explain_topic(name).expect_err("there is none");
            assert!(error.contains(words) && !error.contains('\n'), "{error}");
        }
    }
}
