//! All rules and exports, as the compiled program knows them.

use anyhow::{Context, Result, bail};

use crate::repo;

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) severity: String,
    pub(crate) title: String,
    pub(crate) contract: Vec<String>,
}

/// A routine that drivers can import.
#[derive(Debug, Default)]
pub(crate) struct Export {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) page: String,
    /// Lowest and highest IRQL.
    pub(crate) irql: (u8, u8),
    /// Empty where nothing is said, as those below.
    pub(crate) written_as: String,
    pub(crate) irql_when: String,
    pub(crate) irql_note: String,
    pub(crate) limits: String,
}

/// A variable that drivers can import.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) page: String,
}

/// Everything there is to refer to.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) rules: Vec<Rule>,
    pub(crate) exports: Vec<Export>,
    pub(crate) variables: Vec<Variable>,
}

/// Builds and asks the library.
pub(crate) fn read() -> Result<Reference> {
    let mut cargo = repo::cargo();
    let lines = repo::output(cargo.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        "bugcheck",
        "--example",
        "reference",
    ]))?;
    parse(&lines)
}

fn parse(lines: &str) -> Result<Reference> {
    let mut reference = Reference::default();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["rule", id, severity, title, pages] => reference.rules.push(Rule {
                id: id.to_owned(),
                severity: severity.to_owned(),
                title: title.to_owned(),
                contract: pages.split(',').map(str::to_owned).collect(),
            }),
            ["export", module, name, page, min, max, written_as, when, note, limits] => {
                let level = |text: &str| text.parse().with_context(|| format!("no level: {line}"));
                reference.exports.push(Export {
                    module: module.to_owned(),
                    name: name.to_owned(),
                    page: page.to_owned(),
                    irql: (level(min)?, level(max)?),
                    written_as: written_as.to_owned(),
                    irql_when: when.to_owned(),
                    irql_note: note.to_owned(),
                    limits: limits.to_owned(),
                });
            }
            ["variable", module, name, page] => reference.variables.push(Variable {
                module: module.to_owned(),
                name: name.to_owned(),
                page: page.to_owned(),
            }),
            _ => bail!("a line of the reference that nobody expects: {line}"),
        }
    }
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_are_read_by_their_first_word() {
        let lines = "rule\ta::b\thazard\ttoo much\tkernel/x,ddi/y\n\
                     export\thal.dll\tHalX\twdm/x\t0\t2\t\tsometimes\t\t\n\
                     variable\thal.dll\tHalV\twdm/v\n";
        let reference = parse(lines).expect("three kinds of lines");
        let [rule] = reference.rules.as_slice() else { panic!("one rule") };
        assert_eq!(rule.contract, ["kernel/x", "ddi/y"]);
        let [export] = reference.exports.as_slice() else { panic!("one export") };
        assert_eq!((export.irql, export.irql_when.as_str()), ((0, 2), "sometimes"));
        assert_eq!(reference.variables.len(), 1);
        assert!(parse("what\tis\tthis").is_err());
    }
}
