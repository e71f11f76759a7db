//! Rule id = file = explanation = test folder, and every rule has its twins and its contract.

use super::{Complaint, tree::Tree};

const RULEBOOK: &str = "rules/rulebook/src/";
const TESTS: &str = "tests/ui/";
const NEAR_MISSES: usize = 2;
const HEADINGS: [&str; 6] =
    ["What it checks", "Why Windows cares", "Bad", "Good", "When it is not reported", "Contract"];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut known = Vec::new();
    for file in tree.with_extension("rs") {
        for (at, _) in file.text().match_indices("declare_rule! {") {
            let declaration = file.text().get(at..).unwrap_or_default();
            let line = file.text().get(..at).unwrap_or_default().matches('\n').count() + 1;
            let id = quoted_after(declaration, "id:");
            // The macro itself, and its examples, name no rule of the book.
            if !file.path.starts_with(RULEBOOK) {
                continue;
            }
            let path = id.replace("::", "/");
            let mut complain = |message: String| {
                complaints.push(Complaint::new(&file.path, line, message));
            };
            if file.path != format!("{RULEBOOK}{path}.rs") {
                complain(format!("rule `{id}` belongs in {RULEBOOK}{path}.rs"));
            }
            match tree.get(&format!("{RULEBOOK}{path}.md")) {
                None => complain(format!("rule `{id}` has no explanation {path}.md beside it")),
                Some(page) => {
                    let lacks = |heading: &&&str| !page.text().contains(&format!("# {heading}"));
                    for heading in HEADINGS.iter().filter(lacks) {
                        complain(format!("the explanation of `{id}` has no heading `{heading}`"));
                    }
                }
            }
            let contract = declaration.split_once("contract: &[").map_or("", |(_, rest)| rest);
            if !contract.trim_start().starts_with('"') {
                complain(format!("rule `{id}` names no page of the contract"));
            }
            let twins = ["bad.c", "bad.stderr", "good.c"];
            let folder = format!("{TESTS}{path}/");
            let is_missing = |twin: &&&str| tree.get(&format!("{folder}{twin}")).is_none();
            let mut lacks: Vec<_> =
                twins.iter().filter(is_missing).map(ToString::to_string).collect();
            let near = format!("{folder}near_");
            let misses =
                tree.with_extension("c").filter(|file| file.path.starts_with(&near)).count();
            if misses < NEAR_MISSES {
                lacks.push(format!("near_*.c (has {misses} of {NEAR_MISSES})"));
            }
            if !lacks.is_empty() {
                complain(format!("rule `{id}` lacks in {folder}: {}", lacks.join(", ")));
            }
            known.push(path);
        }
    }
    known.extend(neighbours(tree, &mut complaints));
    complaints.extend(strangers(tree, &known));
    complaints
}

/// Where the kinds of choices are declared.
const CHOICES: &str = "kernel/events/src/choices.rs";
/// The test folders of neighbours.
const PROFILE: &str = "profile/";

/// The test folders of neighbours: each is named after the choice that puts it there, and has
/// twins as a rule has.
fn neighbours(tree: &Tree, complaints: &mut Vec<Complaint>) -> Vec<String> {
    let choices = tree.get(CHOICES).map_or("", |file| file.text());
    let names = choices.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut folders = Vec::new();
    for name in names {
        let folder = format!("{TESTS}{PROFILE}{name}/");
        let drivers: Vec<&str> = tree.with_extension("c").map(|file| file.path.as_str()).collect();
        let of_folder = drivers.iter().filter_map(|path| path.strip_prefix(&folder));
        let of_folder: Vec<&str> = of_folder.collect();
        if of_folder.is_empty() {
            continue;
        }
        let misses = of_folder.iter().filter(|name| name.starts_with("near_")).count();
        if misses < NEAR_MISSES || !["bad.c", "good.c"].iter().all(|t| of_folder.contains(t)) {
            let message = format!("{folder} needs bad.c, good.c and {NEAR_MISSES} near_*.c");
            complaints.push(Complaint::new(CHOICES, 0, message));
        }
        folders.push(format!("{PROFILE}{name}"));
    }
    folders
}

/// Test folders without a rule, and expected output without a driver.
fn strangers(tree: &Tree, known: &[String]) -> Vec<Complaint> {
    let golden = tree.with_extension("stderr").filter(|file| file.path.starts_with(TESTS));
    let is_alone = |path: &str| {
        let stem = path.trim_end_matches(".stderr");
        ["c", "cpp"].iter().all(|end| tree.get(&format!("{stem}.{end}")).is_none())
    };
    let alone = golden.filter(|file| is_alone(&file.path));
    let mut complaints: Vec<_> =
        alone.map(|file| Complaint::new(&file.path, 0, "no driver gives this output")).collect();
    let drivers = tree.with_extension("c").filter(|file| file.path.starts_with(TESTS));
    let is_stranger = |path: &str| {
        let folder = path.strip_prefix(TESTS)?.rsplit_once('/')?.0;
        let is_of_move = ["move/", "profile/"].iter().any(|area| folder.starts_with(area));
        (folder != "include" && !is_of_move && !known.iter().any(|rule| rule == folder))
            .then_some(())
    };
    let strange = drivers.filter(|file| is_stranger(&file.path).is_some());
    let message = "no rule has the id of this folder";
    complaints.extend(strange.map(|file| Complaint::new(&file.path, 0, message)));
    complaints
}

fn quoted_after<'a>(text: &'a str, key: &str) -> &'a str {
    let rest = text.split_once(key).map_or("", |(_, rest)| rest);
    rest.split('"').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    const RULE: &str = "declare_rule! {\n id: \"pool::leak\",\n contract: &[\"ddi/x\"],\n}";
    const PAGE: &str = "# What it checks\n# Why Windows cares\n# Bad\n# Good\n\
                        # When it is not reported\n# Contract\n";

    #[test]
    fn a_complete_rule_passes_and_each_missing_piece_is_named() {
        let files = [
            ("rules/rulebook/src/pool/leak.rs", RULE),
            ("rules/rulebook/src/pool/leak.md", PAGE),
            ("tests/ui/pool/leak/bad.c", ""),
            ("tests/ui/pool/leak/bad.stderr", ""),
            ("tests/ui/pool/leak/good.c", ""),
            ("tests/ui/pool/leak/near_a.c", ""),
            ("tests/ui/pool/leak/near_b.c", ""),
        ];
        assert_eq!(check(&Tree::of(&files)), []);
        for missing in 1..files.len() {
            let mut less = files.to_vec();
            less.remove(missing);
            let count = if missing == 2 { 2 } else { 1 };
            assert_eq!(check(&Tree::of(&less)).len(), count, "without {:?}", files.get(missing));
        }
        let no_rule = files.get(1..).unwrap_or_default();
        assert_eq!(check(&Tree::of(no_rule)).len(), 4);
    }
}
