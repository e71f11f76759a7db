//! `cargo xtask setup`: installs what the test drivers need, through the ordinary package clients.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repo;

/// The target of drivers written in Rust.
pub(crate) const DRIVER_TARGET: &str = "x86_64-pc-windows-msvc";

/// A host without a translator, for which the program must build too.
pub(crate) const OTHER_HOST: &str = "aarch64-unknown-linux-gnu";

/// A program and the Debian package that holds it.
const PROGRAMS: [(&str, &str); 4] = [
    ("clang-19", "clang-19"),
    ("lld-link-19", "lld-19"),
    ("llvm-dlltool-19", "llvm-19"),
    ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64"),
];

/// Installs every missing piece and says what it does.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run() -> Result<()> {
    let packages = missing_packages();
    if packages.is_empty() {
        println!("setup: the C toolchain is complete");
    } else {
        install_packages(&packages)?;
    }
    if has_driver_target() {
        println!("setup: the Rust target {DRIVER_TARGET} is there");
    } else if let Err(error) = install_driver_target() {
        // Only the comparison of `samples/` needs it, and that comparison says when it is skipped.
        println!("setup: {error:#}");
    }
    if has_target(OTHER_HOST) {
        println!("setup: the Rust target {OTHER_HOST} is there");
    } else if let Err(error) = install_other_host() {
        // Only `check` needs it, and says when it does without.
        println!("setup: {error:#}");
    }
    Ok(())
}

/// Debian packages whose programs are not in `PATH`.
pub(crate) fn missing_packages() -> Vec<&'static str> {
    let absent = PROGRAMS.iter().filter(|(program, _)| repo::find_program(program).is_none());
    absent.map(|(_, package)| *package).collect()
}

/// Whether drivers written in Rust can be built here.
pub(crate) fn has_driver_target() -> bool {
    has_target(DRIVER_TARGET)
}

/// Whether the library of a target is installed.
pub(crate) fn has_target(target: &str) -> bool {
    repo::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(repo::root()))
        .is_ok_and(|sysroot| {
            let library = format!("{}/lib/rustlib/{target}/lib", sysroot.trim());
            std::path::Path::new(&library).is_dir()
        })
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn install_packages(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if repo::find_program("apt-get").is_none() {
        bail!(
            "this setup knows Debian's package client only; \
             install clang, lld and llvm 19 and mingw-w64 gcc yourself (Debian: `{by_hand}`)"
        );
    }
    let is_root = repo::output(Command::new("id").arg("-u"))?.trim() == "0";
    if !is_root && repo::find_program("sudo").is_none() {
        bail!("neither root nor `sudo`: run `{by_hand}` as root");
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(if is_root { "env" } else { "sudo" });
        if !is_root {
            command.arg("env");
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]).args(arguments);
        repo::run(&mut command)
    };
    println!("setup: installing {} with apt-get", packages.join(" "));
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend_from_slice(packages);
    if apt(&install).is_err() {
        println!("setup: refreshing the package lists and trying again");
        apt(&["update"])?;
        apt(&install)
            .with_context(|| format!("cannot install the C toolchain; try `{by_hand}`"))?;
    }
    let left = missing_packages();
    if !left.is_empty() {
        bail!("installed, but their programs are still not in PATH: {}", left.join(" "));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn install_driver_target() -> Result<()> {
    println!("setup: adding the Rust target {DRIVER_TARGET} with rustup");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", DRIVER_TARGET]).current_dir(repo::root());
    repo::run(&mut rustup).with_context(|| {
        format!(
            "no Rust target {DRIVER_TARGET}, so the Rust samples are not rebuilt; where rustup's \
             server is out of reach, Debian's rustc-web, cargo-web and rust-web-src build them \
             with RUSTC_BOOTSTRAP=1 and -Zbuild-std=core,compiler_builtins"
        )
    })
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn install_other_host() -> Result<()> {
    println!("setup: adding the Rust target {OTHER_HOST} with rustup");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", OTHER_HOST]).current_dir(repo::root());
    repo::run(&mut rustup).with_context(|| {
        format!("no Rust target {OTHER_HOST}: that the program builds there is not checked")
    })
}
