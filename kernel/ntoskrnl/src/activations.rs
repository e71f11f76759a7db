//! Carries flows on: through frames, calls and waits, down to the end of a thread's service.

use events::ThreadId;
use guest_memory::GuestAddr;

use crate::{
    Activation, Call, CallResult, Flow, Kernel, Stop, frame, io,
    ke::{SpinState, ThreadState},
    ps,
    registers::RSP,
};

/// The APCs of a thread that ends are run down; its requests are cancelled.
#[derive(Clone, Debug)]
struct CancelRequests {
    of: ThreadId,
}
frame!(CancelRequests, |this, k, _| { io::service::end_thread(k, this.of)?.then(k, EndNow) });

/// The thread is gone.
#[derive(Clone, Debug)]
struct EndNow;
frame!(EndNow, |_, _, _| Ok(Flow::Terminate));

impl Kernel {
    /// Carries a flow on until guest code runs, the thread waits, or its service is finished.
    pub(crate) fn apply(&mut self, mut flow: CallResult<Flow>) -> CallResult<()> {
        loop {
            let value = match flow {
                Ok(Flow::Return(value)) => value,
                Ok(Flow::Call(call, frames)) => {
                    self.push_frames(frames);
                    return self.enter(&call);
                }
                Ok(Flow::Wait(wait, frames)) => {
                    self.push_frames(frames);
                    if let Some(apc) = self.apc_before_wait(&wait) {
                        flow = apc;
                        continue;
                    }
                    match self.block(wait)? {
                        Some(status) => u64::from(status.0),
                        None => return Ok(()),
                    }
                }
                Ok(Flow::Spin(on, frames)) => {
                    self.push_frames(frames);
                    let id = self.core().thread.expect("a thread spins");
                    self.ke.set_spin(id, Some(SpinState { on, is_vain: true }));
                    return Ok(());
                }
                Ok(Flow::Resume) => return Ok(()),
                Ok(Flow::Terminate) if self.current_thread().is_ending => {
                    let id = self.core().thread.expect("a thread ends");
                    self.end_thread()?;
                    return ps::thread_ended(self, id);
                }
                Ok(Flow::Terminate) => {
                    let requests = self.core().thread.expect("a thread ends");
                    let ending = self.begin_thread_end();
                    self.core_mut().call = None;
                    flow = ending.and_then(|flow| flow.then(self, CancelRequests { of: requests }));
                    continue;
                }
                Err(Stop::Exception(exception)) => {
                    flow = self.raise_from_frame(exception);
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            match self.activations().pop() {
                None => {
                    if self.current_thread().apcs.is_user_due() {
                        return Err(Stop::unsupported("a user APC's routine in user mode"));
                    }
                    self.finish_service(value);
                    return Ok(());
                }
                Some(Activation::Export(regs, name)) => {
                    // The export may have changed the IRQL; nothing else of the processor.
                    self.restore_registers(*regs);
                    let from = self.return_address()?;
                    return self.finish_export(value, (name, from));
                }
                Some(Activation::Interrupted(regs) | Activation::Raised(regs)) => {
                    self.restore_registers(*regs);
                    return Ok(());
                }
                Some(Activation::Frame(frame)) => {
                    self.core_mut().call = self.enclosing_call();
                    flow = frame.resume(self, value);
                    self.core_mut().call = None;
                }
                Some(Activation::Entry { .. }) => {
                    unreachable!("a value arrived while a guest routine is still running")
                }
            }
        }
    }

    /// The export on whose behalf the innermost frames run, and its caller.
    fn enclosing_call(&mut self) -> Option<Call> {
        let found = self.activations().iter().rev().find_map(|activation| match activation {
            Activation::Export(regs, name) => Some(Some((regs.gpr[RSP], *name))),
            Activation::Frame(_) => None,
            _ => Some(None),
        });
        let (rsp, name) = found.flatten()?;
        let mut bytes = [0; 8];
        let machine = guest_memory::Accessor::Machine;
        self.memory.read(machine, GuestAddr(rsp), &mut bytes).ok()?;
        Some(self.call_at(rsp, name, GuestAddr(u64::from_le_bytes(bytes))))
    }

    /// Frames come innermost first.
    fn push_frames(&mut self, frames: Vec<Box<dyn crate::Frame>>) {
        let activations = self.activations();
        activations.extend(frames.into_iter().rev().map(Activation::Frame));
    }

    /// The thread's service has its result.
    fn finish_service(&mut self, value: u64) {
        let id = self.core().thread.expect("a service runs on a thread");
        self.put_away(ThreadState::Idle);
        let t = self.ke.thread_mut(id);
        t.state = ThreadState::Idle;
        t.result = Some(value);
        self.core_mut().thread = None;
    }
}
