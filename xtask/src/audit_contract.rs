//! `cargo xtask audit-contract`: the limits that exports declare are those of the documentation.

use std::fs;

use anyhow::{Result, bail};
use regex_lite::Regex;

use crate::{
    facts::{self, LEVELS, Limits},
    repo,
};

#[derive(Debug, PartialEq, Eq)]
struct Declared {
    name: String,
    limits: Option<Limits>,
    has_note: bool,
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run() -> Result<()> {
    let Some(facts) = facts::read()? else {
        println!("audit-contract: skipped, the table of documented limits is not here");
        return Ok(());
    };
    let (mut compared, mut silent, mut wrong) = (0_usize, 0_usize, 0_usize);
    for file in repo::files_below(&repo::root().join("kernel"))? {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        for declared in declarations(&fs::read_to_string(&file)?)? {
            let fact = facts.get(&declared.name);
            let documented = fact.filter(|fact| !fact.is_disputed).and_then(|fact| fact.limits);
            let (Some(documented), false) = (documented, declared.has_note) else {
                silent += 1;
                continue;
            };
            compared += 1;
            if declared.limits != Some(documented) {
                wrong += 1;
                let path = file.strip_prefix(repo::root()).unwrap_or(&file).display();
                let (name, ours) = (&declared.name, shown(declared.limits));
                let page = shown(Some(documented));
                println!("{path}: {name} declares {ours}, its page says {page}");
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} exports differ from their page; correct them or give an `irql_note`");
    }
    println!(
        "audit-contract: {compared} exports agree with their page; {silent} have a note, a \
         disputed or conditional limit, or no page"
    );
    Ok(())
}

/// Every `#[export(...)] fn Name` of a file.
fn declarations(text: &str) -> Result<Vec<Declared>> {
    let attributes = r"#\[export\(([^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*";
    let export = Regex::new(&format!(r"{attributes}(?:pub(?:\([a-z]+\))? )?fn (\w+)"))?;
    let irql = Regex::new(r"irql\s*=\s*(\w*)\s*(\.\.=?)?\s*(\w*)")?;
    let mut found = Vec::new();
    for declaration in export.captures_iter(text) {
        let part = |index| declaration.get(index).map_or("", |part| part.as_str());
        let limits = irql.captures(part(1)).and_then(|irql| {
            let word = |index| irql.get(index).map_or("", |word| word.as_str());
            let level = |name: &str| LEVELS.iter().position(|level| *level == name);
            match (word(1), word(2), word(3)) {
                ("", "..", "") => Some(Limits { min: 0, max: LEVELS.len() - 1 }),
                (min, "..", "") => Some(Limits { min: level(min)?, max: LEVELS.len() - 1 }),
                ("", "..=", max) => Some(Limits { min: 0, max: level(max)? }),
                (min, "..=", max) => Some(Limits { min: level(min)?, max: level(max)? }),
                (only, "", _) => Some(Limits { min: level(only)?, max: level(only)? }),
                _ => None,
            }
        });
        let has_note = part(1).contains("irql_note");
        found.push(Declared { name: part(2).to_owned(), limits, has_note });
    }
    Ok(found)
}

fn shown(limits: Option<Limits>) -> String {
    let name = |index: usize| LEVELS.get(index).copied().unwrap_or("?");
    match limits {
        None => "no limit that this audit can read".to_owned(),
        Some(Limits { min, max }) if min == max => name(min).to_owned(),
        Some(Limits { min, max }) => format!("{}..={}", name(min), name(max)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, declarations};

    #[test]
    fn each_form_of_a_limit_is_read() {
        let cases = [
            ("PASSIVE_LEVEL", 0, 0),
            ("..=APC_LEVEL", 0, 1),
            ("DISPATCH_LEVEL..", 2, 5),
            ("..", 0, 5),
        ];
        for (irql, min, max) in cases {
            let text =
                format!("#[export(irql = {irql}, ddi = \"wdm/x\")]\nfn KeX(k: &mut Kernel) {{}}");
            let found = declarations(&text).expect("the pattern is valid");
            let declared = found.first().expect("one declaration");
            assert_eq!(declared.limits, Some(Limits { min, max }), "{irql}");
            assert_eq!(declared.name, "KeX");
        }
    }
}
