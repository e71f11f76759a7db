//! System worker threads: waiting unloads, work items, deferred deletions.
//!
//! A piece of work that is queued wakes a thread, so that work runs beside whoever queued it, and
//! one that blocks does not stop the others.

use events::ThreadId;

use super::service;
use crate::{
    Activation, CallResult, Flow, Kernel, ex, frame, ke::ThreadState, ob, ps, registers::RSP,
};

/// Worker threads at most: "a limited number of system worker threads" ("System Worker Threads").
/// A driver that blocks more than these waits for itself.
const MOST_WORKERS: usize = 16;

/// Wakes an idle worker thread, if there is one or may be one more. Its priority is that of the
/// work at the head of the queue.
pub(crate) fn wake(k: &mut Kernel) -> CallResult<()> {
    let Some(worker) = idle_worker(k)? else { return Ok(()) };
    let priority = ex::next_priority(k);
    let thread = k.ke.thread_mut(worker);
    thread.priority = priority.unwrap_or(thread.priority);
    thread.regs = cpu::Registers::new();
    thread.regs.gpr[RSP] = thread.first_rsp();
    thread.result = None;
    thread.activations.push(Activation::Frame(Box::new(Working)));
    thread.wake = Some(0);
    k.ke.make_ready(worker);
    Ok(())
}

/// A worker thread between two pieces of work.
#[derive(Clone, Debug)]
struct Working;

frame!(Working, |this, k, _| {
    let flow = match ex::take_work(k) {
        Some(work) => {
            if let Some(id) = k.core().thread {
                k.ke.thread_mut(id).priority = work.queue.priority();
            }
            work.routine.resume(k, 0)?
        }
        None if ob::has_deferred_deletions(k) => ob::run_deferred_deletions(k)?,
        None => return Ok(Flow::Return(0)),
    };
    flow.then(k, this)
});

/// Gives work that woke nobody to an idle worker thread; says whether there was any.
///
/// Called by the run loop while nothing else can run.
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
    let Some(process) = ob::system_process(k) else { return Ok(None) };
    let id = ps::create_thread(k, process, true)?;
    k.io.workers.push(id);
    Ok(Some(id))
}
