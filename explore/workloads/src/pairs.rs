//! Two requests at once: the same twice, and every kind beside every other, on two open files.

use system::{CallMode, Command, FileRef};

use crate::{
    Script,
    content::Filling,
    lengths,
    plan::{Target, script},
};

/// Pairs per device; beyond that, kinds are tried only beside themselves.
const MOST_PAIRS: usize = 24;
/// One second.
const SECOND_100NS: u64 = 10_000_000;

const FILES: [FileRef; 2] = [FileRef(1), FileRef(2)];

/// What a request is, for people, and how it is made on a file.
pub(crate) type Kind<'a> = (String, Box<dyn Fn(FileRef) -> Command + 'a>);

/// The scripts with two requests at once.
pub(crate) fn of_device(target: &Target<'_>) -> Vec<Script> {
    let kinds = kinds(target);
    let same = (0..kinds.len()).map(|index| (index, index));
    let different = (0..kinds.len()).flat_map(|a| (a + 1..kinds.len()).map(move |b| (a, b)));
    let most = MOST_PAIRS.max(kinds.len());
    let pairs = same.chain(different).take(most);
    pairs.filter_map(|(a, b)| Some(pair(target, kinds.get(a)?, kinds.get(b)?))).collect()
}

pub(crate) fn kinds<'a>(target: &'a Target<'_>) -> Vec<Kind<'a>> {
    let typical = lengths::of_transfers(target.facts).first().copied().unwrap_or(8);
    let mut kinds: Vec<Kind<'a>> = vec![
        (
            "read".to_owned(),
            Box::new(move |file| Command::Read {
                file,
                buffer: target.zeros(typical),
                offset_bytes: 0,
            }),
        ),
        (
            "write".to_owned(),
            Box::new(move |file| Command::Write {
                file,
                buffer: target.user(typical, Filling::SmallNumbers),
                offset_bytes: 0,
            }),
        ),
    ];
    // A driver that looks at no code serves every one.
    let any = [target.any_code()];
    let codes = if target.facts.codes.is_empty() { &any[..] } else { &target.facts.codes };
    for &code in codes {
        let typical = lengths::of_code(target.facts, code).first().copied().unwrap_or(8);
        let request = move |file| Command::DeviceControl {
            file,
            code,
            input: target.user(typical, Filling::SmallNumbers),
            output: target.zeros(typical),
        };
        kinds.push((format!("control code {code:#010x}"), Box::new(request)));
    }
    kinds
}

fn pair(target: &Target<'_>, a: &Kind<'_>, b: &Kind<'_>) -> Script {
    let [first, second] = FILES;
    let about = format!("{} together with {} of {}", a.0, b.0, target.path);
    let commands = vec![
        target.open(first, CallMode::Synchronous),
        target.open(second, CallMode::Synchronous),
        Command::Together(vec![a.1(first), b.1(second)]),
        Command::Idle { time_100ns: SECOND_100NS },
        Command::Close { file: first },
        Command::Close { file: second },
    ];
    script(about, commands)
}
