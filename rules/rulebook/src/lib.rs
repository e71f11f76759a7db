//! The rules, one file each. A rule's id is the path of its file.

mod apc;
mod argument;
mod bug_check;
mod describe;
mod dpc;
mod exception;
mod exposure;
mod io_control;
mod irp;
mod irql;
pub mod lock;
mod memory;
mod pool;
pub mod race;
mod region;
mod thread;
mod timer;
mod unload;
pub mod user_buffer;
mod wait;
mod work_item;

use std::fmt;

use verifier::{Monitor, Rule};

/// A rule and who watches for it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The rule.
    pub rule: &'static Rule,
    monitor: Option<fn() -> Box<dyn Monitor>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.id)
    }
}

impl Entry {
    pub(crate) const fn monitored(rule: &'static Rule, monitor: fn() -> Box<dyn Monitor>) -> Self {
        Self { rule, monitor: Some(monitor) }
    }

    /// A rule that several runs are compared for.
    pub(crate) const fn by_comparison(rule: &'static Rule) -> Self {
        Self { rule, monitor: None }
    }
}

const AREAS: &[&[Entry]] = &[
    memory::ENTRIES,
    pool::ENTRIES,
    irql::ENTRIES,
    lock::ENTRIES,
    irp::ENTRIES,
    user_buffer::ENTRIES,
    exposure::ENTRIES,
    io_control::ENTRIES,
    race::ENTRIES,
    unload::ENTRIES,
    exception::ENTRIES,
    wait::ENTRIES,
    timer::ENTRIES,
    thread::ENTRIES,
    region::ENTRIES,
    dpc::ENTRIES,
    apc::ENTRIES,
    bug_check::ENTRIES,
    argument::ENTRIES,
    work_item::ENTRIES,
];

/// Lists every rule, by area.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    AREAS.iter().flat_map(|area| area.iter()).map(|entry| entry.rule)
}

/// Finds a rule by its id or a former name.
pub fn find(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id || rule.aliases.contains(&id))
}

/// Returns the source of a rule's test driver, `bad.c` or `good.c`.
pub fn example(id: &str, file: &str) -> Option<&'static str> {
    const EXAMPLES: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/examples.rs"));
    EXAMPLES.iter().find(|(rule, name, _)| *rule == id && *name == file).map(|(.., text)| *text)
}

/// Makes the monitors of all rules.
pub fn monitors() -> Vec<Box<dyn Monitor>> {
    AREAS
        .iter()
        .flat_map(|area| area.iter())
        .filter_map(|entry| entry.monitor)
        .map(|make| make())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{find, rules};

    #[test]
    fn the_id_is_the_path() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for rule in rules() {
            let file = source.join(rule.id.replace("::", "/"));
            assert!(file.with_extension("rs").is_file(), "{} has no file", rule.id);
            assert!(file.with_extension("md").is_file(), "{} has no page", rule.id);
            assert_eq!(find(rule.id), Some(rule));
            assert!(rule.since <= env!("CARGO_PKG_VERSION"), "{} comes later", rule.id);
        }
    }

    #[test]
    fn every_page_has_the_headings() {
        const HEADINGS: [&str; 6] = [
            "\n## What it checks\n",
            "\n## Why Windows cares\n",
            "\n## Bad\n",
            "\n## Good\n",
            "\n## When it is not reported\n",
            "\n## Contract\n",
        ];
        for rule in rules() {
            assert!(rule.explain.starts_with(&format!("# {}\n", rule.id)), "{}", rule.id);
            let places: Vec<_> = HEADINGS.iter().map(|h| rule.explain.find(h)).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", rule.id);
            for page in rule.contract {
                assert!(rule.explain.contains(page), "{}: {page}", rule.id);
            }
            for other in rule.yields_to {
                assert!(find(other).is_some(), "{} yields to {other}", rule.id);
            }
        }
    }
}
