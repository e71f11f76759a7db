//! `cargo xtask examples`: what users write, run as they run it, from outside of the workspace.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{repo, ui};

/// The crate with tests of a driver.
const RUST_TEST: &str = "examples/rust_test";
/// Scenarios, each with its driver.
const SCENARIOS: [(&str, &str); 2] = [
    ("examples/scenario/settings.rhai", "samples/settings.sys"),
    ("docs/examples/zero.rhai", "samples/zero.sys"),
];
/// Enough to show that the requests of a scenario are repeated.
const RUNS: &str = "300";

/// Runs all examples and says how many passed.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run() -> Result<()> {
    let tests = rust_test()?;
    let program = ui::build_bugcheck()?;
    for (scenario, driver) in SCENARIOS {
        println!("examples: {scenario}");
        let mut bugcheck = Command::new(&program);
        let arguments = ["check", "--runs", RUNS, driver, "--scenario", scenario];
        repo::run(bugcheck.current_dir(repo::root()).args(arguments))?;
    }
    println!("{} passed, 0 failed", tests + SCENARIOS.len());
    Ok(())
}

/// `cargo test` in the crate's folder. Its output goes to the workspace's folder, and it starts
/// from the workspace's lock file: libraries from the registry are the same, and there already.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn rust_test() -> Result<usize> {
    println!("examples: {RUST_TEST}");
    let folder = repo::root().join(RUST_TEST);
    fs::copy(repo::root().join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("cannot copy the lock file")?;
    let mut cargo = repo::cargo();
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", repo::target_dir());
    let said = repo::output(cargo.args(["test", "--release", "--quiet"]))?;
    print!("{said}");
    let passed = said.lines().filter_map(passed_in).sum();
    if passed == 0 {
        bail!("{RUST_TEST} has no tests");
    }
    Ok(passed)
}

/// `test result: ok. 5 passed; 0 failed; ...`
fn passed_in(line: &str) -> Option<usize> {
    line.strip_prefix("test result: ok. ")?.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::passed_in;

    #[test]
    fn results_are_counted() {
        assert_eq!(passed_in("test result: ok. 5 passed; 0 failed; 0 ignored"), Some(5));
        assert_eq!(passed_in("running 5 tests"), None);
    }
}
