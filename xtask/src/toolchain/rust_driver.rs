//! Drivers written in Rust: rustc makes a static library, rust-lld links it.
//!
//! Neither cargo nor rustc's own link is used. Cargo hashes the absolute path of a crate outside
//! its workspace into every symbol, and what rustc links holds its temporary folder.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{repo, setup::DRIVER_TARGET};

/// Equal functions are folded above opt-level 1, and then two routines share a name in a finding.
/// Lines and names are all that a finding needs; descriptions of types are three quarters of a PDB.
const RUSTC_FLAGS: &[&str] = &[
    "--edition=2024",
    "-Copt-level=1",
    "-Ccodegen-units=1",
    "-Cpanic=abort",
    "-Cdebuginfo=line-tables-only",
    "-Cmetadata=bugcheck",
];

const LINK_FLAGS: &[&str] = &[
    "-flavor",
    "link",
    "-nologo",
    "-machine:x64",
    "-driver",
    "-subsystem:native",
    "-entry:DriverEntry",
    "-nodefaultlib",
    "-release",
    "-opt:ref,noicf",
    "-debug",
    "-Brepro",
    "-pdbaltpath:%_PDB%",
    "-pdbsourcepath:.",
];

/// An error of the compiler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Diagnosis {
    pub(crate) line: u64,
    /// As in `E0499`; empty where the error has none.
    pub(crate) code: String,
}

impl Diagnosis {
    /// Reads one line of `--error-format=json`.
    fn parse(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        if message.get("level")?.as_str()? != "error" {
            return None;
        }
        let spans = message.get("spans")?.as_array()?;
        let is_primary = |span: &&Value| span.get("is_primary") == Some(&Value::Bool(true));
        // "aborting due to 2 previous errors" lies nowhere.
        let line = spans.iter().find(is_primary)?.get("line_start")?.as_u64()?;
        let code = message.get("code").and_then(|code| code.get("code")?.as_str());
        Some(Self { line, code: code.unwrap_or_default().to_owned() })
    }
}

/// rustc of this checkout, with the SDK built once.
#[derive(Debug)]
pub(crate) struct RustToolchain {
    out: PathBuf,
    linker: PathBuf,
    version: String,
}

impl RustToolchain {
    /// Builds the SDK.
    pub(crate) fn locate() -> Result<Self> {
        let rustc = |argument: &str, value: &str| {
            let mut rustc = Command::new("rustc");
            repo::output(rustc.current_dir(repo::root()).args([argument, value]))
        };
        let about = repo::output(Command::new("rustc").current_dir(repo::root()).arg("-vV"))?;
        let host = about.lines().find_map(|line| line.strip_prefix("host: "));
        let version = about.lines().next().unwrap_or_default().to_owned();
        let sysroot = rustc("--print", "sysroot")?;
        let programs = Path::new(sysroot.trim()).join("lib/rustlib");
        let linker = programs.join(host.context("rustc names no host")?).join("bin/rust-lld");

        let out = repo::target_dir().join("drivers/rust");
        fs::create_dir_all(&out)?;
        let out = fs::canonicalize(out)?;
        let toolchain = Self { out, linker, version };
        let mut sdk = toolchain.rustc()?;
        sdk.args(["--crate-name", "kernel_sdk", "--crate-type", "rlib"]);
        repo::output(sdk.arg("sdk/kernel_sdk/src/lib.rs"))?;
        Ok(toolchain)
    }

    /// Compiler version, as recorded beside prebuilt images.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Builds the driver whose crate lies in `folder`, a path from the root of the repository.
    pub(crate) fn build(&self, name: &str, folder: &str) -> Result<(PathBuf, PathBuf)> {
        let mut rustc = self.rustc()?;
        rustc.args(["--crate-name", name, "--crate-type", "staticlib", "-Clto=fat", "--extern"]);
        rustc.arg(format!("kernel_sdk={}", self.out.join("libkernel_sdk.rlib").display()));
        repo::output(rustc.arg(format!("{folder}/src/lib.rs")))?;
        let mut link = Command::new(&self.linker);
        // The linker's own name goes into the PDB; so would a path of its arguments.
        link.arg0("rust-lld").current_dir(&self.out).args(LINK_FLAGS);
        repo::output(link.arg(format!("{name}.lib")).arg(format!("-out:{name}.sys")))?;
        let file = |extension: &str| self.out.join(name).with_extension(extension);
        Ok((file("sys"), file("pdb")))
    }

    /// The errors of a file that is compiled against the SDK, as far as no code is generated.
    pub(crate) fn diagnose(&self, file: &str, flags: &[&str]) -> Result<BTreeSet<Diagnosis>> {
        let mut rustc = self.rustc()?;
        rustc.args(["--crate-type", "lib", "--emit", "metadata", "--error-format=json"]);
        rustc.args(flags).arg("--extern");
        rustc.arg(format!("kernel_sdk={}", self.out.join("libkernel_sdk.rlib").display()));
        let output = rustc.arg(file).output().context("cannot start rustc")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let errors: BTreeSet<_> = said.lines().filter_map(Diagnosis::parse).collect();
        if errors.is_empty() && !output.status.success() {
            bail!("{file}: rustc failed ({})\n{said}", output.status);
        }
        Ok(errors)
    }

    fn rustc(&self) -> Result<Command> {
        let root = fs::canonicalize(repo::root())?;
        let mut rustc = Command::new("rustc");
        rustc.current_dir(&root).args(RUSTC_FLAGS).args(["--target", DRIVER_TARGET]);
        rustc.arg(format!("--remap-path-prefix={}=.", root.display()));
        rustc.arg(format!("--remap-path-prefix={}=build", self.out.display()));
        rustc.arg("--out-dir").arg(&self.out);
        Ok(rustc)
    }
}
