//! Checks the recorded vectors: in the interpreter on every host, on the host CPU where that is
//! possible.

use std::path::Path;

use anyhow::Context;
use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory};

use super::allow;
use super::case::{CODE, CODE_BYTES, Ending, Outcome, is_harmless};
use super::compare::{Ignore, differences};
use super::guest::{Guest, Mode};
use super::host::Host;
use super::line::{self, Line};

/// Counts of lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Lines as expected in the interpreter, in both of its modes.
    pub passed: u64,
    /// Lines that are not.
    pub failed: u64,
    /// Of the passed ones, those that the host CPU confirmed.
    pub confirmed: u64,
}

/// Checks every vector of a folder.
pub(crate) fn check(folder: &Path) -> anyhow::Result<Counts> {
    let mut checker = Checker {
        guest: Guest::new()?,
        host: if Host::IS_PRESENT { Some(Host::new()?) } else { None },
        info: InstructionInfoFactory::new(),
        counts: Counts::default(),
    };
    for (place, line) in all(folder)? {
        checker.line(&place, &line)?;
    }
    Ok(checker.counts)
}

/// Every vector of a folder with its place, by file and line.
pub(crate) fn all(folder: &Path) -> anyhow::Result<Vec<(String, Line)>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "ins"))
        .collect();
    files.sort();
    let mut lines = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        for (number, text) in text.lines().enumerate() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let place = format!("{}:{}", path.display(), number + 1);
            let line = line::parse(text).with_context(|| place.clone())?;
            lines.push((place, line));
        }
    }
    Ok(lines)
}

struct Checker {
    guest: Guest,
    host: Option<Host>,
    info: InstructionInfoFactory,
    counts: Counts,
}

impl Checker {
    fn line(&mut self, place: &str, line: &Line) -> anyhow::Result<()> {
        let mut found = Vec::new();
        let disassembled = line::disassemble(&line.case);
        if disassembled != line.text {
            found.push(format!("text: the bytes are `{disassembled}`"));
        }
        let ignore = ignore_of(line);
        let mut outcome = None;
        for (mode, name) in [(Mode::Step, "interpreter"), (Mode::Careful, "interpreter, careful")] {
            let guest = self.guest.run(&line.case, mode)?;
            compare(&mut found, name, line, &guest, &ignore);
            outcome = Some(guest);
        }
        let is_native = outcome.is_some_and(|guest| self.may_run_natively(line, &guest));
        if let (true, Some(host)) = (is_native, &mut self.host) {
            let host = host.run(&line.case);
            compare(&mut found, "host CPU", line, &host, &ignore);
        }
        if found.is_empty() {
            self.counts.passed += 1;
            self.counts.confirmed += u64::from(is_native);
            return Ok(());
        }
        self.counts.failed += 1;
        println!("{place}: {}", line.text);
        for difference in found {
            println!("  {difference}");
        }
        Ok(())
    }

    fn may_run_natively(&mut self, line: &Line, guest: &Outcome) -> bool {
        let rip = guest.after.rip;
        let lands = (CODE..CODE + CODE_BYTES).contains(&rip) || is_harmless(rip, 16);
        let case = &line.case;
        let fits = case.address >= CODE && case.end() + 0x100 < CODE + CODE_BYTES;
        let mut decoder = Decoder::with_ip(64, &case.code, case.address, DecoderOptions::NONE);
        let mut count = 0;
        while decoder.can_decode() {
            let instruction = decoder.decode();
            // The registers of later instructions are not known here.
            let is_checked =
                count > 0 || allow::is_harmless_here(&mut self.info, &case.before, &instruction);
            if !allow::is_allowed(&instruction) || !is_checked {
                return false;
            }
            count += 1;
        }
        count == 1 && fits && lands && !matches!(guest.ending, Ending::Other(_))
    }
}

/// What need not be as expected.
pub(crate) fn ignore_of(line: &Line) -> Ignore {
    let mut decoder =
        Decoder::with_ip(64, &line.case.code, line.case.address, DecoderOptions::NONE);
    let first = decoder.decode();
    if decoder.can_decode() {
        return Ignore::default();
    }
    Ignore::after(&first, &line.case, &line.expected)
}

fn compare(found: &mut Vec<String>, name: &str, line: &Line, outcome: &Outcome, ignore: &Ignore) {
    for difference in differences(&line.expected, outcome, ignore) {
        found.push(format!("{name}: {}", difference.replace("host", "expected")));
    }
}
