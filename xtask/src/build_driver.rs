//! `cargo xtask build-driver`: one C or C++ driver, for trying things out.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::toolchain::{CToolchain, Source};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The source file; `//@cflags:` and `//@compiler: mingw` in its head are honoured.
    file: PathBuf,
    /// Where the image goes; the `.pdb` goes beside it. Default: beside nothing, only printed.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::read(&args.file)?;
    let image = CToolchain::locate()?.build(&source)?;
    if !image.warnings.is_empty() {
        println!("{}", image.warnings.trim_end());
    }
    let Some(out) = &args.out else {
        println!("{}", image.sys.display());
        return Ok(());
    };
    let copy = |from: &PathBuf, to: &PathBuf| {
        fs::copy(from, to).with_context(|| format!("cannot write {}", to.display())).map(drop)
    };
    copy(&image.sys, out)?;
    if let Some(pdb) = &image.pdb {
        // Debuggers look for the name in the image, people for that of the image.
        let name = pdb.file_name().expect("a file of the cache has a name");
        copy(pdb, &out.with_file_name(name))?;
        copy(pdb, &out.with_extension("pdb"))?;
    }
    println!("{}", out.display());
    Ok(())
}
