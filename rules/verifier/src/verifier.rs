//! The listener of a run: hands every event to the monitors that hear its kind.

use std::any::Any;

use events::{Event, EventKind, Observer, Origin, Verdict};
use saved::Keep;

use crate::{Findings, Ledgers, Moment, Monitor, RawFinding, Rule, ledgers::LedgersCopy, monitor};

/// How the verifier behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Go on after a violation. What follows may be its consequence.
    pub keep_going: bool,
    /// Rules that are off: they are judged all the same, because others yield to them, but never
    /// stop a run.
    pub without: Vec<&'static Rule>,
}

/// Judges a run. Part of the machine's state, so it goes back with it.
#[derive(Debug)]
pub struct Verifier {
    // Configuration
    options: Options,
    // Wiring: for each kind of event, the monitors that hear it.
    heard: Vec<Vec<usize>>,
    // State
    monitors: Vec<Box<dyn Monitor>>,
    ledgers: Ledgers,
    findings: Findings,
}

impl Verifier {
    /// Makes a verifier of these monitors.
    pub fn new(options: Options, monitors: Vec<Box<dyn Monitor>>) -> Self {
        let mut heard = vec![Vec::new(); EventKind::ALL.len()];
        for (index, monitor) in monitors.iter().enumerate() {
            for kind in monitor.hears() {
                if let Some(list) = heard.get_mut(*kind as usize) {
                    list.push(index);
                }
            }
        }
        Self {
            options,
            heard,
            monitors,
            ledgers: Ledgers::default(),
            findings: Findings::default(),
        }
    }

    /// Lists what was found.
    pub fn findings(&self) -> &[RawFinding] {
        self.findings.as_slice()
    }

    /// Shows the shared facts.
    pub fn ledgers(&self) -> &Ledgers {
        &self.ledgers
    }
}

/// What a snapshot has of a verifier.
#[derive(Debug)]
struct VerifierCopy {
    /// The monitors that note anything.
    monitors: Vec<(usize, Box<dyn Monitor>)>,
    ledgers: LedgersCopy,
    findings: Findings,
}

impl Observer for Verifier {
    fn observe(&mut self, origin: &Origin, event: &Event) -> Verdict {
        let mark = self.findings.begin(*origin);
        let at = Moment { origin, ledgers: &self.ledgers };
        let heard = self.heard.get(event.kind() as usize).map_or(&[][..], Vec::as_slice);
        for &index in heard {
            if let Some(listener) = self.monitors.get_mut(index) {
                monitor::deliver(listener.as_mut(), event, at, &mut self.findings);
            }
        }
        self.ledgers.note(origin, event);
        if self.findings.wants_stop_since(mark, &self.options.without) && !self.options.keep_going {
            Verdict::Stop
        } else {
            Verdict::Continue
        }
    }

    fn capture(&mut self) -> Box<dyn Any + Send> {
        let monitors = self.monitors.iter().enumerate();
        let noting = monitors.filter(|(_, monitor)| size_of_val(monitor.as_ref()) > 0);
        Box::new(VerifierCopy {
            monitors: noting.map(|(index, monitor)| (index, monitor.boxed_clone())).collect(),
            ledgers: self.ledgers.capture(),
            findings: self.findings.clone(),
        })
    }

    fn restore(&mut self, copy: &(dyn Any + Send)) {
        let copy: &VerifierCopy = copy.downcast_ref().expect("a copy of its own");
        for (index, monitor) in &copy.monitors {
            if let Some(own) = self.monitors.get_mut(*index) {
                *own = monitor.boxed_clone();
            }
        }
        self.ledgers.restore(&copy.ledgers);
        self.findings.clone_from(&copy.findings);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
