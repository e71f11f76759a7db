//! Bounded preemptions: every schedule that differs from the fair one in one switch, then in two.
//!
//! A first run per script lists the free moments: kernel calls, inline changes of the IRQL, and
//! instructions that touch pages which several lanes touch. At each of them each of the others goes
//! on once. Moments that were met least often before come first, over all scripts, so that a small
//! budget is spent on what is new; one place, with the same callers and with the others at the same
//! places, counts as the same and is tried a few times per script at most.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use choice_tape::Deviation;
use events::{FreeMoment, LIST_PREEMPTIONS, NO_SWITCH, Preemption, SWITCH_POINT, SwitchPoint, Who};
use guest_memory::GuestAddr;
use verifier::Arrival;
use workloads::MarkSet;

use crate::{
    Campaign, Strategy,
    batch::Spec,
    portfolio::{Schedulable, Source},
    runner::{RunResult, Watch},
};

/// Runs proposed at a time.
const BATCH: usize = 16;
/// How often the same place is tried per script.
const MOST_PER_PLACE: u32 = 2;
/// Instructions that are listed per script; a tape sets no more.
const MOST_INSTRUCTIONS: usize = 60;
/// Arrivals of one lane at an instruction that are tried.
const MOST_ARRIVALS: u32 = 2;
/// Scripts that are listed before it is seen whether they show anything new.
const SCRIPTS_AT_ONCE: usize = 8;
/// Free moments of the second level per schedule of the first.
const MOST_SECOND: usize = 400;

/// Makes a run list its free moments.
const LISTING: Deviation = Deviation { kind: LIST_PREEMPTIONS.number, ordinal: 0, answer: 1 };

/// What makes two moments the same, whatever the script.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A question.
    Call { moment: FreeMoment, stack: u64, who: Who, next: Option<Who>, others_at: u64 },
    /// An instruction.
    Instruction { rva: u32, who: Who },
}

/// One switch, and where it is.
#[derive(Clone, Debug)]
struct Candidate {
    /// Its place in the list of scripts.
    of: usize,
    deviation: Deviation,
    place: Place,
}

/// Where the strategy is.
#[derive(Debug, Default)]
pub(crate) struct Preemptions {
    /// Plain scripts, then those in which a request fails.
    scripts: Vec<Schedulable>,
    plain: usize,
    /// How many were listed so far.
    listed: usize,
    /// Switches of the first level that wait: how often their place was met before, their place in
    /// the run, that of the script.
    waiting: BTreeMap<(u32, usize, usize), Candidate>,
    /// How often a place was met.
    met: BTreeMap<Place, u32>,
    /// Switches of the first level that were tried.
    tried: Vec<Candidate>,
    /// How many of those are carried on to the second level.
    carried_on: usize,
    /// Runs of the second level that wait.
    second: VecDeque<Spec>,
    /// Pairs of places tried.
    pairs: BTreeSet<(Place, Place)>,
    /// The latest proposal, and whether it is of the second level.
    proposed: (usize, bool),
}

impl Preemptions {
    pub(crate) fn new(plain: &[Schedulable], with_moves: &[Schedulable]) -> Self {
        let scripts = [plain, with_moves].concat();
        Self { scripts, plain: plain.len(), ..Self::default() }
    }

    /// Takes in the free moments of a script.
    fn add(&mut self, candidates: Vec<Candidate>) {
        for (index, candidate) in candidates.into_iter().enumerate() {
            let times = self.met.entry(candidate.place.clone()).or_default();
            self.waiting.insert((*times, index, candidate.of), candidate);
            *times += 1;
        }
    }

    /// The run of a script of the list.
    fn run(&self, of: usize, deviations: &[Deviation]) -> Option<Spec> {
        self.scripts.get(of).map(|one| one.run(deviations))
    }

    /// Lists further scripts until there is a place that nobody has met, or there are no more.
    fn list(&mut self, campaign: &mut Campaign<'_>) -> Result<(), (usize, String)> {
        let has_new = |waiting: &BTreeMap<(u32, usize, usize), Candidate>| {
            waiting.first_key_value().is_some_and(|((times, ..), _)| *times == 0)
        };
        while !has_new(&self.waiting) && !campaign.is_purse_empty() {
            let end = (self.listed + SCRIPTS_AT_ONCE).min(self.scripts.len());
            if self.listed == end {
                return Ok(());
            }
            for of in std::mem::replace(&mut self.listed, end)..end {
                let Some(friendly) = self.run(of, &[LISTING]) else { continue };
                let of_script = |message| (friendly.script, message);
                let mut found = campaign.free_moments((of, &friendly), &[]).map_err(of_script)?;
                let is_load = self.scripts.get(of).is_some_and(|one| one.is_load);
                if of < self.plain && !is_load {
                    let script = friendly.script;
                    found.extend(campaign.shared_instructions(of, script).map_err(of_script)?);
                }
                self.add(found);
            }
        }
        Ok(())
    }

    /// The runs with two switches that begin with one of the first level.
    fn expand(&mut self, campaign: &mut Campaign<'_>) -> Result<(), (usize, String)> {
        let Some(first) = self.tried.get(self.carried_on).cloned() else { return Ok(()) };
        self.carried_on += 1;
        let spec = self.run(first.of, &[first.deviation, LISTING]);
        let Some(spec) = spec else { return Ok(()) };
        let moments = campaign.free_moments((first.of, &spec), &[first.deviation]);
        let moments = moments.map_err(|message| (spec.script, message))?;
        for second in moments.into_iter().take(MOST_SECOND) {
            if self.pairs.insert((first.place.clone(), second.place)) {
                self.second.extend(self.run(first.of, &[first.deviation, second.deviation]));
            }
        }
        Ok(())
    }
}

impl Source for Preemptions {
    fn strategy(&self) -> Strategy {
        Strategy::Preempt
    }

    fn about(&self) -> &'static str {
        "bounded preemptions"
    }

    fn propose(&mut self, campaign: &mut Campaign<'_>) -> Result<Vec<Spec>, (usize, String)> {
        self.list(campaign)?;
        let mut list = Vec::new();
        while list.len() < BATCH
            && let Some((_, next)) = self.waiting.pop_first()
        {
            list.extend(self.run(next.of, &[next.deviation]));
            self.tried.push(next);
        }
        if !list.is_empty() {
            self.proposed = (list.len(), false);
            return Ok(list);
        }
        while self.second.is_empty() && self.carried_on < self.tried.len() {
            if campaign.is_purse_empty() {
                return Ok(Vec::new());
            }
            self.expand(campaign)?;
        }
        let count = self.second.len().min(BATCH);
        self.proposed = (count, true);
        Ok(self.second.drain(..count).collect())
    }

    fn carried_out(&mut self, campaign: &mut Campaign<'_>) {
        let (count, is_second) = self.proposed;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let has_all =
            self.listed >= self.plain && self.waiting.values().all(|c| c.of >= self.plain);
        let guarantee = campaign.guarantee();
        if is_second {
            guarantee.second_preemptions = guarantee.second_preemptions.saturating_add(count);
            guarantee.has_all_pairs = self.second.is_empty() && self.carried_on == self.tried.len();
            return;
        }
        guarantee.first_preemptions = guarantee.first_preemptions.saturating_add(count);
        if has_all {
            let point = |c: &Candidate| (c.of, c.deviation.kind, c.deviation.ordinal);
            let plain = self.tried.iter().filter(|c| c.of < self.plain);
            let points: BTreeSet<(usize, u16, u32)> = plain.map(point).collect();
            guarantee.one_preemption = Some(points.len());
        }
    }
}

impl Campaign<'_> {
    /// The switches that are possible in a run that lists them, after those that it has already.
    fn free_moments(
        &mut self,
        (of, spec): (usize, &Spec),
        switches: &[Deviation],
    ) -> Result<Vec<Candidate>, String> {
        self.results.runs += 1;
        let run = self.run(spec.script, MarkSet::First, &spec.deviations)?;
        let moments = run.ledgers.preemptions();
        let is_taken =
            |m: &Preemption| switches.iter().any(|d| (d.kind, d.ordinal) == (m.kind, m.ordinal));
        let switched = run.ledgers.switch_points().iter().find(|at| at.point.is_switch);
        let after = match (moments.iter().rposition(|(m, _)| is_taken(m)), switched) {
            (Some(last), _) => last + 1,
            (None, Some(at)) => {
                moments.iter().position(|(_, o)| o.seq > at.origin.seq).unwrap_or(moments.len())
            }
            // The switch did not happen: everything else is the business of others.
            (None, None) if !switches.is_empty() => return Ok(Vec::new()),
            (None, None) => 0,
        };
        Ok(pruned(moments.iter().skip(after).map(|(moment, _)| moment), of))
    }

    /// Arrivals at instructions that touch what several lanes touch.
    fn shared_instructions(&mut self, of: usize, script: usize) -> Result<Vec<Candidate>, String> {
        let mut watch = Watch::default();
        self.results.runs += 1;
        let first = self.run_watched(script, MarkSet::First, &[], Some(&watch))?;
        if first.watched.pages.is_empty() {
            return Ok(Vec::new());
        }
        watch.pages.clone_from(&first.watched.pages);
        self.results.runs += 1;
        let second = self.run_watched(script, MarkSet::First, &[], Some(&watch))?;
        let kind = SWITCH_POINT.number;
        let touching = second.watched.touching.iter().filter_map(|&ip| self.rva_in_image(ip));
        let points: Vec<Deviation> = touching
            .take(MOST_INSTRUCTIONS)
            .map(|ordinal| Deviation { kind, ordinal, answer: NO_SWITCH })
            .collect();
        if points.is_empty() {
            return Ok(Vec::new());
        }
        self.results.runs += 1;
        let listed = self.run(script, MarkSet::First, &points)?;
        Ok(self.arrivals(of, &listed))
    }

    fn arrivals(&self, of: usize, listed: &RunResult) -> Vec<Candidate> {
        let mut met: BTreeMap<(u32, Who), u32> = BTreeMap::new();
        let mut list = Vec::new();
        for Arrival { origin, point, .. } in listed.ledgers.switch_points() {
            let SwitchPoint { who, reached, .. } = *point;
            let Some(rva) = self.rva_in_image(origin.ip) else { continue };
            let times = met.entry((rva, who)).or_default();
            *times += 1;
            if *times <= MOST_ARRIVALS {
                let kind = SWITCH_POINT.number;
                let deviation = Deviation { kind, ordinal: rva, answer: reached };
                let place = Place::Instruction { rva, who };
                list.push(Candidate { of, deviation, place });
            }
        }
        list
    }

    fn rva_in_image(&self, ip: GuestAddr) -> Option<u32> {
        let rva = u32::try_from(ip.0.checked_sub(self.image_base)?).ok()?;
        (rva < self.target.image.image_bytes()).then_some(rva)
    }
}

/// Every switch of these moments, but those at the same place only a few times.
fn pruned<'a>(moments: impl Iterator<Item = &'a Preemption>, of: usize) -> Vec<Candidate> {
    let mut met: BTreeMap<Place, u32> = BTreeMap::new();
    let mut list = Vec::new();
    for moment in moments {
        let mut nexts: Vec<Option<Who>> = moment.others.iter().copied().map(Some).collect();
        if nexts.is_empty() {
            nexts.push(None);
        }
        for (answer, next) in (1..).zip(nexts) {
            let place = Place::Call {
                moment: moment.moment,
                stack: moment.stack,
                who: moment.who,
                next,
                others_at: moment.others_at,
            };
            let times = met.entry(place.clone()).or_default();
            *times += 1;
            if *times <= MOST_PER_PLACE {
                let Preemption { kind, ordinal, .. } = *moment;
                let deviation = Deviation { kind, ordinal, answer };
                list.push(Candidate { of, deviation, place });
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use events::{FreeMoment, PREEMPTION, Preemption, ThreadId, Who};

    use super::{MOST_PER_PLACE, Preemptions, pruned};

    fn moment(ordinal: u32, stack: u64) -> Preemption {
        Preemption {
            kind: PREEMPTION.number,
            ordinal,
            moment: FreeMoment::BeforeCall("KeSetEvent"),
            stack,
            who: Who::Thread(ThreadId(1)),
            others: vec![Who::Thread(ThreadId(2)), Who::Dpcs(0)],
            others_at: 0,
            answer: 0,
        }
    }

    #[test]
    fn the_same_place_is_tried_a_few_times() {
        let loop_of_one: Vec<Preemption> = (0..10).map(|ordinal| moment(ordinal, 7)).collect();
        let list = pruned(loop_of_one.iter(), 0);
        assert_eq!(list.len(), 2 * MOST_PER_PLACE as usize, "each of the others");
        assert!(list.iter().all(|c| c.deviation.ordinal < MOST_PER_PLACE));
    }

    #[test]
    fn what_is_new_comes_first() {
        let script = |of, stacks: &[u64]| {
            let moments: Vec<Preemption> =
                (0..).zip(stacks).map(|(ordinal, &stack)| moment(ordinal, stack)).collect();
            pruned(moments.iter(), of)
        };
        let mut all = Preemptions::default();
        all.add(script(0, &[1, 2]));
        all.add(script(1, &[1, 3]));
        let scripts: Vec<usize> = all.waiting.values().map(|c| c.of).collect();
        // Stack 1 of the second script was met before: it comes last.
        assert_eq!(scripts, [0, 0, 0, 1, 0, 1, 1, 1]);
        assert!(all.waiting.values().skip(6).all(|c| c.deviation.ordinal == 0));
    }
}
