//! What a run needs to get where it got, in words.

use choice_tape::Deviation;
use events::{
    COMPARISON, FILTER_ABOVE, FIRST_CALLER, FREE_INSTRUCTION, HANDLE_ELSEWHERE, INTERRUPT_DELAY,
    INTERRUPT_PROCESSOR, INTERRUPT_TIME, LIST_PREEMPTIONS, LOCK_STEP, LOWER_DRIVER, NEXT_PROCESSOR,
    NEXT_THREAD, NO_SWITCH, PREEMPTION, PRIORITY_SCHEDULE, RANDOM_SCHEDULE, REQUEST_ELSEWHERE,
    SHARED_INTERRUPT, STANDSTILL, START_PROCESSOR, SWITCH_AFTER, SWITCH_BEFORE, SWITCH_POINT,
    SYSTEM_BUFFER_TAIL, TURN_LENGTH, USER_BYTES_CHANGE, USER_PAGE_GONE,
};
use system::Command;
use verifier::counted;

use crate::{
    Campaign, confirm::RunId, deviations, machines, move_sets, request, runner::RunResult,
    shrink::has_several_requests, symbols,
};

/// What a deviation is in words, from its number (from 1) and its answer.
type Words = fn(u64, u32) -> String;

const WORDS: &[(u16, Words)] = &[
    (USER_PAGE_GONE.number, |number, _| {
        format!("the page of touch {number} of the caller's memory is gone")
    }),
    (USER_BYTES_CHANGE.number, |number, _| {
        format!("the caller's memory changes before touch {number}")
    }),
    (SYSTEM_BUFFER_TAIL.number, |number, _| {
        format!("the system buffer of request {number} holds other bytes behind the input")
    }),
    (PREEMPTION.number, |number, _| format!("a switch at kernel call {number}")),
    (FIRST_CALLER.number, |_, answer| format!("caller {} begins", answer.saturating_add(1))),
    (TURN_LENGTH.number, |number, answer| {
        format!("turn {number} ends after {}", counted(answer, "instruction"))
    }),
    (NEXT_PROCESSOR.number, |number, _| format!("another processor goes on at turn {number}")),
    (START_PROCESSOR.number, |number, _| format!("call {number} begins on another processor")),
    (NEXT_THREAD.number, |number, _| format!("another ready thread goes on at choice {number}")),
    (STANDSTILL.number, |number, _| {
        format!("a thread stands still at kernel call {number} until a timer is due")
    }),
    (PRIORITY_SCHEDULE.number, |_, answer| {
        format!("a schedule by priority of depth {} (seed {})", answer % 8, answer / 8)
    }),
    (RANDOM_SCHEDULE.number, |_, answer| format!("the random schedule {answer}")),
    (LOCK_STEP.number, |_, answer| format!("a schedule in step (seed {answer})")),
    (INTERRUPT_DELAY.number, |number, _| format!("interrupt {number} arrives later")),
    (INTERRUPT_PROCESSOR.number, |number, _| {
        format!("interrupt {number} arrives at another processor")
    }),
    (INTERRUPT_TIME.number, |number, _| format!("interrupt {number} arrives at another time")),
    (SHARED_INTERRUPT.number, |number, _| {
        format!("another device raises the shared interrupt at opportunity {number} to do so")
    }),
    (FILTER_ABOVE.number, |number, _| format!("a filter is attached above at open {number}")),
    (LOWER_DRIVER.number, |number, _| {
        format!("there is another driver below attachment or look-up {number}")
    }),
    (HANDLE_ELSEWHERE.number, |number, _| format!("another process closes handle {number} last")),
    (REQUEST_ELSEWHERE.number, |number, _| format!("request {number} comes from another process")),
];

/// Kinds that only name instructions.
const CHANGE_NOTHING: [u16; 3] =
    [LIST_PREEMPTIONS.number, FREE_INSTRUCTION.number, COMPARISON.number];

/// A deviation in words; `None` if it changes nothing. `place` names offsets in the image.
fn in_words(deviation: Deviation, place: impl Fn(u32) -> String) -> Option<String> {
    let Deviation { kind, ordinal, answer } = deviation;
    let points = [SWITCH_POINT, SWITCH_BEFORE, SWITCH_AFTER];
    if points.iter().any(|point| point.number == kind) {
        let is_switch = answer != NO_SWITCH;
        return is_switch.then(|| match answer {
            1 => format!("a switch in {}", place(ordinal)),
            _ => format!("a switch in {}, arrival {answer}", place(ordinal)),
        });
    }
    if CHANGE_NOTHING.contains(&kind) {
        return None;
    }
    let words = || {
        let (_, words) = WORDS.iter().find(|(known, _)| *known == kind)?;
        Some(words(u64::from(ordinal) + 1, answer))
    };
    deviations::in_words(deviation).or_else(words)
}

impl Campaign<'_> {
    /// What a run needs: answers of the kernel, then the requests if there are several.
    pub(crate) fn needs(&self, id: RunId<'_>, run: &RunResult) -> Vec<String> {
        let asked: Vec<(u16, u32)> =
            move_sets::asked(run).map(|(_, question)| (question.kind, question.ordinal)).collect();
        let met = |d: &Deviation| asked.iter().position(|at| *at == (d.kind, d.ordinal));
        let mut deviations = id.deviations.to_vec();
        // In the order in which they happen; what is no question of a place comes last.
        deviations.sort_by_key(|deviation| met(deviation).unwrap_or(usize::MAX));
        let (load, later) = machines::part(&deviations);
        let place = |rva| symbols::place(self.target, rva);
        let of_load = load.into_iter().filter_map(|deviation| in_words(deviation, place));
        let of_load = of_load.map(|words| format!("{words} in DriverEntry"));
        let mut list: Vec<String> = of_load.collect();
        list.extend(later.into_iter().filter_map(|deviation| in_words(deviation, place)));
        let script = id.script.and_then(|index| self.scripts.get(index));
        if let Some(script) = script
            && has_several_requests(script)
        {
            let is_told = |command: &&Command| {
                !matches!(command, Command::Idle { .. } | Command::Close { .. } | Command::Unload)
            };
            let begun = script.commands.iter().take(run.asked_at.len()).filter(is_told);
            let words = begun.map(|command| request::in_words(command, Some(script)));
            list.push(one_after_the_other(words));
        }
        list
    }
}

/// Requests in their order; the same again and again is said once.
fn one_after_the_other(words: impl Iterator<Item = String>) -> String {
    let mut list: Vec<(String, usize)> = Vec::new();
    for word in words {
        match list.last_mut() {
            Some((last, times)) if *last == word => *times += 1,
            _ => list.push((word, 1)),
        }
    }
    let in_words = |(word, times): (String, usize)| match times {
        1 => word,
        _ => format!("{times} times {word}"),
    };
    list.into_iter().map(in_words).collect::<Vec<_>>().join(", then ")
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::CHOICE_KINDS;

    use super::{CHANGE_NOTHING, in_words, one_after_the_other};

    #[test]
    fn the_same_again_is_counted() {
        let requests = ["open", "read", "read", "read", "close", "read"].map(str::to_owned);
        let words = one_after_the_other(requests.into_iter());
        assert_eq!(words, "open, then 3 times read, then close, then read");
        assert_eq!(one_after_the_other(std::iter::empty()), "");
    }

    #[test]
    fn every_kind_has_words() {
        for kind in CHOICE_KINDS.iter().filter(|kind| !CHANGE_NOTHING.contains(&kind.number)) {
            let deviation = Deviation { kind: kind.number, ordinal: 6, answer: 1 };
            let words = in_words(deviation, |rva| format!("here+{rva}"));
            let words = words.expect("the answer is a deviation");
            assert!(!words.is_empty() && !words.contains('_'), "{words}");
        }
        let seventh = in_words(Deviation { kind: 3, ordinal: 6, answer: 1 }, |_| String::new());
        assert_eq!(seventh.as_deref(), Some("allocation 7 fails"));
    }
}
