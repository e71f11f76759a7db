//! The rules, and their pages.

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

/// The source of a test driver, fenced.
fn example_text(id: &str, file: &str) -> String {
    match rulebook::example(id, file) {
        Some(text) => format!("```c\n{}\n```\n", text.trim_end()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{explain, rules};

    #[test]
    fn every_rule_has_a_page() {
        for rule in rules() {
            let page = explain(rule.id).expect("it is listed");
            assert!(!page.contains("{{"), "{}", rule.id);
            assert!(page.contains("Help: "), "{}", rule.id);
        }
        assert_eq!(explain("pool::no_such"), None);
    }
}
