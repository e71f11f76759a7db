//! Learns what requests come to behind others: a session that is opened before it is used, a
//! transfer that begins before its blocks, in up to three steps.
//!
//! A chain is a list of requests on one file that are served in that order. Behind it those
//! requests are made that were refused alone, in the form that came farthest, and then in the usual
//! ones. What leads to code that no other request reached, or is served, is followed with the
//! numbers that are compared there. The runs are few, so they go first to the chain that promises
//! most: the one with the most requests whose contents were learned, and then with the most new
//! code.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use workloads::{Answer, Base, Behind, Comparison, Form, Lesson, Request, next_forms};

use crate::learn::{Note, Progress, Pupil, Seen};

/// Runs, and their events.
const MOST_RUNS: u32 = 240;
const MOST_EVENTS: u64 = 1_000_000;
/// Requests of a chain, with the last one.
const LONGEST: usize = 3;
/// Runs that follow what one request showed behind one chain.
const MOST_OF_A_REQUEST: u32 = 24;
/// Forms of a kind with which chains begin.
const MOST_BEGINNINGS: usize = 3;
/// Forms of a kind that came far and were refused.
const MOST_REFUSED: usize = 3;
/// Usual forms of a kind that was refused alone.
const MOST_USUAL: usize = 4;
/// What is kept of a kind, and of all kinds.
const MOST_BEHIND: usize = 4;
const MOST_BEHIND_AT_ALL: usize = 24;

/// What is tried behind a chain, each when nothing before it is left to try behind any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    /// The form of each request that came farthest and was refused.
    Farthest,
    /// Further forms that were refused.
    Refused,
    /// Requests that are served alone as well.
    Served,
}

/// Requests that are served one after the other.
#[derive(Clone)]
struct Chain<'n, 'l> {
    /// The last of them.
    lesson: &'n Lesson<'l>,
    requests: Vec<(Request, Form)>,
    /// What is compared on their way.
    compared: BTreeSet<Comparison>,
}

/// What comes first: the round, then requests with learned contents and new code, then whatever was
/// found first.
type Rank = (Round, Reverse<(usize, usize)>, usize);

/// Where what is learned of chains is kept.
struct Search<'n, 'l> {
    notes: &'n [Note<'l>],
    waiting: BTreeMap<Rank, Chain<'n, 'l>>,
    /// How many chains there were.
    chains: usize,
    end_runs: u32,
    end_events: u64,
    /// How much is kept.
    kept: usize,
}

/// A request that came to something behind a chain.
struct Found {
    behind: Behind,
    is_stopped: bool,
}

impl<'l> Note<'l> {
    /// Forms that are served alone: those that led to other code, the last first, or else the one
    /// that was made first.
    fn beginnings(&self) -> Vec<(&Form, usize)> {
        let is_served =
            |form: &Form| self.made.get(form).is_some_and(|(answer, _)| *answer == Answer::Served);
        let telling = self.telling.iter().map(|(form, new_code)| (form, *new_code));
        let served: Vec<_> = telling.filter(|(form, _)| is_served(form)).collect();
        if !served.is_empty() {
            return served.into_iter().rev().take(MOST_BEGINNINGS).collect();
        }
        let usual = self.lesson.first_forms();
        let made = self.made.keys();
        let mut served: Vec<&Form> = made.filter(|form| is_served(form)).collect();
        served.sort_by_key(|form| usual.iter().position(|usual| usual == *form));
        served.into_iter().take(1).map(|form| (form, 0)).collect()
    }
}

impl<'n, 'l> Search<'n, 'l> {
    /// Begins with the requests that are served alone.
    fn new(notes: &'n [Note<'l>], (runs, events): (u32, u64)) -> Self {
        let mut search = Self {
            notes,
            waiting: BTreeMap::new(),
            chains: 0,
            end_runs: runs.saturating_add(MOST_RUNS),
            end_events: events.saturating_add(MOST_EVENTS),
            kept: 0,
        };
        for note in notes {
            let lesson = &note.lesson;
            for (form, new_code) in note.beginnings() {
                let requests = vec![(lesson.request, form.clone())];
                let compared = note.made.get(form).map(|(_, compared)| compared.clone());
                let compared = compared.unwrap_or_default();
                search.add(Chain { lesson, requests, compared }, new_code);
            }
        }
        search
    }

    fn add(&mut self, chain: Chain<'n, 'l>, new_code: usize) {
        let learned = chain.requests.iter().filter(|(_, form)| !form.fields.is_empty()).count();
        let rank = (Round::Farthest, Reverse((learned, new_code)), self.chains);
        self.chains += 1;
        self.waiting.insert(rank, chain);
    }

    /// The chain that promises most, and what to try behind it.
    fn next(&mut self) -> Option<(Round, Chain<'n, 'l>)> {
        let ((round, promise, number), chain) = self.waiting.pop_first()?;
        let next = match round {
            Round::Farthest => Some(Round::Refused),
            Round::Refused => Some(Round::Served),
            Round::Served => None,
        };
        if let Some(next) = next {
            self.waiting.insert((next, promise, number), chain.clone());
        }
        Some((round, chain))
    }
}

impl Pupil<'_> {
    /// Learns what requests come to behind others. Whatever goes wrong ends it.
    pub(crate) fn learn_chains(&mut self, notes: &[Note<'_>]) -> Option<()> {
        let mut search = Search::new(notes, (self.runs, self.events));
        while let Some((round, chain)) = search.next() {
            for note in search.notes {
                if !note.lesson.is_beside(chain.lesson) {
                    continue;
                }
                for form in self.forms(note, round) {
                    self.try_behind(&mut search, &chain, note, form)?;
                }
            }
        }
        Some(())
    }

    /// What is tried of a kind in a round.
    fn forms(&self, note: &Note<'_>, round: Round) -> Vec<Form> {
        let known = self.learned.get(&note.lesson.key());
        let answer = known.map(|known| known.answer).unwrap_or_default();
        let is_refused = |form: &&Form| {
            note.made.get(*form).is_some_and(|(answer, _)| *answer != Answer::Served)
        };
        let refused = note.telling.iter().rev().map(|(form, _)| form).filter(is_refused);
        let refused: Vec<Form> = refused.take(MOST_REFUSED).cloned().collect();
        let usual = note.lesson.first_forms().into_iter().take(MOST_USUAL);
        let usual = usual.filter(|form| answer == Answer::Refused && !refused.contains(form));
        let is_served_behind = known.is_some_and(|known| known.served_behind().is_some());
        match round {
            Round::Farthest => refused.iter().cloned().chain(usual).take(1).collect(),
            Round::Refused if is_served_behind => Vec::new(),
            Round::Refused => refused.iter().cloned().chain(usual).skip(1).collect(),
            Round::Served => note.beginnings().into_iter().map(|(form, _)| form.clone()).collect(),
        }
    }

    /// Makes a request behind a chain, and follows what it shows.
    fn try_behind<'n, 'l>(
        &mut self,
        search: &mut Search<'n, 'l>,
        chain: &Chain<'n, 'l>,
        note: &'n Note<'l>,
        form: Form,
    ) -> Option<()> {
        let lesson = &note.lesson;
        let known = self.learned.get(&lesson.key());
        // Of a kind that is served anyway, only new code says anything.
        let mut is_served_else = known
            .is_some_and(|known| known.answer == Answer::Served || known.served_behind().is_some());
        let mut old = chain.compared.clone();
        old.extend(note.made.get(&form).into_iter().flat_map(|(_, compared)| compared));
        let mut planned = BTreeSet::from([form.clone()]);
        let mut waiting: VecDeque<(Form, Option<Progress>)> = VecDeque::from([(form, None)]);
        let mut found: Vec<Found> = Vec::new();
        let end = search.end_runs.min(self.runs.saturating_add(MOST_OF_A_REQUEST));
        while let Some((form, before)) = waiting.pop_front() {
            if self.runs >= end || self.events >= search.end_events {
                break;
            }
            let seen = self.ask(lesson, &chain.requests, &form)?;
            let Seen { answer, status, new_code, is_stopped, compared } = seen;
            let is_served = answer == Answer::Served;
            // A second run that ends says nothing new.
            let is_first_stop = is_stopped && !found.iter().any(|found| found.is_stopped);
            let is_found = new_code > 0 || is_first_stop || is_served && !is_served_else;
            let progress = (status, compared.len());
            if is_found || before != Some(progress) {
                let fresh: Vec<Comparison> =
                    compared.iter().filter(|pair| !old.contains(pair)).copied().collect();
                let next = next_forms(&form, &fresh).into_iter();
                let next = next.filter(|form| planned.insert(form.clone()));
                let next: Vec<_> = next.map(|form| (form, Some(progress))).collect();
                next.into_iter().rev().for_each(|form| waiting.push_front(form));
            }
            if !is_found {
                continue;
            }
            // Numbers of the input are seen in forms whose numbers all differ.
            let marked = Form { base: Base::Marks, ..form.clone() };
            let further = [marked].into_iter().chain(lesson.first_forms());
            let further = further.filter(|form| planned.insert(form.clone()));
            waiting.extend(further.map(|form| (form, None)));
            is_served_else |= is_served;
            let before = chain.requests.clone();
            let behind = Behind { before, form: form.clone(), is_served };
            found.push(Found { behind, is_stopped });
            if is_served && chain.requests.len() + 1 < LONGEST {
                let mut requests = chain.requests.clone();
                requests.push((lesson.request, form));
                let compared = compared.into_iter().collect();
                search.add(Chain { lesson, requests, compared }, new_code);
            }
        }
        self.keep(search, lesson, found);
        Some(())
    }

    /// Keeps the first that ended the run, the first that was served, and the one that came
    /// farthest.
    fn keep(&mut self, search: &mut Search<'_, '_>, lesson: &Lesson<'_>, found: Vec<Found>) {
        let stopped = found.iter().position(|found| found.is_stopped);
        let served = found.iter().position(|found| found.behind.is_served);
        let kept = [stopped, served, found.len().checked_sub(1)];
        let known = self.learned.entry(lesson.key()).or_default();
        for (index, Found { behind, .. }) in found.into_iter().enumerate() {
            let is_room = known.behind.len() < MOST_BEHIND && search.kept < MOST_BEHIND_AT_ALL;
            if kept.contains(&Some(index)) && is_room {
                search.kept += 1;
                known.behind.push(behind);
            }
        }
        known.behind.sort_by_key(|behind| !behind.is_served);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use system::{DeviceAccess, DeviceInfo};
    use workloads::{Answer, Facts, Form, Learned, Lesson, Request, lessons};

    use super::{Round, Search};
    use crate::learn::Note;

    const CODES: [u32; 2] = [0x22_2000, 0x22_2004];

    /// What came of a kind of request whose usual form led to new code, as did one with a learned
    /// number if there is one.
    fn note(lesson: Lesson<'_>, learned: Option<u64>) -> Note<'_> {
        let usual = lesson.first_forms().remove(0);
        let with_number = learned.map(|number| {
            let fields = BTreeMap::from([((0, 4), number)]);
            Form { fields, ..usual.clone() }
        });
        let forms = [usual].into_iter().chain(with_number);
        let telling: Vec<(Form, usize)> = forms.map(|form| (form, 1)).collect();
        let served = |form: &Form| (form.clone(), (Answer::Served, BTreeSet::new()));
        let made = telling.iter().map(|(form, _)| served(form)).collect();
        Note { lesson, made, telling }
    }

    #[test]
    fn the_chain_with_learned_contents_comes_first_and_what_came_far_before_the_usual() {
        let facts = Facts { codes: CODES.to_vec(), ..Facts::default() };
        let devices = [DeviceInfo {
            name: r"\Device\Sample".into(),
            links: Vec::new(),
            device_type: 0x22,
            flags: 4,
            is_exclusive: false,
            access: DeviceAccess::Default,
        }];
        let nothing = Learned::default();
        let controls = lessons(&facts, &devices, &nothing).into_iter();
        let controls = controls.filter(|lesson| matches!(lesson.request, Request::Control(_)));
        let notes: Vec<_> = controls.zip([None, Some(7)]).map(|(l, n)| note(l, n)).collect();
        let mut search = Search::new(&notes, (0, 0));
        let mut order = Vec::new();
        while let Some((round, chain)) = search.next() {
            let (request, form) = &chain.requests[0];
            order.push((round, *request, form.fields.len()));
        }
        let [first, second] = CODES.map(Request::Control);
        let each = [Round::Farthest, Round::Refused, Round::Served];
        let each = each.map(|round| [(round, second, 1), (round, first, 0), (round, second, 0)]);
        assert_eq!(order, each.concat());
    }
}
