//! Bounded preemptions: every schedule that differs from the fair one in one switch, then in two.
//!
//! A first run per script lists the free moments: kernel calls, inline changes of the IRQL, and
//! instructions that touch pages which several lanes touch. At each of them each of the others goes
//! on once. Moments that were met least often before come first, over all scripts, so that a small
//! budget is spent on what is new; one place, with the same callers and with the others at the same
//! places, counts as the same and is tried a few times per script at most.
//!
//! Of the schedules with two switches those come first that soon go back to who was interrupted: he
//! acts on what he saw before, and the other one has done a part of what he does.

use std::collections::{BTreeMap, BTreeSet};

use choice_tape::Deviation;
use events::{FreeMoment, LIST_PREEMPTIONS, NO_SWITCH, Preemption, SWITCH_POINT, SwitchPoint, Who};
use verifier::Arrival;
use workloads::MarkSet;

use crate::{
    Campaign, Strategy,
    batch::Spec,
    portfolio::{Schedulable, Source},
    runner::RunResult,
};

/// Runs proposed at a time: of plain scripts, and of scripts that come with moves.
const BATCH: usize = 16;
const BATCH_WITH_MOVES: usize = 8;
/// How often the same place is tried per script.
const MOST_PER_PLACE: u32 = 2;
/// Arrivals of one lane at an instruction that are tried.
const MOST_ARRIVALS: u32 = 2;
/// Scripts that are listed before it is seen whether they show anything new.
const SCRIPTS_AT_ONCE: usize = 8;
/// Free moments of the second level per schedule of the first.
const MOST_SECOND: usize = 400;
/// Schedules of the first level that are carried on at a time.
const FIRSTS_AT_ONCE: usize = 32;

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

impl Place {
    /// Who is interrupted.
    fn who(&self) -> Who {
        match self {
            Self::Call { who, .. } | Self::Instruction { who, .. } => *who,
        }
    }

    /// Whether another one is interrupted here, so that this one goes on.
    fn goes_back_to(&self, first: Who) -> bool {
        match self {
            Self::Call { who, next, .. } => *who != first && *next == Some(first),
            // An instruction lets whoever stands at another one go on.
            Self::Instruction { who, .. } => *who != first,
        }
    }
}

/// How often each place was met, over all scripts.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetPlaces(BTreeMap<Place, u32>);

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
    scripts: Vec<Schedulable>,
    /// Whether they come with moves.
    has_moves: bool,
    /// How many were listed so far.
    listed: usize,
    /// Up to which of those that come with moves the shared instructions were listed.
    listed_instructions: usize,
    /// Switches of the first level that wait: how often their place was met before, their place in
    /// the run, that of the script.
    waiting: BTreeMap<(u32, usize, usize), Candidate>,
    /// Switches of the first level that were tried.
    tried: Vec<Candidate>,
    /// How many of those are carried on to the second level.
    carried_on: usize,
    /// Runs of the second level that wait: first those that go back to who was interrupted, then
    /// by how soon that is, then by the schedule of the first level.
    second: BTreeMap<(bool, usize, usize), Spec>,
    /// Pairs of places tried.
    pairs: BTreeSet<(Place, Place)>,
    /// The latest proposal, and whether it is of the second level.
    proposed: (usize, bool),
}

impl Preemptions {
    pub(crate) fn of_plain(scripts: &[Schedulable]) -> Self {
        Self { scripts: scripts.to_vec(), ..Self::default() }
    }

    pub(crate) fn with_moves(scripts: Vec<Schedulable>) -> Self {
        Self { scripts, has_moves: true, ..Self::default() }
    }

    /// Takes in the free moments of a script; `met` holds how often each place was met before.
    fn add(&mut self, met: &mut MetPlaces, candidates: Vec<Candidate>) {
        for (index, candidate) in candidates.into_iter().enumerate() {
            let times = met.0.entry(candidate.place.clone()).or_default();
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
        // Of those with moves, which are many, no more are listed at a time than are tried.
        let is_enough =
            |all: &Self| has_new(&all.waiting) || (all.has_moves && !all.waiting.is_empty());
        while !is_enough(self) && !campaign.is_purse_empty() {
            let end = (self.listed + SCRIPTS_AT_ONCE).min(self.scripts.len());
            if self.listed == end {
                return Ok(());
            }
            for of in std::mem::replace(&mut self.listed, end)..end {
                let Some(friendly) = self.run(of, &[LISTING]) else { continue };
                let of_script = |message| (friendly.script, message);
                let mut found = campaign.free_moments((of, &friendly)).map_err(of_script)?;
                let is_load = self.scripts.get(of).is_some_and(|one| one.is_load);
                if !self.has_moves && !is_load {
                    let run = Spec::friendly(friendly.script);
                    found.extend(campaign.shared_instructions(of, &run).map_err(of_script)?);
                }
                self.add(&mut campaign.places_met, found);
            }
        }
        Ok(())
    }

    /// Lists the shared instructions of scripts that come with moves, once nothing else waits.
    fn list_instructions(&mut self, campaign: &mut Campaign<'_>) -> Result<(), (usize, String)> {
        while self.has_moves && self.waiting.is_empty() && !campaign.is_purse_empty() {
            let of = self.listed_instructions;
            let Some(one) = self.scripts.get(of) else { return Ok(()) };
            self.listed_instructions += 1;
            if !one.is_load {
                let run = one.run(&[]);
                let found = campaign.shared_instructions(of, &run);
                let found = found.map_err(|message| (run.script, message))?;
                self.add(&mut campaign.places_met, found);
            }
        }
        Ok(())
    }

    /// The runs with two switches that begin with one of the first level.
    fn expand(&mut self, campaign: &mut Campaign<'_>) -> Result<(), (usize, String)> {
        let Some(first) = self.tried.get(self.carried_on).cloned() else { return Ok(()) };
        let number = self.carried_on;
        self.carried_on += 1;
        let Some(one) = self.scripts.get(first.of).cloned() else { return Ok(()) };
        let of_script = |message| (one.script, message);
        let mut listing = vec![first.deviation, LISTING];
        if !self.has_moves && !one.is_load {
            let (kind, own) = (SWITCH_POINT.number, first.deviation);
            let run = Spec::friendly(one.script);
            let touching = campaign.touching(&run).map_err(of_script)?.into_iter();
            let others = touching.filter(|rva| (own.kind, own.ordinal) != (kind, *rva));
            let reported = |ordinal| Deviation { kind, ordinal, answer: NO_SWITCH };
            listing.extend(others.map(reported));
        }
        let spec = one.run(&listing);
        let moments = campaign.later_moments((first.of, &spec), first.deviation);
        let moments = moments.map_err(of_script)?;
        for (index, second) in moments.into_iter().take(MOST_SECOND).enumerate() {
            let is_back = second.place.goes_back_to(first.place.who());
            if self.pairs.insert((first.place.clone(), second.place)) {
                let run = one.run(&[first.deviation, second.deviation]);
                self.second.insert((!is_back, index, number), run);
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
        if self.has_moves { "bounded preemptions beside moves" } else { "bounded preemptions" }
    }

    fn propose(&mut self, campaign: &mut Campaign<'_>) -> Result<Vec<Spec>, (usize, String)> {
        self.list(campaign)?;
        self.list_instructions(campaign)?;
        let most = if self.has_moves { BATCH_WITH_MOVES } else { BATCH };
        let mut list = Vec::new();
        while list.len() < most
            && let Some((_, next)) = self.waiting.pop_first()
        {
            list.extend(self.run(next.of, &[next.deviation]));
            self.tried.push(next);
        }
        if !list.is_empty() {
            self.proposed = (list.len(), false);
            return Ok(list);
        }
        // What goes back at once comes before all else, whatever schedule it carries on.
        let has_back = |second: &BTreeMap<(bool, usize, usize), Spec>| {
            second.first_key_value().is_some_and(|((is_other, ..), _)| !is_other)
        };
        while !has_back(&self.second) && self.carried_on < self.tried.len() {
            for _ in 0..FIRSTS_AT_ONCE {
                if campaign.is_purse_empty() {
                    return Ok(Vec::new());
                }
                self.expand(campaign)?;
            }
        }
        let next = std::iter::from_fn(|| self.second.pop_first().map(|(_, run)| run));
        let list: Vec<Spec> = next.take(most).collect();
        self.proposed = (list.len(), true);
        Ok(list)
    }

    fn carried_out(&mut self, campaign: &mut Campaign<'_>) {
        let (count, is_second) = self.proposed;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let guarantee = campaign.guarantee();
        let runs = match (self.has_moves, is_second) {
            (true, _) => &mut guarantee.preemptions_with_moves,
            (false, true) => &mut guarantee.second_preemptions,
            (false, false) => &mut guarantee.first_preemptions,
        };
        *runs = runs.saturating_add(count);
        if self.has_moves {
            return;
        }
        if is_second {
            guarantee.has_all_pairs = self.second.is_empty() && self.carried_on == self.tried.len();
        } else if self.listed >= self.scripts.len() && self.waiting.is_empty() {
            let point = |c: &Candidate| (c.of, c.deviation.kind, c.deviation.ordinal);
            let points: BTreeSet<(usize, u16, u32)> = self.tried.iter().map(point).collect();
            guarantee.one_preemption = Some(points.len());
        }
    }
}

impl Campaign<'_> {
    /// The switches that are possible in a run that lists them.
    fn free_moments(&mut self, (of, spec): (usize, &Spec)) -> Result<Vec<Candidate>, String> {
        self.results.runs += 1;
        let run = self.run(spec.script, MarkSet::First, &spec.deviations)?;
        Ok(pruned(run.ledgers.preemptions().iter().map(|(moment, _)| moment), of))
    }

    /// Those that are possible after a first one, in their order.
    fn later_moments(
        &mut self,
        (of, spec): (usize, &Spec),
        first: Deviation,
    ) -> Result<Vec<Candidate>, String> {
        self.results.runs += 1;
        let run = self.run(spec.script, MarkSet::First, &spec.deviations)?;
        let moments = run.ledgers.preemptions();
        let is_first = |m: &Preemption| (first.kind, first.ordinal) == (m.kind, m.ordinal);
        let taken = moments.iter().rfind(|(moment, _)| is_first(moment));
        let switched = run.ledgers.switch_points().iter().find(|at| at.point.is_switch);
        let switched = taken.map(|(_, origin)| origin).or(switched.map(|at| &at.origin));
        // The switch did not happen: everything else is the business of others.
        let Some(since) = switched.map(|origin| origin.seq) else { return Ok(Vec::new()) };
        let calls = moments.iter().filter(|(_, origin)| origin.seq > since);
        let mut list = Vec::new();
        for (moment, origin) in calls {
            list.extend(all_switches(moment, of).map(|candidate| (origin.seq, candidate)));
        }
        let points = run.ledgers.switch_points().iter();
        let points = points.filter(|at| !at.point.is_switch && at.origin.seq > since);
        list.extend(points.filter_map(|at| Some((at.origin.seq, self.arrival(of, at)?))));
        list.sort_by_key(|(seq, _)| *seq);
        Ok(pruned_places(list.into_iter().map(|(_, candidate)| candidate), MOST_PER_PLACE))
    }

    /// Arrivals at instructions that touch what several lanes touch.
    fn shared_instructions(&mut self, of: usize, run: &Spec) -> Result<Vec<Candidate>, String> {
        let Spec { script, deviations } = run;
        let script = *script;
        let kind = SWITCH_POINT.number;
        let points: Vec<Deviation> = self
            .touching(run)?
            .into_iter()
            .map(|ordinal| Deviation { kind, ordinal, answer: NO_SWITCH })
            .collect();
        if points.is_empty() {
            return Ok(Vec::new());
        }
        self.results.runs += 1;
        let points = [deviations.as_slice(), &points].concat();
        let listed = self.run(script, MarkSet::First, &points)?;
        Ok(self.arrivals(of, &listed))
    }

    fn arrivals(&self, of: usize, listed: &RunResult) -> Vec<Candidate> {
        let points = listed.ledgers.switch_points().iter();
        pruned_places(points.filter_map(|at| self.arrival(of, at)), MOST_ARRIVALS)
    }

    /// The switch at an arrival.
    fn arrival(&self, of: usize, at: &Arrival) -> Option<Candidate> {
        let SwitchPoint { who, reached, .. } = at.point;
        let rva = self.rva_of(at.origin.ip)?;
        let kind = SWITCH_POINT.number;
        let deviation = Deviation { kind, ordinal: rva, answer: reached };
        Some(Candidate { of, deviation, place: Place::Instruction { rva, who } })
    }
}

/// Every switch of these moments, but those at the same place only a few times.
fn pruned<'a>(moments: impl Iterator<Item = &'a Preemption>, of: usize) -> Vec<Candidate> {
    pruned_places(moments.flat_map(|moment| all_switches(moment, of)), MOST_PER_PLACE)
}

/// Those at the same place a few times at most.
fn pruned_places(candidates: impl Iterator<Item = Candidate>, most: u32) -> Vec<Candidate> {
    let mut met: BTreeMap<Place, u32> = BTreeMap::new();
    let is_new = |candidate: &Candidate| {
        let times = met.entry(candidate.place.clone()).or_default();
        *times += 1;
        *times <= most
    };
    candidates.filter(is_new).collect()
}

/// Every switch of a moment.
fn all_switches(moment: &Preemption, of: usize) -> impl Iterator<Item = Candidate> + '_ {
    let time = moment.others.is_empty().then_some(None);
    let nexts = moment.others.iter().copied().map(Some).chain(time);
    (1..).zip(nexts).map(move |(answer, next)| {
        let place = Place::Call {
            moment: moment.moment,
            stack: moment.stack,
            who: moment.who,
            next,
            others_at: moment.others_at,
        };
        let Preemption { kind, ordinal, .. } = *moment;
        Candidate { of, deviation: Deviation { kind, ordinal, answer }, place }
    })
}

#[cfg(test)]
mod tests {
    use events::{FreeMoment, PREEMPTION, Preemption, ThreadId, Who};

    use super::{MOST_PER_PLACE, MetPlaces, Place, Preemptions, pruned};

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
    fn a_switch_goes_back_to_who_was_interrupted() {
        let list = pruned([moment(0, 7)].iter(), 0);
        let back: Vec<bool> =
            list.iter().map(|c| c.place.goes_back_to(Who::Thread(ThreadId(2)))).collect();
        assert_eq!(back, [true, false]);
        assert!(list.iter().all(|c| !c.place.goes_back_to(c.place.who())));
        let instruction = Place::Instruction { rva: 0x1000, who: Who::Dpcs(0) };
        assert!(instruction.goes_back_to(Who::Thread(ThreadId(2))));
        assert!(!instruction.goes_back_to(Who::Dpcs(0)));
    }

    #[test]
    fn what_is_new_comes_first() {
        let script = |of, stacks: &[u64]| {
            let moments: Vec<Preemption> =
                (0..).zip(stacks).map(|(ordinal, &stack)| moment(ordinal, stack)).collect();
            pruned(moments.iter(), of)
        };
        let mut all = Preemptions::default();
        let mut met = MetPlaces::default();
        all.add(&mut met, script(0, &[1, 2]));
        all.add(&mut met, script(1, &[1, 3]));
        let scripts: Vec<usize> = all.waiting.values().map(|c| c.of).collect();
        // Stack 1 of the second script was met before: it comes last.
        assert_eq!(scripts, [0, 0, 0, 1, 0, 1, 1, 1]);
        assert!(all.waiting.values().skip(6).all(|c| c.deviation.ordinal == 0));
    }
}
