//! A rule: one mistake, with everything there is to say about it.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The contract says that a driver must not.
    Violation,
    /// Legal only by luck: works on this kernel, not promised.
    Hazard,
    /// No contract broken, but unprivileged input reaches a privileged operation.
    Exposure,
}

impl Severity {
    /// The word in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Violation => "violation",
            Self::Hazard => "hazard",
            Self::Exposure => "exposure",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule. Declared once, by [`declare_rule!`](crate::declare_rule).
#[derive(Debug)]
pub struct Rule {
    /// The path of its file: `pool::double_free`.
    pub id: &'static str,
    /// How bad breaking it is.
    pub severity: Severity,
    /// The mistake in a few words, lower case.
    pub title: &'static str,
    /// The page that `explain` prints.
    pub explain: &'static str,
    /// What to do instead, in one sentence.
    pub fix: &'static str,
    /// What Windows would do, with the bug check code.
    pub windows: &'static str,
    /// Paths of the documentation pages that make the promise.
    pub contract: &'static [&'static str],
    /// The first version that has it.
    pub since: &'static str,
    /// Names it had before.
    pub aliases: &'static [&'static str],
    /// Ids of more telling rules: at an instruction that breaks one of them, this one is silent.
    pub yields_to: &'static [&'static str],
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

/// Declares a rule as a `pub static`.
#[macro_export]
macro_rules! declare_rule {
    (
        $(#[$meta:meta])*
        pub static $name:ident = {
            id: $id:literal,
            severity: $severity:expr,
            title: $title:literal,
            explain: $explain:expr,
            fix: $fix:literal,
            windows: $windows:literal,
            contract: $contract:expr,
            since: $since:literal
            $(, aliases: $aliases:expr)?
            $(, yields_to: $yields_to:expr)? $(,)?
        }
    ) => {
        $(#[$meta])*
        pub static $name: $crate::Rule = $crate::Rule {
            id: $id,
            severity: $severity,
            title: $title,
            explain: $explain,
            fix: $fix,
            windows: $windows,
            contract: $contract,
            since: $since,
            aliases: $crate::declare_rule!(@list $($aliases)?),
            yields_to: $crate::declare_rule!(@list $($yields_to)?),
        };
    };
    (@list) => { &[] };
    (@list $list:expr) => { $list };
}
