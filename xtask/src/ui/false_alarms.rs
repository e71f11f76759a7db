//! `cargo xtask false-alarms`: correct drivers stay silent under the whole portfolio.
//!
//! Every good twin, look-alike and clean sample is checked with so many runs of other schedules,
//! besides its friendly runs and single failures.

use anyhow::{Result, bail};

use super::{Bench, schedules};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only drivers whose path contains this.
    filter: Option<String>,
    /// Runs with other schedules, per driver.
    #[arg(long, value_name = "N", default_value_t = 200)]
    runs: u32,
}

/// Checks them all; the last line counts.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::new()?;
    let filter = args.filter.as_deref().unwrap_or_default();
    let runs = args.runs.to_string();
    let portfolio = ["--budget", "deep", "--schedule-runs", &runs, "--format", "json"];
    let failed = schedules::each(&bench, filter, |driver| {
        let own = driver.arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = own.chain(portfolio).collect();
        let said = schedules::said(&bench, driver, &arguments);
        said.map(|said| format!("FAILED {}: {said}", driver.path)).into_iter().collect()
    })?;
    if failed > 0 {
        bail!("{failed} correct drivers were accused");
    }
    Ok(())
}
