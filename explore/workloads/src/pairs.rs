//! Two requests at once: the same twice, and every kind beside every other, on two open files.

use system::{CallMode, Command, FileRef};

use crate::{
    Request, Script, learned,
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

/// The kinds of request of a device, those that its driver was seen to serve first.
pub(crate) fn kinds<'a>(target: &'a Target<'_>) -> Vec<Kind<'a>> {
    let codes = target.codes().into_iter().map(Request::Control);
    let mut requests: Vec<Request> =
        [Request::Read, Request::Write].into_iter().chain(codes).collect();
    let answer = |request: &Request| target.known(*request).map(|known| known.answer);
    requests.sort_by_key(|request| answer(request).unwrap_or_default());
    let kind = |request: Request| -> Kind<'a> {
        let form = learned::likeliest(target, request);
        let make = move |file| learned::command(target, request, &form, file);
        (learned::in_words(request), Box::new(make))
    };
    requests.into_iter().map(kind).collect()
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
