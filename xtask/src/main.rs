//! The front door for developers: `cargo xtask <verb>`.

mod audit_contract;
mod bench;
mod build_driver;
mod check;
mod content_hash;
mod docs;
mod endurance;
mod examples;
mod facts;
mod fuzz_images;
mod fuzz_tokens;
mod misuse;
mod new_export;
mod new_rule;
mod reference;
mod replays;
mod repo;
mod samples;
mod seed_rules;
mod setup;
mod test;
mod tidy;
mod tiers;
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
    /// Checks that correct drivers stay silent under many schedules.
    Schedules(ui::schedules::Args),
    /// Checks that correct drivers stay silent under the whole portfolio of schedules.
    FalseAlarms(ui::false_alarms::Args),
    /// Tries each strategy on each demo, and tells how many runs it needs.
    ExploreBench(ui::explore_bench::Args),
    /// Builds one C or C++ driver to a `.sys` with its `.pdb`.
    BuildDriver(build_driver::Args),
    /// Rebuilds the prebuilt drivers under `samples/`, or checks them.
    Samples(samples::Args),
    /// Checks that misuse of the SDK does not compile.
    Misuse,
    /// Writes the skeleton of a rule with its explanation and test drivers.
    NewRule(new_rule::Args),
    /// Writes the skeleton of an export.
    NewExport(new_export::Args),
    /// Writes the references `docs/rules.md` and `docs/exports.md`, or checks them.
    Docs(docs::Args),
    /// Compares the declared limits of exports with their documentation.
    AuditContract,
    /// Compares the interpreter with the recorded vectors and with the host CPU.
    Vectors(vectors::Args),
    /// Compares random blocks of code between host CPU, interpreter and translator.
    Blocks(vectors::BlocksArgs),
    /// Gives damaged images and debug files to the readers.
    FuzzImages(fuzz_images::Args),
    /// Gives damaged tokens, replay files and scenarios to their readers.
    FuzzTokens(fuzz_tokens::Args),
    /// Gives arbitrary bytes to the translator as guest code, between canaries.
    FuzzCode(vectors::FuzzArgs),
    /// Replays each finding of a set of drivers many times and compares.
    Replays(replays::Args),
    /// Checks drivers with both engines, and compares every byte of the reports.
    Tiers(tiers::Args),
    /// Runs ten million instructions in turns of 100, twice, and compares the events.
    Endurance,
    /// Runs the examples for users: a crate with tests of a driver, and scenarios.
    Examples,
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
        Verb::Schedules(args) => ui::schedules::run(&args),
        Verb::FalseAlarms(args) => ui::false_alarms::run(&args),
        Verb::ExploreBench(args) => ui::explore_bench::run(&args),
        Verb::BuildDriver(args) => build_driver::run(&args),
        Verb::Samples(args) => samples::run(&args),
        Verb::Misuse => misuse::run(),
        Verb::NewRule(args) => new_rule::run(&args),
        Verb::NewExport(args) => new_export::run(&args),
        Verb::Docs(args) => docs::run(&args),
        Verb::AuditContract => audit_contract::run(),
        Verb::Vectors(args) => vectors::run(&args),
        Verb::Blocks(args) => vectors::blocks(&args),
        Verb::FuzzImages(args) => fuzz_images::run(&args),
        Verb::FuzzTokens(args) => fuzz_tokens::run(&args),
        Verb::FuzzCode(args) => vectors::fuzz_code(&args),
        Verb::Replays(args) => replays::run(&args),
        Verb::Tiers(args) => tiers::run(&args),
        Verb::Endurance => endurance::run(),
        Verb::Examples => examples::run(),
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
