//! Worker processes: fixed addresses, and a translator, exist once in a process.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};

/// What the workers of one kind found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) agree: u64,
    pub(crate) differ: u64,
}

/// A part of the cases, as `I/N`: cases `I`, `I + N`, ...
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let (index, of) = text.split_once('/').context("expected I/N")?;
        Ok(Self { index: index.parse()?, of: of.parse::<u64>()?.max(1) })
    }

    /// Its cases of `count` from `first` on.
    pub(crate) fn cases(self, first: u64, count: u64) -> impl Iterator<Item = u64> {
        (first + self.index..first + count).step_by(self.of as usize)
    }
}

/// What a worker prints last.
pub(crate) fn report(counts: Counts) {
    println!("{} {}", counts.agree, counts.differ);
}

/// Runs this program once per processor with a shard, and adds what the workers count. What else
/// they print is shown.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<Counts> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let program = std::env::current_exe().context("cannot find this program")?;
    let start = |worker: usize| -> anyhow::Result<Child> {
        let mut command = Command::new(&program);
        command.args(arguments).arg("--shard").arg(format!("{worker}/{workers}"));
        command.stdout(Stdio::piped()).spawn().context("cannot start a worker")
    };
    let children: Vec<Child> = (0..workers).map(start).collect::<anyhow::Result<_>>()?;
    let mut sum = Counts::default();
    for child in children {
        let output = child.wait_with_output().context("a worker was lost")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (shown, summary) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        if !shown.is_empty() {
            println!("{shown}");
        }
        let counts = counts_in(summary).filter(|_| output.status.success());
        let Some(Counts { agree, differ }) = counts else {
            std::io::stdout().flush()?;
            bail!("a worker ended with {}: {summary}", output.status);
        };
        sum.agree += agree;
        sum.differ += differ;
    }
    Ok(sum)
}

fn counts_in(line: &str) -> Option<Counts> {
    let (agree, differ) = line.split_once(' ')?;
    Some(Counts { agree: agree.parse().ok()?, differ: differ.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::{Counts, Shard, counts_in};

    #[test]
    fn every_case_is_in_one_shard() {
        let mut all: Vec<u64> =
            (0..3).flat_map(|n| Shard { index: n, of: 3 }.cases(5, 10)).collect();
        all.sort_unstable();
        assert_eq!(all, (5..15).collect::<Vec<_>>());
        assert!(Shard::parse("2").is_err());
        assert_eq!(counts_in("3 1"), Some(Counts { agree: 3, differ: 1 }));
        assert_eq!(counts_in("panicked"), None);
    }
}
