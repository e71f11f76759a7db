//! What a run needs to get where it got, in words.

use choice_tape::Deviation;
use events::{
    FILTER_ABOVE, FREE_INSTRUCTION, HANDLE_ELSEWHERE, INTERRUPT_DELAY, INTERRUPT_PROCESSOR,
    INTERRUPT_TIME, LIST_PREEMPTIONS, LOCK_STEP, LOWER_DRIVER, NEXT_PROCESSOR, NEXT_THREAD,
    NO_SWITCH, PREEMPTION, PRIORITY_SCHEDULE, RANDOM_SCHEDULE, REQUEST_ELSEWHERE, SHARED_INTERRUPT,
    STANDSTILL, START_PROCESSOR, SWITCH_AFTER, SWITCH_BEFORE, SWITCH_POINT, SYSTEM_BUFFER_TAIL,
    TURN_LENGTH, USER_BYTES_CHANGE, USER_PAGE_GONE,
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
        format!("another device raises the shared interrupt at moment {number}")
    }),
    (FILTER_ABOVE.number, |number, _| format!("a filter is attached above at open {number}")),
    (LOWER_DRIVER.number, |number, _| {
        format!("there is another driver below attachment or look-up {number}")
    }),
    (HANDLE_ELSEWHERE.number, |number, _| format!("another process closes handle {number} last")),
    (REQUEST_ELSEWHERE.number, |number, _| format!("request {number} comes from another process")),
];

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
    if [LIST_PREEMPTIONS.number, FREE_INSTRUCTION.number].contains(&kind) {
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
            let words: Vec<String> =
                begun.map(|command| request::in_words(command, Some(script))).collect();
            list.push(words.join(", then "));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{CHOICE_KINDS, FREE_INSTRUCTION, LIST_PREEMPTIONS};

    use super::in_words;

    #[test]
    fn every_kind_has_words() {
        let changes_nothing = [LIST_PREEMPTIONS, FREE_INSTRUCTION];
        for kind in CHOICE_KINDS.iter().filter(|kind| !changes_nothing.contains(kind)) {
            let deviation = Deviation { kind: kind.number, ordinal: 6, answer: 1 };
            let words = in_words(deviation, |rva| format!("here+{rva}"));
            let words = words.expect("the answer is a deviation");
            assert!(!words.is_empty() && !words.contains('_'), "{words}");
        }
        let seventh = in_words(Deviation { kind: 3, ordinal: 6, answer: 1 }, |_| String::new());
        assert_eq!(seventh.as_deref(), Some("allocation 7 fails"));
    }
}
