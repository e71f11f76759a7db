//! `cargo xtask check`: format, lints, house rules, documents, unit tests. What to run before every
//! commit.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use crate::{docs, misuse, repo, setup, tidy};

/// Unit tests that passed.
pub(crate) type Passed = usize;

/// Runs every step and stops at the first that fails.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run() -> Result<Passed> {
    step("format");
    repo::run(repo::cargo().args(["fmt", "--all", "--check"]))?;
    repo::run(repo::cargo().args(["fmt", "--all", "--check", "--manifest-path", DRIVERS]))?;
    step("lints");
    let workspace = ["clippy", "--release", "--quiet", "--workspace", "--all-targets"];
    repo::run(repo::cargo().args(workspace).args(["--", "-D", "warnings"]))?;
    if setup::has_driver_target() {
        for manifest in [DRIVERS, SDK] {
            let drivers = ["clippy", "--release", "--quiet", "--manifest-path", manifest];
            let target = ["--target", setup::DRIVER_TARGET, "--", "-D", "warnings"];
            repo::run(repo::cargo().args(drivers).args(target))?;
        }
        step("misuse of the SDK");
        misuse::run()?;
    } else {
        println!("check: the Rust drivers are not linted, {} is missing", setup::DRIVER_TARGET);
    }
    step("another host");
    if setup::has_target(setup::OTHER_HOST) {
        let program = ["check", "--release", "--quiet", "--package", "bugcheck-cli"];
        repo::run(repo::cargo().args(program).args(["--target", setup::OTHER_HOST]))?;
    } else {
        println!("check: not checked for {}, `rustup target add` it", setup::OTHER_HOST);
    }
    step("house rules");
    tidy::run(&tidy::Args::default())?;
    step("generated documents");
    docs::check()?;
    if repo::find_program("cargo-deny").is_some() {
        step("licences");
        repo::run(repo::cargo().args([
            "deny",
            "--offline",
            "check",
            "bans",
            "licenses",
            "sources",
        ]))?;
    } else {
        println!("check: cargo-deny is not installed, deny.toml is not applied");
    }
    step("unit tests");
    unit_tests()
}

const DRIVERS: &str = "drivers/Cargo.toml";
const SDK: &str = "sdk/kernel_sdk/Cargo.toml";

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn step(name: &str) {
    println!("check: {name}");
}

/// Runs all unit tests; shows their output and counts them.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn unit_tests() -> Result<Passed> {
    let mut cargo = repo::cargo();
    cargo.args(["test", "--release", "--quiet", "--workspace"]);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("the output is piped")?;
    let mut passed = 0;
    let mut failures = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        match passed_in(&line) {
            Some(count) => passed += count,
            None if line.is_empty() || line.starts_with("running ") => {}
            None => failures.push(line),
        }
    }
    if !child.wait()?.success() {
        println!("{}", failures.join("\n"));
        bail!("unit tests failed");
    }
    println!("unit tests: {passed} passed, 0 failed");
    Ok(passed)
}

/// Reads `test result: ok. 3 passed; ...`.
fn passed_in(line: &str) -> Option<Passed> {
    let counts = line.strip_prefix("test result: ok. ")?;
    counts.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::passed_in;

    #[test]
    fn cargo_prints_counts() {
        assert_eq!(passed_in("test result: ok. 12 passed; 0 failed; 0 ignored"), Some(12));
        assert_eq!(passed_in("running 12 tests"), None);
    }
}
