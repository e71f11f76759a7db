//! `cargo xtask samples`: the prebuilt drivers under `samples/`, and proof that they are up to
//! date.
//!
//! `samples/` holds the tour, `samples/demo/` drivers with one bug each. A manifest records from
//! what each was built, so that a machine without the cross compilers still notices a stale one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    content_hash::ContentHash,
    repo, setup,
    toolchain::{CToolchain, RustToolchain, Source},
    verdicts,
};

const TOUR: [&str; 9] = [
    "sample",
    "priority_booster",
    "priority_booster_guarded",
    "zero",
    "timer",
    "locks",
    "settings",
    "workers",
    "interrupt",
];
const MANIFEST: &str = "samples/manifest.json";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Writes nothing: compares with what is there, and checks what bugcheck says about it.
    #[arg(long)]
    check: bool,
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.check {
        return write();
    }
    let compared = compare()?;
    println!("samples: {} rebuilt, byte for byte equal", compared.equal);
    for skipped in compared.skipped {
        println!("samples not compared: {skipped}");
    }
    println!("verdicts on the samples: {} right", verdicts::check()?);
    Ok(())
}

/// What the comparison found.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) equal: usize,
    /// One sentence per group of samples that could not be rebuilt here.
    pub(crate) skipped: Vec<String>,
}

/// Rebuilds everything and writes it to `samples/`.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn write() -> Result<()> {
    let rust = RustToolchain::locate()?;
    let c = CToolchain::locate()?;
    let mut sources = BTreeMap::new();
    for sample in all()? {
        let (sys, pdb) = sample.build(&rust, &c)?;
        let target = repo::root().join("samples").join(&sample.file);
        fs::create_dir_all(target.parent().context("a sample lies in a folder")?)?;
        copy(&sys, &target.with_extension("sys"))?;
        copy(&pdb, &target.with_extension("pdb"))?;
        println!("samples/{}.sys", sample.file);
        sources.insert(sample.file.clone(), Value::from(sample.source_hash()?));
    }
    let manifest = json!({ "c": c.version(), "rust": rust.version(), "sources": sources });
    let text = serde_json::to_string_pretty(&manifest)? + "\n";
    fs::write(repo::root().join(MANIFEST), text)?;
    Ok(())
}

/// Checks the recorded sources, then rebuilds what the recorded compilers built and compares.
pub(crate) fn compare() -> Result<Compared> {
    let text = fs::read_to_string(repo::root().join(MANIFEST))
        .with_context(|| format!("{MANIFEST} is missing; run `cargo xtask samples`"))?;
    let manifest: Value = serde_json::from_str(&text).with_context(|| MANIFEST.to_owned())?;
    let recorded = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();

    let mut compared = Compared::default();
    let rust = if setup::has_driver_target() { Some(RustToolchain::locate()?) } else { None };
    let rust = rust.filter(|rust| rust.version() == recorded("rust"));
    if rust.is_none() {
        compared.skipped.push(format!("Rust samples: they need {}", recorded("rust")));
    }
    let c = if setup::missing_packages().is_empty() { Some(CToolchain::locate()?) } else { None };
    let c = c.filter(|c| c.version() == recorded("c"));
    if c.is_none() {
        compared.skipped.push(format!("C samples: they need {}", recorded("c")));
    }
    for sample in all()? {
        let known = manifest.get("sources").and_then(|sources| sources.get(&sample.file)?.as_str());
        if known != Some(sample.source_hash()?.as_str()) {
            bail!(
                "samples/{}.sys is older than its sources; run `cargo xtask samples`",
                sample.file
            );
        }
        let built = match (&sample.origin, &rust, &c) {
            (Origin::Rust, Some(rust), _) => sample.build_rust(rust)?,
            (Origin::C, _, Some(c)) => sample.build_c(c)?,
            _ => continue,
        };
        let stored = repo::root().join("samples").join(&sample.file);
        same(&built.0, &stored.with_extension("sys"))?;
        same(&built.1, &stored.with_extension("pdb"))?;
        compared.equal += 1;
    }
    Ok(compared)
}

#[derive(Debug)]
enum Origin {
    Rust,
    C,
}

#[derive(Debug)]
struct Sample {
    /// Below `samples/`, without extension.
    file: String,
    origin: Origin,
    /// Folder of the crate, or the C file; from the root of the repository.
    source: String,
}

impl Sample {
    fn build(&self, rust: &RustToolchain, c: &CToolchain) -> Result<(PathBuf, PathBuf)> {
        match self.origin {
            Origin::Rust => self.build_rust(rust),
            Origin::C => self.build_c(c),
        }
    }

    fn build_rust(&self, rust: &RustToolchain) -> Result<(PathBuf, PathBuf)> {
        rust.build(&self.file, &self.source)
    }

    fn build_c(&self, c: &CToolchain) -> Result<(PathBuf, PathBuf)> {
        let image = c.build(&Source::read(&repo::root().join(&self.source))?)?;
        if !image.warnings.trim().is_empty() {
            bail!("{}: a sample compiles without warnings\n{}", self.source, image.warnings);
        }
        Ok((image.sys, image.pdb.context("clang writes a PDB")?))
    }

    /// Hash of the sources, with line ends as in the repository.
    fn source_hash(&self) -> Result<String> {
        let roots: &[&str] = match self.origin {
            Origin::Rust => &["sdk/kernel_sdk/src", &self.source],
            Origin::C => &["drivers/demo/demo.h", "tests/ui/include", "xtask/data", &self.source],
        };
        let mut hash = ContentHash::new();
        for root in roots {
            for file in repo::files_below(&repo::root().join(root))? {
                let relative = file.strip_prefix(repo::root())?;
                hash = hash.part(relative.as_os_str().as_encoded_bytes()).part(fs::read(&file)?);
            }
        }
        Ok(hash.to_string())
    }
}

fn all() -> Result<Vec<Sample>> {
    let tour = TOUR.iter().map(|name| Sample {
        file: (*name).to_owned(),
        origin: Origin::Rust,
        source: format!("drivers/tour/{name}"),
    });
    let mut samples: Vec<_> = tour.collect();
    for file in repo::files_below(&repo::root().join("drivers/demo"))? {
        if file.extension().is_some_and(|extension| extension == "c") {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            samples.push(Sample {
                file: format!("demo/{stem}"),
                origin: Origin::C,
                source: format!("drivers/demo/{stem}.c"),
            });
        }
    }
    Ok(samples)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // Not `fs::copy`: a sample carries no executable bit.
    fs::write(to, fs::read(from)?).with_context(|| format!("cannot write {}", to.display()))
}

fn same(built: &Path, stored: &Path) -> Result<()> {
    let shown = stored.strip_prefix(repo::root()).unwrap_or(stored).display();
    let bytes = fs::read(stored).with_context(|| format!("cannot read {shown}"))?;
    if fs::read(built)? != bytes {
        bail!("{shown} is not what its sources give; run `cargo xtask samples`");
    }
    Ok(())
}
