//! For each new touch of user memory, the run in which its page goes away just before.

use choice_tape::Deviation;
use events::USER_PAGE_GONE;

use crate::{Campaign, batch::Spec, campaign::Base};

impl Campaign<'_> {
    pub(crate) fn try_missing_pages(&mut self, bases: &[Base]) {
        let mut list = Vec::new();
        for (script, base) in bases {
            for touch in base.ledgers.fetches() {
                let record = touch.irp.and_then(|irp| base.ledgers.irp(irp));
                let (major, code) = record.map_or((0, 0), |r| (r.major, r.control_code));
                if self.fetches_tried.insert((touch.origin.ip, major, code)) {
                    let (kind, ordinal) = (USER_PAGE_GONE.number, touch.fetch.ordinal);
                    let deviations = vec![Deviation { kind, ordinal, answer: 1 }];
                    list.push(Spec { script: *script, deviations });
                }
            }
        }
        self.explore_batch(&list, |_, _| ());
    }
}
