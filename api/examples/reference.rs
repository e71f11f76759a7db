//! Prints all rules and exports for `cargo xtask docs` and `audit-contract`: lines with tabs.

#![expect(clippy::print_stdout, reason = "a program speaks to whoever started it")]

fn main() {
    for rule in bugcheck::rules() {
        let pages = rule.contract.join(",");
        println!("rule\t{}\t{}\t{}\t{pages}", rule.id, rule.severity, rule.title);
    }
    for export in bugcheck::exports() {
        let levels = [export.irql_min, export.irql_max].map(|level| level.to_string());
        let texts = [export.written_as, export.irql_when, export.irql_note, export.limits];
        let mut fields = vec!["export", export.module, export.name, export.page];
        fields.extend(levels.iter().map(String::as_str));
        fields.extend(texts.map(Option::unwrap_or_default));
        println!("{}", fields.join("\t"));
    }
    for variable in bugcheck::variables() {
        println!("variable\t{}\t{}\t{}", variable.module, variable.name, variable.page);
    }
}
