//! Collects the test drivers of the rules, so that the pages of `explain` show tested examples.

#![expect(clippy::disallowed_methods, reason = "a build script is a program, no part of a run")]

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../tests/ui");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut table = String::from("&[\n");
    for area in sorted(&root) {
        for rule in sorted(&root.join(&area)) {
            for file in ["bad.c", "good.c"] {
                let path = root.join(&area).join(&rule).join(file);
                if let Ok(text) = fs::read_to_string(&path) {
                    writeln!(table, "    (\"{area}::{rule}\", {file:?}, {text:?}),")?;
                }
            }
        }
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("examples.rs"), table)?;
    Ok(())
}

/// Names in a folder; none if it does not exist.
fn sorted(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
