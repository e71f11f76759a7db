//! The same kernels under tools that watch or translate whole programs, where they are installed:
//! Valgrind's Memcheck, which checks as much, and QEMU user mode, which checks nothing.
//!
//! A small program of the host maps the image, runs the kernel and takes the time itself, so that
//! starting the tool does not count.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use pe_image::Image;

use super::{SAMPLES, place};
use crate::repo;

/// Where the program maps the image: addresses that neither tool uses.
const BASE: u64 = 0x1_0000_0000;

/// Runs that are timed together.
const REPEATS: u32 = 4;

/// A tool and how it runs a program.
pub(super) struct Tool {
    pub(super) name: &'static str,
    command: &'static str,
    arguments: &'static [&'static str],
}

pub(super) const TOOLS: [Tool; 2] = [
    Tool { name: "memcheck", command: "valgrind", arguments: &["-q", "--tool=memcheck"] },
    Tool { name: "qemu-user", command: "qemu-x86_64", arguments: &[] },
];

impl Tool {
    fn is_installed(&self) -> bool {
        repo::find_program(self.command).is_some()
    }
}

/// The program of the host, compiled.
pub(super) struct Host(PathBuf);

impl Host {
    pub(super) fn build() -> Result<Self> {
        let folder = repo::target_dir().join("bench");
        fs::create_dir_all(&folder)?;
        let program = folder.join("host");
        let mut clang = Command::new("clang-19");
        clang.current_dir(repo::root()).args(["-O2", "-Wall", "-Wextra", "-Werror"]);
        clang.arg("tests/bench/host.c").arg("-o").arg(&program);
        repo::output(&mut clang)?;
        Ok(Self(program))
    }

    /// The kernel with this image, as the program wants it.
    pub(super) fn prepare(&self, name: &str, image: &Image) -> Result<Flat> {
        let (_, bytes) = place(image, BASE)?;
        let file = repo::target_dir().join("bench").join(format!("{name}.flat"));
        fs::write(&file, bytes)?;
        Ok(Flat { file, entry: image.entry_point_rva().context("no entry point")? })
    }

    /// The shortest run of a kernel under a tool, with its result; `None` where there is no such
    /// tool.
    pub(super) fn run(&self, tool: &Tool, flat: &Flat) -> Result<Option<(Duration, u64)>> {
        if !tool.is_installed() {
            return Ok(None);
        }
        let mut command = Command::new(tool.command);
        command.args(tool.arguments).arg(&self.0).arg(&flat.file);
        command.args([BASE.to_string(), flat.entry.to_string()]);
        command.args([SAMPLES.to_string(), REPEATS.to_string()]);
        let output = command.output().with_context(|| format!("cannot run {}", tool.command))?;
        ensure!(output.status.success(), "{}: {}", tool.name, output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(nanos)), Some(Ok(result))) = (numbers.next(), numbers.next()) else {
            anyhow::bail!("{}: `{}` is no answer", tool.name, text.trim());
        };
        Ok(Some((Duration::from_nanos(nanos), result)))
    }
}

/// An image placed for the program.
pub(super) struct Flat {
    file: PathBuf,
    entry: u32,
}
