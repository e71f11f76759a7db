//! Learns which requests a driver serves, before anything is judged.
//!
//! A few requests of each kind are made on a machine of their own, with every rule off, and what
//! the driver compares is reported. A request that leads to code which no other reached, or to
//! another answer, is followed by requests in which the numbers that were compared are others. What
//! is learned depends on nothing but the driver and the number of processors, because the plan
//! follows from it and tokens name runs by their place in the plan.

use std::collections::{BTreeSet, VecDeque};

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
/// Requests behind others, and the forms of a kind that come behind each.
const MOST_AFTER: u32 = 240;
const FORMS_AFTER: usize = 4;
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
            met: BTreeSet::new(),
            runs: 0,
            events: 0,
            telling: 0,
            learned: Learned::default(),
        };
        let lessons = lessons(&self.target.facts, &self.devices, &nothing);
        for lesson in &lessons {
            if pupil.learn(lesson).is_none() {
                return pupil.learned;
            }
        }
        pupil.learn_what_comes_first(&lessons);
        pupil.learned
    }
}

/// Who learns.
struct Pupil<'t> {
    target: &'t Target,
    machine: Box<Loaded>,
    /// Offsets of the comparisons in the code that was reached so far.
    comparisons: BTreeSet<u32>,
    /// Addresses of those that a request came to. Code behind a branch that is not taken is no
    /// block of its own.
    met: BTreeSet<GuestAddr>,
    runs: u32,
    events: u64,
    telling: usize,
    learned: Learned,
}

/// How far a request came: how it was answered, and how many pairs of numbers were compared.
type Progress = (Option<NtStatus>, usize);

/// What a request showed.
struct Seen {
    answer: Answer,
    status: Option<NtStatus>,
    has_new_code: bool,
    compared: Vec<Comparison>,
}

impl Pupil<'_> {
    /// Learns a kind of request; `None`: nothing more can be paid for.
    fn learn(&mut self, lesson: &Lesson<'_>) -> Option<()> {
        let first = lesson.first_forms();
        let usual = first.first().cloned();
        let mut known = Known::default();
        let mut met: BTreeSet<Form> = first.iter().cloned().collect();
        // What follows from progress comes before what was to be tried else.
        let mut waiting: VecDeque<(Form, Option<Progress>)> =
            first.into_iter().map(|form| (form, None)).collect();
        let mut is_affordable = true;
        let end = self.runs.saturating_add(MOST_OF_A_KIND);
        while let Some((form, before)) = waiting.pop_front() {
            is_affordable = self.runs < MOST_RUNS && self.events < MOST_EVENTS;
            if self.runs >= end || !is_affordable {
                break;
            }
            let seen = self.ask(lesson, &form)?;
            let is_usual = usual.as_ref() == Some(&form);
            let is_served = seen.answer == Answer::Served;
            if is_served && !is_usual && known.answer != Answer::Served {
                known.served = Some(form.clone());
            }
            known.answer = known.answer.min(seen.answer);
            let is_telling = seen.has_new_code && !form.fields.is_empty();
            if is_telling
                && known.telling.len() < MOST_TELLING
                && self.telling < MOST_TELLING_AT_ALL
            {
                self.telling += 1;
                known.telling.push(form.clone());
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
            if seen.has_new_code || before != Some(progress) {
                let next = next_forms(&form, &seen.compared);
                let next = next.into_iter().filter(|form| met.insert(form.clone()));
                let next: Vec<_> = next.map(|form| (form, Some(progress))).collect();
                next.into_iter().rev().for_each(|form| waiting.push_front(form));
            }
        }
        self.learned.insert(lesson.key(), known);
        is_affordable.then_some(())
    }

    /// Learns which refused requests are served after others. Whatever goes wrong ends it.
    fn learn_what_comes_first(&mut self, lessons: &[Lesson<'_>]) -> Option<()> {
        let end = self.runs.saturating_add(MOST_AFTER);
        let is_served = |lesson: &&Lesson<'_>, learned: &Learned| {
            learned.get(&lesson.key()).is_some_and(|known| known.answer == Answer::Served)
        };
        let before = self.learned.clone();
        let served: Vec<&Lesson<'_>> =
            lessons.iter().filter(|lesson| is_served(lesson, &before)).collect();
        for lesson in lessons {
            let Some(known) = before.get(&lesson.key()) else { continue };
            if known.answer != Answer::Refused {
                continue;
            }
            let forms: Vec<Form> = lesson.first_forms().into_iter().take(FORMS_AFTER).collect();
            let firsts = served.iter().filter(|first| first.is_beside(lesson));
            let pairs = firsts.flat_map(|first| forms.iter().map(move |form| (first, form)));
            for (first, form) in pairs {
                if self.runs >= end {
                    return None;
                }
                let of_first = before.get(&first.key()).and_then(|known| known.served.clone());
                let of_first = of_first.or_else(|| first.first_forms().into_iter().next())?;
                let script = lesson.script(Some((first.request, &of_first)), form);
                let run = self.run(&script, &[])?;
                if answer(&run, lesson.request).0 == Answer::Served {
                    let after = Some((first.request, of_first, form.clone()));
                    self.learned.entry(lesson.key()).or_default().after = after;
                    break;
                }
            }
        }
        Some(())
    }

    fn run(&mut self, script: &Script, told: &[Deviation]) -> Option<RunResult> {
        let machine = &mut self.machine;
        let run = runner::guarded(|| machine.run(script, told)).ok()?;
        self.runs += 1;
        self.events = self.events.saturating_add(run.events);
        Some(run)
    }

    /// Makes a request, and again if it met comparisons for the first time. `None`: our bug, which
    /// the runs that are judged will show.
    fn ask(&mut self, lesson: &Lesson<'_>, form: &Form) -> Option<Seen> {
        let script = lesson.script(None, form);
        let mut has_new_code = false;
        loop {
            let told: Vec<Deviation> = self.comparisons.iter().map(|&rva| told(rva)).collect();
            let run = self.run(&script, &told)?;
            let blocks = run.blocks.iter().copied();
            let new: BTreeSet<u32> =
                blocks.flat_map(|block| comparisons_of(self.target, block)).collect();
            let is_known = new.is_subset(&self.comparisons);
            has_new_code |= !run.blocks.is_empty();
            self.comparisons.extend(new);
            if !is_known {
                continue;
            }
            let compared = run.ledgers.comparisons();
            for found in compared {
                has_new_code |= self.met.insert(found.at);
            }
            let compared = compared.iter().map(|found| (found.left, found.right)).collect();
            let (answer, status) = answer(&run, lesson.request);
            return Some(Seen { answer, status, has_new_code, compared });
        }
    }
}

fn told(ordinal: u32) -> Deviation {
    Deviation { kind: COMPARISON.number, ordinal, answer: 1 }
}

/// How the first request of this kind was answered. One that is only ended by its cancellation was
/// on its way.
fn answer(run: &RunResult, request: Request) -> (Answer, Option<NtStatus>) {
    let is_request = |irp: &&IrpRecord| match request {
        Request::Read => irp.major == READ,
        Request::Write => irp.major == WRITE,
        Request::Control(code) => irp.major == DEVICE_CONTROL && irp.control_code == code,
    };
    let dispatched = run.ledgers.irps().filter(|irp| irp.dispatched.is_some());
    let Some(irp) = dispatched.filter(is_request).min_by_key(|irp| irp.created) else {
        return (Answer::Unknown, None);
    };
    let status = irp.completed.map(|(_, _, status)| status);
    let answer = match status {
        None if run.stopped.is_some() => Answer::Refused,
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
fn comparisons_of(target: &Target, block: u32) -> Vec<u32> {
    let mut list = Vec::new();
    let mut next = block;
    for _ in 0..LONGEST_BLOCK {
        let mut bytes = [0; 15];
        if !target.image.mapped().read(next, &mut bytes) {
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
