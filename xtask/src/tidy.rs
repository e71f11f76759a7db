//! `cargo xtask tidy`: house rules that no compiler lint can check, one file per check.

mod budgets;
mod components;
mod exceptions;
mod forbidden_words;
mod layers;
mod links;
mod machine_paths;
mod module_comment;
mod orphans;
mod rules;
mod rust_text;
mod seed_rules;
mod tested_exports;
mod tree;
mod unsafe_code;
mod wrap;

use std::fmt::{self, Display};

use anyhow::{Result, bail};

use tree::Tree;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Lists every place that was granted an exception, with its reason.
    #[arg(long)]
    exceptions: bool,
    /// Breaks comment lines that are too long, in place.
    #[arg(long)]
    wrap: bool,
}

/// One broken house rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    path: String,
    /// 0 where the file as a whole is meant.
    line: usize,
    message: String,
}

impl Complaint {
    pub(super) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

type Check = fn(&Tree) -> Vec<Complaint>;

const CHECKS: [(&str, Check); 12] = [
    ("budgets", budgets::check),
    ("components", components::check),
    ("forbidden words", forbidden_words::check),
    ("layers", layers::check),
    ("links", links::check),
    ("machine paths", machine_paths::check),
    ("module comments", module_comment::check),
    ("orphans", orphans::check),
    ("rules", rules::check),
    ("seed rules", seed_rules::check),
    ("tested exports", tested_exports::check),
    ("unsafe code", unsafe_code::check),
];

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut tree = Tree::read()?;
    if args.wrap {
        println!("tidy: wrapped the comments of {} files", wrap::run(&tree)?);
        tree = Tree::read()?;
    }
    if args.exceptions {
        for exception in exceptions::list(&tree) {
            println!("{exception}");
        }
        return Ok(());
    }
    let mut count = 0;
    for (name, check) in CHECKS {
        for complaint in check(&tree) {
            println!("{complaint} [{name}]");
            count += 1;
        }
    }
    if count > 0 {
        bail!("tidy: {count} complaints");
    }
    println!("tidy: {} checks over {} files, no complaint", CHECKS.len(), tree.files.len());
    Ok(())
}
