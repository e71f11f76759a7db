//! `cargo xtask misuse`: what the SDK is made to refuse does not compile, for the reason stated.
//!
//! Each file under `sdk/kernel_sdk/misuse` is compiled twice. As it is, it compiles. With
//! `--cfg misuse` the compiler names exactly the errors that its lines are marked with, as in
//! `//~ E0499`. The example of the SDK's README compiles, too.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, bail};

use crate::{
    repo,
    toolchain::{Diagnosis, RustToolchain},
};

const FOLDER: &str = "sdk/kernel_sdk/misuse";
const README: &str = "sdk/README.md";
const MARK: &str = "//~ ";

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run() -> Result<()> {
    let rust = RustToolchain::locate()?;
    check_readme(&rust)?;
    let mut refused = 0;
    for path in repo::files_below(&repo::root().join(FOLDER))? {
        let relative = path.strip_prefix(repo::root())?.to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&path).with_context(|| relative.clone())?;
        let marked = marks(&text);
        if marked.is_empty() {
            bail!("{relative}: no line is marked with `{MARK}CODE`");
        }
        let right = rust.diagnose(&relative, &[])?;
        if !right.is_empty() {
            bail!("{relative}: expected to compile without `--cfg misuse`, found {right:?}");
        }
        let wrong = rust.diagnose(&relative, &["--cfg", "misuse"])?;
        if wrong != marked {
            let missing: Vec<_> = marked.difference(&wrong).collect();
            let unmarked: Vec<_> = wrong.difference(&marked).collect();
            bail!(
                "{relative}: compiled though marked: {missing:?}; refused unmarked: {unmarked:?}"
            );
        }
        refused += marked.len();
    }
    println!("misuse: {refused} passed, 0 failed");
    Ok(())
}

/// Compiles what the README shows.
fn check_readme(rust: &RustToolchain) -> Result<()> {
    let text = fs::read_to_string(repo::root().join(README)).context(README)?;
    let (_, rest) = text.split_once("```rust\n").context("the README shows no Rust")?;
    let (example, _) = rest.split_once("```").context("the example of the README has no end")?;
    let file = repo::target_dir().join("drivers/rust/readme.rs");
    fs::write(&file, example)?;
    let wrong = rust.diagnose(&fs::canonicalize(file)?.to_string_lossy(), &[])?;
    if !wrong.is_empty() {
        bail!("{README}: the example does not compile: {wrong:?}");
    }
    Ok(())
}

/// The errors that the lines of a file are marked with.
fn marks(text: &str) -> BTreeSet<Diagnosis> {
    let marked = text.lines().zip(1..).filter_map(|(line, number)| {
        let (_, code) = line.split_once(MARK)?;
        Some(Diagnosis { line: number, code: code.trim().to_owned() })
    });
    marked.collect()
}

#[cfg(test)]
mod tests {
    use super::{Diagnosis, marks};

    #[test]
    fn marks_name_line_and_code() {
        let found = marks("a();\nb(); //~ E0499\n");
        assert!(found.contains(&Diagnosis { line: 2, code: "E0499".to_owned() }));
        assert_eq!(found.len(), 1);
    }
}
