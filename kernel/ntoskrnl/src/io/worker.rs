//! System worker threads: waiting unloads, work items, deferred deletions.

use events::ThreadId;

use super::service;
use crate::{CallResult, Kernel, ke::ThreadState, ps};

/// Worker threads at most. A driver that blocks more than these waits for itself, as it may on
/// Windows.
const MOST_WORKERS: usize = 16;

/// Gives waiting work to an idle system worker thread; says whether there was any.
///
/// Called by the run loop while no thread is current.
pub(crate) fn start_work(k: &mut Kernel) -> CallResult<bool> {
    if !service::has_system_work(k) {
        return Ok(false);
    }
    let Some(worker) = idle_worker(k)? else { return Ok(false) };
    k.begin(worker, service::system_work)?;
    Ok(true)
}

fn idle_worker(k: &mut Kernel) -> CallResult<Option<ThreadId>> {
    let is_idle = |id: &ThreadId| k.ke.thread(*id).state == ThreadState::Idle;
    if let Some(&id) = k.io.workers.iter().find(|id| is_idle(id)) {
        return Ok(Some(id));
    }
    if k.io.workers.len() >= MOST_WORKERS {
        return Ok(None);
    }
    // Component tests have no processes.
    let Some(process) = crate::ob::system_process(k) else { return Ok(None) };
    let id = ps::create_thread(k, process, true)?;
    k.io.workers.push(id);
    Ok(Some(id))
}
