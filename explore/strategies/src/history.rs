//! What the tape made happen in a run, as the beginning of a finding's history.

use events::{FreeMoment, Origin, Preemption, STANDSTILL};
use rulebook::race::words::who;
use verifier::{RawFinding, RawStep};

use crate::{deviations, runner::RunResult};

/// Switches that are told, the latest ones before the finding; a random run has many more.
const MOST_SWITCHES: usize = 8;

/// A finding whose history begins with what the tape made happen before it: failures and switches.
pub(crate) fn with_deviations(raw: &RawFinding, base: &RunResult) -> RawFinding {
    let is_before = |origin: &Origin| origin.seq < raw.origin.seq;
    let step = |origin: &Origin, message| RawStep { seq: Some(origin.seq), message };
    let moves = base.ledgers.questions().iter();
    let moves = moves.filter(|(question, origin)| question.answer != 0 && is_before(origin));
    let mut steps: Vec<RawStep> = moves
        .filter_map(|(question, origin)| Some(step(origin, deviations::in_words_here(question)?)))
        .collect();
    let switches = base.ledgers.preemptions().iter();
    let switches: Vec<RawStep> = switches
        .filter(|(moment, origin)| moment.answer != 0 && is_before(origin))
        .map(|(moment, origin)| step(origin, in_words(moment)))
        .collect();
    let left_out = switches.len().saturating_sub(MOST_SWITCHES);
    steps.extend(switches.into_iter().skip(left_out));
    let points = base.ledgers.switch_points().iter();
    let is_told = |origin: &Origin| raw.history.iter().any(|told| told.seq == Some(origin.seq));
    let points =
        points.filter(|at| at.point.is_switch && is_before(&at.origin) && !is_told(&at.origin));
    steps.extend(points.map(|at| {
        step(&at.origin, format!("{} is interrupted here, and others go on", who(at.point.who)))
    }));
    steps.sort_by_key(|step| step.seq);
    let mut told = raw.clone();
    told.history.splice(0..0, steps);
    told
}

fn in_words(moment: &Preemption) -> String {
    let place = match moment.moment {
        FreeMoment::BeforeCall(name) => format!("before {name}"),
        FreeMoment::AfterCall(name) => format!("after {name}"),
        FreeMoment::AfterIrqlChange => "after the change of its IRQL".to_owned(),
        FreeMoment::BeforeInstruction => "before this instruction".to_owned(),
        FreeMoment::AtEntry => "at the beginning".to_owned(),
    };
    let first = who(moment.who);
    if moment.kind == STANDSTILL.number {
        return format!("{first} stands still here, {place}, until the next timer is due");
    }
    match moment.next() {
        Some(next) => {
            format!("{first} is preempted here, {place}; meanwhile {} goes on", who(next))
        }
        None => format!("{first} is preempted here, {place}"),
    }
}

#[cfg(test)]
mod tests {
    use events::{FreeMoment, PREEMPTION, Preemption, STANDSTILL, ThreadId, Who};

    use super::in_words;

    #[test]
    fn a_switch_is_a_sentence() {
        let mut moment = Preemption {
            kind: PREEMPTION.number,
            ordinal: 3,
            moment: FreeMoment::BeforeCall("KeSetEvent"),
            stack: 0,
            who: Who::Thread(ThreadId(5)),
            others: vec![Who::Thread(ThreadId(3)), Who::Dpcs(1)],
            others_at: 0,
            answer: 2,
        };
        let text = "thread 5 is preempted here, before KeSetEvent; \
            meanwhile a DPC on processor 1 goes on";
        assert_eq!(in_words(&moment), text);
        moment.kind = STANDSTILL.number;
        let text = "thread 5 stands still here, before KeSetEvent, until the next timer is due";
        assert_eq!(in_words(&moment), text);
    }
}
