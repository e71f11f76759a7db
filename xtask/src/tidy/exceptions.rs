//! Every exception that the sources grant themselves: lints, budgets, unsafe modules.

use super::{Complaint, budgets, tree::Tree, unsafe_code};

pub(super) fn list(tree: &Tree) -> Vec<Complaint> {
    let mut exceptions = Vec::new();
    for file in tree.with_extension("rs") {
        let text = file.text();
        for (at, _) in text.match_indices("expect(") {
            let before = text.get(..at).unwrap_or_default();
            if !(before.ends_with("#[") || before.ends_with("#![")) {
                continue;
            }
            let attribute = text.get(at..).unwrap_or_default();
            let end = attribute.find(")]").map_or(attribute.len(), |end| end + 1);
            let words = attribute.get(..end).unwrap_or_default().split_whitespace();
            let line = before.matches('\n').count() + 1;
            let shown = words.collect::<Vec<_>>().join(" ");
            exceptions.push(Complaint::new(&file.path, line, shown));
        }
        for (line, words) in file.lines() {
            if words.starts_with(budgets::MARK) || words.trim_start().starts_with(unsafe_code::MARK)
            {
                exceptions.push(Complaint::new(&file.path, line, words.trim()));
            }
        }
    }
    exceptions
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, list};

    #[test]
    fn attributes_over_several_lines_are_listed() {
        let text = "x\n#[expect(\n    a,\n    reason = \"b\"\n)]\nlet y = c.expect(\"d\");\n";
        let found = list(&Tree::of(&[("a.rs", text)]));
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a.rs:2: expect( a, reason = \"b\" )"]);
    }
}
