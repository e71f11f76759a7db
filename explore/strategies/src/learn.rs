//! Learns which requests a driver serves, before anything is judged.
//!
//! A few requests of each kind are made on a machine of their own, with every rule off, and what
//! the driver compares is reported. A request that leads to code which no other reached, or to
//! another answer, is followed by requests in which the numbers that were compared are others. What
//! is learned depends on nothing but the driver and the number of processors, because the plan
//! follows from it and tokens name runs by their place in the plan.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use choice_tape::Deviation;
use cpu::is_comparison;
use events::COMPARISON;
use guest_memory::GuestAddr;
use iced_x86::{Decoder, DecoderOptions, FlowControl};
use nt_abi::NtStatus;
use verifier::IrpRecord;
use workloads::{
    Answer, Comparison, Form, Known, Learned, Lesson, Request, Script, lessons, next_forms,
};

use crate::{
    Campaign, Target,
    campaign::FILL,
    runner::{self, Conditions, LoadResult, Loaded, RunResult},
};

/// Requests of one kind, and of all kinds.
const MOST_OF_A_KIND: u32 = 64;
const MOST_RUNS: u32 = 1000;
/// Events of a request, and of all.
const RUN_EVENTS: u64 = 100_000;
const MOST_EVENTS: u64 = 3_000_000;
/// Forms of a kind that are tried again with everything that follows a friendly run.
const MOST_TELLING: usize = 4;
/// The same of all kinds.
const MOST_TELLING_AT_ALL: usize = 24;
/// Forms of a kind that are made at once with another one.
const MOST_OTHERS: usize = 2;
/// Instructions of a block that are looked at.
const LONGEST_BLOCK: usize = 256;

/// `IRP_MJ_READ`, `IRP_MJ_WRITE` and `IRP_MJ_DEVICE_CONTROL`.
const READ: u8 = 3;
const WRITE: u8 = 4;
const DEVICE_CONTROL: u8 = 14;

/// What drivers answer that do not know a request.
const UNKNOWN: [NtStatus; 3] = [
    NtStatus::STATUS_INVALID_DEVICE_REQUEST,
    NtStatus::STATUS_NOT_SUPPORTED,
    NtStatus::STATUS_NOT_IMPLEMENTED,
];

impl Campaign<'_> {
    /// What the driver serves. Nothing that goes wrong here is told: the runs that are judged
    /// follow.
    pub(crate) fn learn(&mut self) -> Learned {
        let nothing = Learned::default();
        let conditions = Conditions {
            fill: FILL,
            schedule: 0,
            limit_events: RUN_EVENTS,
            keep_going: false,
            without: rulebook::rules().collect(),
            ..self.conditions.clone()
        };
        let loaded = runner::guarded(|| runner::load(self.target, &conditions, &[], Vec::new()));
        let Ok(LoadResult::Loaded(machine)) = loaded else { return nothing };
        let mut pupil = Pupil {
            target: self.target,
            machine,
            comparisons: BTreeSet::new(),
            executed: BTreeSet::new(),
            runs: 0,
            events: 0,
            telling: 0,
            learned: Learned::default(),
        };
        let lessons = lessons(&self.target.facts, &self.devices, &nothing);
        let mut notes = Vec::new();
        for lesson in lessons {
            match pupil.learn(lesson) {
                Some(note) => notes.push(note),
                None => return pupil.learned,
            }
        }
        pupil.learn_chains(&notes);
        pupil.learned
    }
}

/// Who learns.
pub(crate) struct Pupil<'t> {
    target: &'t Target,
    machine: Box<Loaded>,
    /// Offsets of the comparisons in the code that was reached so far.
    comparisons: BTreeSet<u32>,
    /// Addresses of those that a request came to. Code behind a branch that is not taken is no
    /// block of its own.
    executed: BTreeSet<GuestAddr>,
    pub(crate) runs: u32,
    pub(crate) events: u64,
    telling: usize,
    pub(crate) learned: Learned,
}

/// How far a request came: how it was answered, and how many pairs of numbers were compared.
pub(crate) type Progress = (Option<NtStatus>, usize);

/// What a request showed.
pub(crate) struct Seen {
    pub(crate) answer: Answer,
    pub(crate) status: Option<NtStatus>,
    /// Blocks and comparisons that no request came to before.
    pub(crate) new_code: usize,
    /// Whether it ended the run.
    pub(crate) is_stopped: bool,
    pub(crate) compared: Vec<Comparison>,
}

/// What came of a kind of request that was made alone.
pub(crate) struct Note<'l> {
    pub(crate) lesson: Lesson<'l>,
    /// Every form that was made, how it was answered and what was compared.
    pub(crate) made: BTreeMap<Form, (Answer, BTreeSet<Comparison>)>,
    /// Those that led where no other did, and how much code was new.
    pub(crate) telling: Vec<(Form, usize)>,
}

impl Pupil<'_> {
    /// Learns a kind of request, as far as there are runs. `None`: our bug.
    fn learn<'l>(&mut self, lesson: Lesson<'l>) -> Option<Note<'l>> {
        let mut note = Note { lesson, made: BTreeMap::new(), telling: Vec::new() };
        let first = lesson.first_forms();
        let usual = first.first().cloned();
        let mut known = Known::default();
        let mut planned: BTreeSet<Form> = first.iter().cloned().collect();
        // What follows from progress comes before what was to be tried else.
        let mut waiting: VecDeque<(Form, Option<Progress>)> =
            first.into_iter().map(|form| (form, None)).collect();
        let end = self.runs.saturating_add(MOST_OF_A_KIND).min(MOST_RUNS);
        while let Some((form, before)) = waiting.pop_front() {
            if self.runs >= end || self.events >= MOST_EVENTS {
                break;
            }
            let seen = self.ask(&lesson, &[], &form)?;
            let is_usual = usual.as_ref() == Some(&form);
            let is_served = seen.answer == Answer::Served;
            if is_served && !is_usual && known.answer != Answer::Served {
                known.served = Some(form.clone());
            }
            known.answer = known.answer.min(seen.answer);
            if (seen.new_code > 0 || seen.is_stopped) && !form.fields.is_empty() {
                self.note_telling(&mut known, &form, seen.is_stopped);
            }
            let is_other = known
                .others
                .iter()
                .chain(&known.served)
                .all(|other| !form.fields.keys().eq(other.fields.keys()));
            if is_served && !is_usual && is_other && known.others.len() < MOST_OTHERS {
                known.others.push(form.clone());
            }
            let progress = (seen.status, seen.compared.len());
            if seen.new_code > 0 || before != Some(progress) {
                let next = next_forms(&form, &seen.compared);
                let next = next.into_iter().filter(|form| planned.insert(form.clone()));
                let next: Vec<_> = next.map(|form| (form, Some(progress))).collect();
                next.into_iter().rev().for_each(|form| waiting.push_front(form));
            }
            if seen.new_code > 0 {
                note.telling.push((form.clone(), seen.new_code));
            }
            note.made.insert(form, (seen.answer, seen.compared.into_iter().collect()));
        }
        self.learned.insert(lesson.key(), known);
        Some(note)
    }

    /// Takes note of a form that tells something. What comes last came farthest, and takes the
    /// place of the one before it where there is none left; what ended a run stays.
    fn note_telling(&mut self, known: &mut Known, form: &Form, is_stopped: bool) {
        if known.telling.len() == MOST_TELLING && known.telling.pop().is_some() {
            self.telling -= 1;
        }
        if self.telling < MOST_TELLING_AT_ALL {
            self.telling += 1;
            let at = if is_stopped { 0 } else { known.telling.len() };
            known.telling.insert(at, form.clone());
        }
    }

    fn run(&mut self, script: &Script, told: &[Deviation]) -> Option<RunResult> {
        let machine = &mut self.machine;
        let run = runner::guarded(|| machine.run(script, told)).ok()?;
        self.runs += 1;
        self.events = self.events.saturating_add(run.events);
        Some(run)
    }

    /// Makes a request behind others, and again if it met comparisons for the first time. `None`:
    /// our bug, which the runs that are judged will show.
    pub(crate) fn ask(
        &mut self,
        lesson: &Lesson<'_>,
        before: &[(Request, Form)],
        form: &Form,
    ) -> Option<Seen> {
        let script = lesson.script(before, form);
        let of_kind = before.iter().filter(|(request, _)| *request == lesson.request).count();
        let mut new_code = 0;
        loop {
            let told: Vec<Deviation> = self.comparisons.iter().map(|&rva| told(rva)).collect();
            let run = self.run(&script, &told)?;
            let blocks = run.blocks.iter().copied();
            let code = self.target.image.mapped();
            let comparisons = |block| comparisons_of(|at, bytes| code.read(at, bytes), block);
            let new: BTreeSet<u32> = blocks.flat_map(comparisons).collect();
            let is_known = new.is_subset(&self.comparisons);
            new_code += run.blocks.len();
            self.comparisons.extend(new);
            if !is_known {
                continue;
            }
            let compared = run.ledgers.comparisons();
            new_code += compared.iter().filter(|found| self.executed.insert(found.at)).count();
            let compared = compared.iter().map(|found| (found.left, found.right)).collect();
            let (answer, status) = answer(&run, lesson.request, of_kind);
            let is_stopped = run.stopped.is_some();
            return Some(Seen { answer, status, new_code, is_stopped, compared });
        }
    }
}

fn told(ordinal: u32) -> Deviation {
    Deviation { kind: COMPARISON.number, ordinal, answer: 1 }
}

/// How the request of this kind was answered behind which that many others of the kind were made.
/// One that is only ended by its cancellation was on its way.
fn answer(run: &RunResult, request: Request, behind: usize) -> (Answer, Option<NtStatus>) {
    answer_of(run.ledgers.irps(), run.stopped.is_some(), (request, behind))
}

fn answer_of<'r>(
    irps: impl Iterator<Item = &'r IrpRecord>,
    is_stopped: bool,
    (request, behind): (Request, usize),
) -> (Answer, Option<NtStatus>) {
    let is_request = |irp: &&IrpRecord| match request {
        Request::Read => irp.major == READ,
        Request::Write => irp.major == WRITE,
        Request::Control(code) => irp.major == DEVICE_CONTROL && irp.control_code == code,
    };
    let dispatched = irps.filter(|irp| irp.dispatched.is_some());
    let mut of_kind: Vec<&IrpRecord> = dispatched.filter(is_request).collect();
    of_kind.sort_by_key(|irp| irp.created);
    let Some(irp) = of_kind.get(behind) else { return (Answer::Unknown, None) };
    let status = irp.completed.map(|(_, _, status)| status);
    let answer = match status {
        None if is_stopped => Answer::Refused,
        None => Answer::Served,
        Some(status) if UNKNOWN.contains(&status) => Answer::Unknown,
        Some(NtStatus::STATUS_CANCELLED) => Answer::Served,
        Some(status) if status.is_error() => Answer::Refused,
        Some(_) => Answer::Served,
    };
    (answer, status)
}

/// Offsets of the comparisons in the block that begins here, and behind branches that it may not
/// take.
fn comparisons_of(read: impl Fn(u32, &mut [u8]) -> bool, block: u32) -> Vec<u32> {
    let mut list = Vec::new();
    let mut next = block;
    for _ in 0..LONGEST_BLOCK {
        let mut bytes = [0; 15];
        if !read(next, &mut bytes) {
            break;
        }
        let mut decoder = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE);
        let ins = decoder.decode();
        if ins.is_invalid() {
            break;
        }
        if is_comparison(&ins) {
            list.push(next);
        }
        if !matches!(ins.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch) {
            break;
        }
        next = next.saturating_add(u32::try_from(ins.len()).unwrap_or(1));
    }
    list
}

#[cfg(test)]
mod tests {
    use events::{Seq, tape_of};
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;
    use system::Tier;
    use verifier::IrpRecord;
    use workloads::{Answer, Learned, Request};

    use super::{DEVICE_CONTROL, LONGEST_BLOCK, READ, answer_of, comparisons_of, told};
    use crate::{Budget, Campaign, Plan, Profile, Settings, Target};

    const CODE: u32 = 0x22_2000;

    /// A request that was passed to the driver, and how it was completed.
    fn irp(created: u64, major: u8, status: Option<NtStatus>) -> IrpRecord {
        let (address, ip) = (GuestAddr(0x1000), GuestAddr(0x2000));
        IrpRecord {
            address,
            created: Seq(created),
            major,
            control_code: CODE,
            dispatched: Some(Seq(created + 1)),
            tail: None,
            returned: None,
            completed: status.map(|status| (Seq(created + 2), ip, status)),
        }
    }

    #[test]
    fn the_status_of_a_request_says_how_it_was_answered() {
        let rows = [
            (NtStatus::STATUS_SUCCESS, Answer::Served),
            // A warning: there is more than fits.
            (NtStatus::STATUS_BUFFER_OVERFLOW, Answer::Served),
            // It was on its way when it was cancelled.
            (NtStatus::STATUS_CANCELLED, Answer::Served),
            (NtStatus::STATUS_INVALID_PARAMETER, Answer::Refused),
            (NtStatus::STATUS_BUFFER_TOO_SMALL, Answer::Refused),
            (NtStatus::STATUS_INVALID_DEVICE_REQUEST, Answer::Unknown),
            (NtStatus::STATUS_NOT_SUPPORTED, Answer::Unknown),
            (NtStatus::STATUS_NOT_IMPLEMENTED, Answer::Unknown),
        ];
        for (status, expected) in rows {
            let list = [irp(0, DEVICE_CONTROL, Some(status))];
            let found = answer_of(list.iter(), false, (Request::Control(CODE), 0));
            assert_eq!(found, (expected, Some(status)));
        }
    }

    #[test]
    fn a_request_that_is_not_completed_is_on_its_way_unless_the_run_was_stopped() {
        let list = [irp(0, READ, None)];
        assert_eq!(answer_of(list.iter(), false, (Request::Read, 0)), (Answer::Served, None));
        assert_eq!(answer_of(list.iter(), true, (Request::Read, 0)), (Answer::Refused, None));
    }

    #[test]
    fn the_request_is_told_by_its_kind_and_by_how_many_of_the_kind_come_before() {
        let (refused, served) = (NtStatus::STATUS_INVALID_PARAMETER, NtStatus::STATUS_SUCCESS);
        let mut never_passed_on = irp(0, READ, Some(served));
        never_passed_on.dispatched = None;
        let list = [
            irp(9, READ, Some(served)),
            irp(6, READ, Some(refused)),
            irp(3, DEVICE_CONTROL, Some(served)),
            never_passed_on,
        ];
        let behind = |request, behind| answer_of(list.iter(), false, (request, behind));
        let of = |request| behind(request, 0);
        assert_eq!(of(Request::Read), (Answer::Refused, Some(refused)));
        assert_eq!(of(Request::Control(CODE)), (Answer::Served, Some(served)));
        assert_eq!(behind(Request::Read, 1), (Answer::Served, Some(served)));
        // The driver got no request of these kinds.
        assert_eq!(behind(Request::Read, 2), (Answer::Unknown, None));
        assert_eq!(of(Request::Write), (Answer::Unknown, None));
        assert_eq!(of(Request::Control(CODE + 4)), (Answer::Unknown, None));
    }

    /// Offsets of the comparisons in code that begins at 0x1000.
    fn comparisons(code: &[u8]) -> Vec<u32> {
        let read = |at: u32, bytes: &mut [u8]| {
            let at = at.wrapping_sub(0x1000) as usize;
            for (into, from) in bytes.iter_mut().zip(code.iter().skip(at)) {
                *into = *from;
            }
            at < code.len()
        };
        comparisons_of(read, 0x1000)
    }

    #[test]
    fn comparisons_are_looked_for_to_the_end_of_the_block_and_behind_branches_not_taken() {
        // cmp ecx, 5; je; sub eax, 0x222000; mov eax, ecx; cmp [rdx], al; ret; cmp ecx, 5
        let code = [
            &[0x83, 0xf9, 5, 0x74, 0x10, 0x2d, 0, 0x20, 0x22, 0][..],
            &[0x89, 0xc8, 0x38, 0x02, 0xc3, 0x83, 0xf9, 5],
        ];
        assert_eq!(comparisons(&code.concat()), [0x1000, 0x1005, 0x100c]);
        // jmp: what follows belongs to somebody else.
        assert_eq!(comparisons(&[0xeb, 0, 0x83, 0xf9, 5]), []);
        // A call comes back, but to a block of its own.
        assert_eq!(comparisons(&[0xe8, 0, 0, 0, 0, 0x83, 0xf9, 5]), []);
        // No instruction.
        assert_eq!(comparisons(&[0x06, 0x83, 0xf9, 5]), []);
        // No code.
        assert_eq!(comparisons(&[]), []);
    }

    #[test]
    fn a_block_without_an_end_is_looked_at_in_part() {
        let code = [0x83, 0xf9, 5].repeat(2 * LONGEST_BLOCK);
        assert_eq!(comparisons(&code).len(), LONGEST_BLOCK);
    }

    fn learned(target: &Target) -> Learned {
        let settings = Settings {
            seed: 0,
            processors: 2,
            jobs: 1,
            runs: 1,
            shrink_runs: 0,
            budget: Budget::QUICK,
            strategies: Vec::new(),
            limit_events: 100_000,
            keep_going: false,
            without: Vec::new(),
            without_moves: Vec::new(),
            plan: Plan::Automatic,
            profile: Profile::Standard,
            tier: Tier::Interpreter,
            on_run: None,
        };
        let mut campaign = Campaign::new(target, settings);
        assert!(campaign.prepare());
        campaign.learn()
    }

    /// `settings.sys` has four control codes and neither reads nor writes.
    #[test]
    fn what_a_driver_serves_is_learned_and_the_same_is_learned_again() {
        let bytes = include_bytes!("../../../samples/settings.sys");
        let target = Target::new("settings.sys", bytes, None).unwrap();
        let found = learned(&target);
        let answer = |request| {
            let mut of_kind = found.iter().filter(|((_, kind), _)| *kind == request);
            of_kind.next().map(|(_, known)| known.answer)
        };
        for code in [0x22_2000, 0x22_2004, 0x22_2008, 0x22_200c] {
            assert_eq!(answer(Request::Control(code)), Some(Answer::Served), "{code:x}");
        }
        assert_eq!(answer(Request::Read), Some(Answer::Unknown));
        assert_eq!(answer(Request::Write), Some(Answer::Unknown));
        assert_eq!(found, learned(&target));
    }

    #[test]
    fn what_is_told_is_a_point_of_the_tape_that_changes_no_answer() {
        let tape = tape_of(&[told(0x1005), told(0x1000)], 0);
        let points: Vec<(u32, u32)> = tape.points(events::COMPARISON).collect();
        assert_eq!(points, [(0x1000, 1), (0x1005, 1)]);
    }
}
