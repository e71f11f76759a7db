//! What parent and worker tell each other: the job, messages, and the order to stop.

use std::io::{self, BufRead, Read, Write};

use bugcheck::{Cut, Driver, FriendlyRun, Report};
use serde::{Deserialize, Serialize};

/// A line from the worker is at most so long. A finding has a few KiB in a report, and each rule
/// is reported once per place.
const MOST_LINE_BYTES: u64 = 64 << 20;

/// What the worker is to do, besides what its command line says. It reads no file itself.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) driver: Driver,
    /// The text of the replay file, if the token is one.
    pub(crate) replay: Option<String>,
}

/// The first line of a job. The bytes follow it.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    path: String,
    name: String,
    /// Why the driver could not be read.
    error: Option<String>,
    length_bytes: u64,
    pdb_bytes: Option<u64>,
    replay: Option<String>,
}

/// A line from the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// It holds the job and nothing else any more. What came before is not from it.
    Ready,
    /// The run that comes next, as a token.
    Run(String),
    /// How far it is.
    Progress(Step),
    /// What came of it.
    Report(Box<Report>),
    /// What came of a friendly run.
    Friendly(FriendlyRun),
    /// One sentence about a request that makes no sense here.
    Refused(String),
    /// A bug of ours, outside of any run.
    Panicked(String),
}

/// [`bugcheck::Progress`] on its way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) done: u32,
    pub(crate) planned: u32,
    pub(crate) strategy: String,
    pub(crate) about: String,
    pub(crate) findings: usize,
    pub(crate) codes: (usize, usize),
    pub(crate) events: u64,
}

impl Job {
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let Self { driver: Driver { path, name, bytes, pdb }, replay } = self;
        let length = |bytes: &Vec<u8>| bytes.len() as u64;
        let header = Header {
            path: path.clone(),
            name: name.clone(),
            error: bytes.as_ref().err().cloned(),
            length_bytes: bytes.as_ref().map_or(0, length),
            pdb_bytes: pdb.as_ref().map(length),
            replay: replay.clone(),
        };
        writeln!(to, "{}", serde_json::to_string(&header)?)?;
        to.write_all(bytes.as_deref().unwrap_or_default())?;
        to.write_all(pdb.as_deref().unwrap_or_default())?;
        to.flush()
    }

    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Header { path, name, error, length_bytes, pdb_bytes, replay } =
            serde_json::from_str(&line)?;
        let mut part = |length_bytes: u64| {
            let mut bytes = Vec::new();
            let count = from.by_ref().take(length_bytes).read_to_end(&mut bytes)?;
            let is_whole = count as u64 == length_bytes;
            is_whole.then_some(bytes).ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        let bytes = part(length_bytes)?;
        let pdb = pdb_bytes.map(part).transpose()?;
        let driver = Driver { path, name, bytes: error.map_or(Ok(bytes), Err), pdb };
        Ok(Self { driver, replay })
    }
}

/// The next line from the worker. `None` behind the last one, and where no line of a worker is: one
/// that has no end, or is no text.
pub(crate) fn next_line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    from.take(MOST_LINE_BYTES).read_line(&mut line).ok()?;
    line.ends_with('\n').then_some(line)
}

impl Message {
    /// Writes a line. Nobody is left to tell if that is not possible: the parent has gone.
    pub(crate) fn send(&self, to: &mut impl Write) {
        let Ok(mut line) = serde_json::to_string(self) else { return };
        line.push('\n');
        let _ = to.write_all(line.as_bytes());
        let _ = to.flush();
    }
}

/// The byte that orders the worker to stop.
pub(crate) fn byte_of(cut: Cut) -> u8 {
    match cut {
        Cut::Time => b't',
        Cut::Interrupt => b'i',
    }
}

/// What a byte orders.
pub(crate) fn cut_of(byte: u8) -> Option<Cut> {
    [Cut::Time, Cut::Interrupt].into_iter().find(|cut| byte_of(*cut) == byte)
}

#[cfg(test)]
mod tests {
    use bugcheck::{Cut, Driver};

    use super::{Job, MOST_LINE_BYTES, byte_of, cut_of, next_line};

    #[test]
    fn a_job_arrives_as_it_was_sent() {
        let whole = Driver::from_bytes("a.sys", b"MZ\n\0".to_vec()).with_pdb(vec![10, 13]);
        let missing = Driver { bytes: Err("it is gone".to_owned()), pdb: None, ..whole.clone() };
        for driver in [whole, missing] {
            let job = Job { driver, replay: Some("a\nb".to_owned()) };
            let mut bytes = Vec::new();
            job.write(&mut bytes).unwrap();
            bytes.push(byte_of(Cut::Time));
            let mut rest = bytes.as_slice();
            let read = Job::read(&mut rest).unwrap();
            assert_eq!(format!("{read:?}"), format!("{job:?}"));
            assert_eq!(rest, [b't'], "what follows is left");
            let half = bytes.len() / 2;
            assert!(Job::read(&mut bytes.get(..half).unwrap()).is_err());
        }
    }

    #[test]
    fn a_line_without_end_is_the_end() {
        let mut lines = b"a\n\nb".as_slice();
        assert_eq!(next_line(&mut lines), Some("a\n".to_owned()));
        assert_eq!(next_line(&mut lines), Some("\n".to_owned()));
        assert_eq!(next_line(&mut lines), None, "half of one");
        assert_eq!(next_line(&mut b"a\xff\n".as_slice()), None, "no text");
        let endless = std::io::repeat(b'x');
        let mut endless = std::io::BufReader::new(std::io::Read::take(endless, 1 << 40));
        assert_eq!(next_line(&mut endless), None);
        let left = endless.into_inner().limit();
        assert!(left > (1 << 40) - MOST_LINE_BYTES - (1 << 20), "{left}");
    }

    #[test]
    fn orders_are_told_apart() {
        for cut in [Cut::Time, Cut::Interrupt] {
            assert_eq!(cut_of(byte_of(cut)), Some(cut));
        }
        assert_eq!(cut_of(b'x'), None);
    }
}
