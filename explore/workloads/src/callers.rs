//! Several callers that live at once, each a family of its own.
//!
//! Every script is legal for any users who may open the device; docs/moves.md lists the families
//! with their tests. Only a few of each are made by default, the rest with the deep budget.

use system::{CallMode, Command, FileRef};

use crate::{
    Extent, Script,
    pairs::{self, Kind},
    plan::{Target, script},
};

/// The same request by three or four callers at once. Source: "Introduction to Spin Locks": any
/// number of threads may be in a dispatch routine at a time.
const MANY_CALLERS: &str = "many_callers";
/// Callers that open, make requests and close at once. Source: "DispatchCreate, DispatchClose, and
/// DispatchCreateClose Routines": opens and closes come from any process at any time.
const WHOLE_LIVES: &str = "whole_lives";
/// Two requests at once after others, which leave something behind. Source: as for
/// [`MANY_CALLERS`].
const PREPARED_PAIR: &str = "prepared_pair";
/// A pending request is cancelled beside another request, or twice at once. Source: "Canceling
/// IRPs": an IRP may be cancelled at any time; "Synchronizing IRP Cancellation".
const CANCEL_BESIDE: &str = "cancel_beside";
/// The same request again and again on one file, more often than small tables have room. Source:
/// "DispatchRead, DispatchWrite, and DispatchReadWrite Routines": nothing bounds how many requests
/// a caller makes.
const MANY_REQUESTS: &str = "many_requests";
/// A name that the image holds and that no device has yet is opened after a request, or beside it.
/// Source: "Creating a Device Object": once `DO_DEVICE_INITIALIZING` is clear, a device may be
/// opened.
const LATER_NAME: &str = "later_name";

/// All of them.
pub(crate) const ALL: &[&str] =
    &[MANY_CALLERS, WHOLE_LIVES, PREPARED_PAIR, CANCEL_BESIDE, LATER_NAME, MANY_REQUESTS];

/// One second.
const SECOND_100NS: u64 = 10_000_000;
/// Kinds of request per device that are tried by default, and at all.
const KINDS: (usize, usize) = (4, 8);
/// Scripts with a preparation per device, by default and deep.
const PREPARED: (usize, usize) = (16, 60);
/// Scripts with a cancel beside another request, by default and deep.
const CANCELS: (usize, usize) = (20, 60);
/// Requests that one caller makes one after the other.
const MANY: usize = 20;
/// Names of later devices.
const LATER_NAMES: usize = 2;

const FILES: [FileRef; 4] = [FileRef(1), FileRef(2), FileRef(3), FileRef(4)];
/// Files of requests that come before others.
const EARLIER: [FileRef; 2] = [FileRef(5), FileRef(6)];

/// The scripts for a device: those of each check, or those that only the deep budget adds.
pub(crate) fn of_device(target: &Target<'_>, extent: Extent) -> Vec<Script> {
    let kinds = pairs::kinds(target);
    let callers = Callers { target, kinds: kinds.get(..KINDS.1).unwrap_or(&kinds), extent };
    let mut list = Vec::new();
    let mut add = |family, scripts: Vec<Script>| {
        list.extend(scripts.into_iter().map(|script| Script { family, ..script }));
    };
    add(MANY_CALLERS, callers.many());
    add(WHOLE_LIVES, callers.lives());
    add(PREPARED_PAIR, callers.prepared());
    if target.facts.can_cancel {
        add(CANCEL_BESIDE, callers.cancels());
    }
    add(LATER_NAME, callers.later_names());
    add(MANY_REQUESTS, callers.many_requests());
    list
}

struct Callers<'a> {
    target: &'a Target<'a>,
    kinds: &'a [Kind<'a>],
    extent: Extent,
}

fn idle() -> Command {
    Command::Idle { time_100ns: SECOND_100NS }
}

fn cancel(file: FileRef) -> Command {
    Command::Cancel { file }
}

fn close(file: FileRef) -> Command {
    Command::Close { file }
}

impl Callers<'_> {
    fn is_deep(&self) -> bool {
        self.extent == Extent::Deep
    }

    /// Those of a list that belong to this extent.
    fn part<T>(&self, list: Vec<T>, (usual, all): (usize, usize)) -> Vec<T> {
        match self.extent {
            Extent::Usual => list.into_iter().take(usual).collect(),
            Extent::Deep => list.into_iter().take(all).skip(usual).collect(),
        }
    }

    fn open(&self, file: FileRef) -> Command {
        self.target.open(file, CallMode::Overlapped)
    }

    fn script(&self, about: &str, commands: Vec<Command>) -> Script {
        script(format!("{about} of {}", self.target.path), commands)
    }

    fn many(&self) -> Vec<Script> {
        let together = |count: usize, (name, request): &Kind<'_>| {
            let files = FILES.get(..count).unwrap_or(&FILES);
            let mut commands: Vec<Command> =
                files.iter().map(|&file| self.target.open(file, CallMode::Synchronous)).collect();
            commands.push(Command::Together(files.iter().map(|&file| request(file)).collect()));
            commands.push(idle());
            commands.extend(files.iter().map(|&file| close(file)));
            self.script(&format!("{count} times {name} at once"), commands)
        };
        let three = self.part(self.kinds.iter().collect(), KINDS);
        let mut list: Vec<Script> = three.into_iter().map(|kind| together(3, kind)).collect();
        if self.is_deep() {
            list.extend(self.kinds.iter().map(|kind| together(4, kind)));
        }
        list
    }

    fn many_requests(&self) -> Vec<Script> {
        let [file, ..] = FILES;
        let many = |(name, request): &Kind<'_>| {
            // One that waits keeps the others of a synchronous file from the driver.
            let mut commands = vec![self.target.open(file, CallMode::Synchronous)];
            commands.extend((0..MANY).map(|_| request(file)));
            commands.extend([idle(), close(file)]);
            self.script(&format!("{MANY} times {name}"), commands)
        };
        self.part(self.kinds.iter().collect(), KINDS).into_iter().map(many).collect()
    }

    /// What a caller does from its open to its close.
    fn life(&self, file: FileRef, kinds: &[&Kind<'_>]) -> Command {
        let mut commands = vec![self.open(file)];
        commands.extend(kinds.iter().map(|(_, request)| request(file)));
        if kinds.len() > 1 {
            commands.push(cancel(file));
        }
        commands.push(close(file));
        Command::Sequence(commands)
    }

    fn lives(&self) -> Vec<Script> {
        let together = |about: String, count: usize, kinds: &[&Kind<'_>]| {
            let files = FILES.iter().take(count);
            let lives = files.map(|&file| self.life(file, kinds)).collect();
            self.script(&about, vec![Command::Together(lives)])
        };
        let every: Vec<&Kind<'_>> = self.kinds.iter().collect();
        let mut list = Vec::new();
        if self.is_deep() {
            list.push(together("3 callers with every request".to_owned(), 3, &every));
            for kind in &every {
                list.push(together(format!("3 callers with {}", kind.0), 3, &[kind]));
            }
        } else {
            list.push(together("2 callers with every request".to_owned(), 2, &every));
            list.push(together("3 opens and closes".to_owned(), 3, &[]));
        }
        for kind in self.part(every, KINDS) {
            list.push(together(format!("2 callers with {}", kind.0), 2, &[kind]));
        }
        list
    }

    /// Every kind with the one that stands so many places behind it.
    fn neighbours(&self, distance: usize) -> impl Iterator<Item = (&Kind<'_>, &Kind<'_>)> {
        self.kinds.iter().zip(self.kinds.iter().cycle().skip(distance))
    }

    /// Every two kinds: the same twice first, then those that stand near each other.
    fn pairs(&self) -> Vec<(&Kind<'_>, &Kind<'_>)> {
        let count = self.kinds.len();
        let distances = 0..=count / 2;
        let pairs = distances.flat_map(|distance| {
            // Half of the way round, each pair comes twice.
            let is_half = distance > 0 && 2 * distance == count;
            self.neighbours(distance).take(if is_half { distance } else { count })
        });
        pairs.collect()
    }

    fn prepared(&self) -> Vec<Script> {
        let after = |about: String, before: Vec<Command>, (a, b): (&Kind<'_>, &Kind<'_>)| {
            let [one, other, ..] = FILES;
            let [earlier, _] = EARLIER;
            let files = [earlier, one, other];
            let mut commands: Vec<Command> = files.iter().map(|&file| self.open(file)).collect();
            commands.extend(before);
            commands.push(Command::Together(vec![a.1(one), b.1(other)]));
            commands.push(idle());
            commands.extend(files.iter().map(|&file| cancel(file)));
            commands.extend(files.iter().map(|&file| close(file)));
            self.script(&format!("{} together with {} after {about}", a.0, b.0), commands)
        };
        let [earlier, _] = EARLIER;
        let pairs = self.pairs();
        let mut list = Vec::new();
        let is_same = |(a, b): &(&Kind<'_>, &Kind<'_>)| a.0 == b.0;
        for pair in &pairs {
            list.push(after(pair.0.0.clone(), vec![pair.0.1(earlier)], *pair));
            if !is_same(pair) {
                list.push(after(pair.1.0.clone(), vec![pair.1.1(earlier)], *pair));
            }
        }
        let mut list = self.part(list, PREPARED);
        if self.is_deep() {
            for pair in pairs.iter().take(PREPARED.0) {
                let once = self.kinds.iter().map(|(_, request)| request(earlier));
                let twice: Vec<Command> = once.clone().chain(once.clone()).collect();
                list.push(after("every request".to_owned(), once.collect(), *pair));
                list.push(after("every request twice".to_owned(), twice, *pair));
            }
        }
        list
    }

    /// Two requests are pending; one is cancelled while another request comes, which may answer
    /// either.
    fn cancels(&self) -> Vec<Script> {
        let [one, other, ..] = FILES;
        let [first, second] = EARLIER;
        let end = |commands: &mut Vec<Command>, files: &[FileRef]| {
            commands.push(idle());
            commands.extend(files.iter().map(|&file| cancel(file)));
            commands.extend(files.iter().map(|&file| close(file)));
        };
        // A request and the one that answers it stand near each other, and are not the same.
        let distances = (1..self.kinds.len()).chain([0]);
        let each = distances.flat_map(|distance| self.neighbours(distance));
        let mut list: Vec<Script> = each
            .map(|(a, b)| {
                let files = [first, second, one];
                let mut commands = files.map(|file| self.open(file)).to_vec();
                commands.extend([a.1(first), a.1(second)]);
                commands.push(Command::Together(vec![cancel(first), b.1(one)]));
                end(&mut commands, &files);
                self.script(&format!("{} cancelled beside {}", a.0, b.0), commands)
            })
            .collect();
        for (name, request) in self.kinds {
            let mut commands = vec![self.open(first), request(first)];
            commands.push(Command::Together(vec![cancel(first), cancel(first)]));
            end(&mut commands, &[first]);
            list.push(self.script(&format!("{name} cancelled twice at once"), commands));
        }
        let mut list = self.part(list, CANCELS);
        list.extend(self.part(self.kinds.iter().collect(), KINDS).into_iter().map(|kind| {
            let (name, request) = kind;
            let request = || request(first);
            let one = vec![request(), cancel(first)];
            let other = vec![request(), close(first)];
            let together =
                Command::Together(vec![Command::Sequence(one), Command::Sequence(other)]);
            let mut commands = vec![self.open(first), together];
            commands.push(idle());
            self.script(&format!("{name} cancelled by one caller, closed by another"), commands)
        }));
        if self.is_deep() {
            for (name, request) in self.kinds {
                let files = [first, other];
                let mut commands = files.map(|file| self.open(file)).to_vec();
                commands.push(request(first));
                commands.push(Command::Together(vec![cancel(first), close(first), request(other)]));
                end(&mut commands, &files);
                list.push(self.script(&format!("{name} cancelled beside its close"), commands));
            }
        }
        list
    }

    fn later_names(&self) -> Vec<Script> {
        let [file, later, third, ..] = FILES;
        let mut list = Vec::new();
        let names = self.target.later_names.iter().take(LATER_NAMES);
        for (name, kind) in names.flat_map(|name| self.kinds.iter().map(move |kind| (name, kind))) {
            let open = self.target.open_path(later, name.clone(), CallMode::Overlapped);
            let mut sequence = vec![open.clone()];
            sequence.extend(self.kinds.iter().map(|(_, request)| request(later)));
            sequence.extend([cancel(later), close(later)]);
            let mut commands = vec![self.open(file), kind.1(file)];
            commands.extend(sequence);
            commands.push(close(file));
            list.push(script(format!("{name} after {} of {}", kind.0, self.target.path), commands));
            // The other caller is not at its open before the first one has begun.
            let beside = Command::Sequence(vec![kind.1(third), open, close(later)]);
            let together = Command::Together(vec![kind.1(file), beside]);
            let commands =
                vec![self.open(file), self.open(third), together, close(file), close(third)];
            list.push(script(
                format!("{name} beside {} of {}", kind.0, self.target.path),
                commands,
            ));
        }
        self.part(list, (2 * KINDS.0, 2 * LATER_NAMES * KINDS.1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use system::{Command, DeviceAccess, DeviceInfo};

    use crate::{Extent, Facts, Learned, MarkSet, Script, plan};

    fn scripts(facts: &Facts, extent: Extent) -> Vec<Script> {
        let device = DeviceInfo {
            name: r"\Device\Sample".into(),
            links: vec![r"\??\Sample".into()],
            device_type: 0x22,
            flags: 4,
            is_exclusive: false,
            access: DeviceAccess::Default,
        };
        plan((facts, &Learned::default()), &[device], MarkSet::First, extent)
    }

    fn count(scripts: &[Script], family: &str) -> usize {
        scripts.iter().filter(|script| script.family == family).count()
    }

    #[test]
    fn a_plain_driver_gets_a_few_dozen() {
        let facts = Facts { codes: vec![0x22_2000], ..Facts::default() };
        let usual = scripts(&facts, Extent::Usual);
        let counts = super::ALL.iter().map(|family| count(&usual, family)).collect::<Vec<_>>();
        assert_eq!(counts, [3, 5, 9, 0, 0, 3]);
        let facts = Facts {
            codes: (0..40).map(|n| 0x22_2000 + 4 * n).collect(),
            names: vec![r"\??\Later".into(), r"\??\sample".into(), r"\Device\Later".into()],
            can_cancel: true,
            ..Facts::default()
        };
        let usual = scripts(&facts, Extent::Usual);
        let counts = super::ALL.iter().map(|family| count(&usual, family)).collect::<Vec<_>>();
        assert_eq!(counts, [4, 6, 16, 24, 8, 4]);
        // The deep ones stand behind all others, so that numbers stay.
        let deep = scripts(&facts, Extent::Deep);
        assert_eq!(deep.get(..usual.len()), Some(usual.as_slice()));
        assert!((50..300).contains(&(deep.len() - usual.len())), "{}", deep.len() - usual.len());
    }

    #[test]
    fn every_script_is_one_that_a_machine_carries_out_and_that_no_other_is() {
        let facts = Facts {
            codes: vec![0x22_2000, 0x22_2004],
            names: vec![r"\??\Later".into()],
            can_cancel: true,
            ..Facts::default()
        };
        let mut known = BTreeSet::new();
        for script in scripts(&facts, Extent::Deep) {
            for command in &script.commands {
                if let Command::Together(list) = command {
                    assert_eq!(Command::together_problem(list), None, "{}", script.about);
                }
            }
            if super::ALL.contains(&script.family) {
                assert!(known.insert(format!("{:?}", script.commands)), "{}", script.about);
            }
        }
    }
}
