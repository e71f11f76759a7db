//! `cargo xtask new-rule area::name`: rule, explanation and test drivers, ready to be filled in.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::repo;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id, named after the mistake: `pool::double_free`.
    id: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let Some((area, name)) = args.id.split_once("::").filter(|(a, n)| is_name(a) && is_name(n))
    else {
        bail!("`{}` is no rule id, expected `area::name` in lower case", args.id);
    };
    let constant = name.to_uppercase();
    let monitor = camel(name);
    let fill = |text: &str| {
        text.replace("{area}", area)
            .replace("{name}", name)
            .replace("{CONSTANT}", &constant)
            .replace("{Monitor}", &monitor)
    };
    let book = format!("rules/rulebook/src/{area}/{name}");
    let tests = format!("tests/ui/{area}/{name}");
    let files = [
        (format!("{book}.rs"), RULE),
        (format!("{book}.md"), PAGE),
        (format!("{tests}/bad.c"), BAD),
        (format!("{tests}/good.c"), GOOD),
        (format!("{tests}/near_first.c"), NEAR),
        (format!("{tests}/near_second.c"), NEAR),
    ];
    for (path, _) in &files {
        if repo::root().join(path).exists() {
            bail!("{path} exists already");
        }
    }
    write_all(files.map(|(path, text)| (path, fill(text))))?;
    report(&format!(
        "next: list `{constant}` and `{monitor}` in rules/rulebook/src/{area}/mod.rs; write \
         the drivers; `cargo xtask ui {area}::{name} --bless`"
    ));
    Ok(())
}

/// Writes new files, with their folders, and names them.
pub(crate) fn write_all(files: impl IntoIterator<Item = (String, String)>) -> Result<()> {
    for (path, text) in files {
        let file = repo::root().join(&path);
        fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
        fs::write(file, text).with_context(|| format!("cannot write {path}"))?;
        report(&path);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn report(line: &str) {
    println!("{line}");
}

fn camel(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    name.split('_').map(capital).collect()
}

const RULE: &str = r#"//! One sentence: what a driver must not do.

use verifier::{Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a driver ...
    pub static {CONSTANT} = {
        id: "{area}::{name}",
        severity: Severity::Violation,
        title: "",
        explain: include_str!("{name}.md"),
        fix: "",
        windows: "",
        contract: &[],
        since: "0.1.0",
    }
}

/// Watches ...
#[derive(Clone, Debug, Default)]
pub struct {Monitor};

impl Monitor for {Monitor} {}
"#;

const PAGE: &str = "# {area}::{name}

## What it checks

## Why Windows cares

## Bad

See `tests/ui/{area}/{name}/bad.c`.

## Good

See `tests/ui/{area}/{name}/good.c`.

## When it is not reported

## Contract
";

const BAD: &str = "// One sentence: the mistake.
#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    return STATUS_SUCCESS; //~ {area}::{name}
}
";

const GOOD: &str = "// One sentence: bad.c put right.
#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    return STATUS_SUCCESS;
}
";

const NEAR: &str =
    "// One sentence: what looks like the mistake and why it is legal, with its page.
#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    return STATUS_SUCCESS;
}
";

#[cfg(test)]
mod tests {
    use super::camel;

    #[test]
    fn names_of_monitors() {
        assert_eq!(camel("paged_at_dispatch"), "PagedAtDispatch");
    }
}
