//! The front door for developers: `cargo xtask <verb>`.

mod audit_contract;
mod bench;
mod build_driver;
mod check;
mod content_hash;
mod facts;
mod fuzz_images;
mod new_export;
mod new_rule;
mod repo;
mod samples;
mod setup;
mod test;
mod tidy;
mod toolchain;
mod ui;
mod vectors;
mod verdicts;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, checks and tests this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Installs the compilers that the test drivers need; does nothing when they are there.
    Setup,
    /// Format, lints, house rules and unit tests: before every commit.
    Check,
    /// Everything CI runs: setup where something is missing, check, samples, drivers.
    Test,
    /// Checks house rules that no compiler lint knows.
    Tidy(tidy::Args),
    /// Builds and checks every driver under `tests/ui`.
    Ui(ui::Args),
    /// Builds one C or C++ driver to a `.sys` with its `.pdb`.
    BuildDriver(build_driver::Args),
    /// Rebuilds the prebuilt drivers under `samples/`, or checks them.
    Samples(samples::Args),
    /// Writes the skeleton of a rule with its explanation and test drivers.
    NewRule(new_rule::Args),
    /// Writes the skeleton of an export.
    NewExport(new_export::Args),
    /// Compares the declared limits of exports with their documentation.
    AuditContract,
    /// Compares the interpreter with the recorded vectors and with the host CPU.
    Vectors(vectors::Args),
    /// Gives damaged images and debug files to the readers.
    FuzzImages(fuzz_images::Args),
    /// Measures checked execution against native execution of the same code.
    Bench(bench::Args),
}

#[expect(clippy::print_stderr, reason = "a program speaks to its terminal")]
fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup => setup::run(),
        Verb::Check => check::run().map(drop),
        Verb::Test => test::run(),
        Verb::Tidy(args) => tidy::run(&args),
        Verb::Ui(args) => ui::run(&args),
        Verb::BuildDriver(args) => build_driver::run(&args),
        Verb::Samples(args) => samples::run(&args),
        Verb::NewRule(args) => new_rule::run(&args),
        Verb::NewExport(args) => new_export::run(&args),
        Verb::AuditContract => audit_contract::run(),
        Verb::Vectors(args) => vectors::run(&args),
        Verb::FuzzImages(args) => fuzz_images::run(&args),
        Verb::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
