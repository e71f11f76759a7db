//! A machine for tests: one driver, and callers that do what the test says.
//!
//! The test drives the friendly run and sees every answer. [`Machine::explore`] then repeats what
//! it did under all the other answers that a kernel may give, and reports broken rules.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use choice_tape::Tape;
use events::Silent;
use nt_abi::NtStatus;
use report::{Expectation, Outcome, Report};
use strategies::{Campaign, Plan, Settings, Target};
use system::{CallMode, Command, FileRef, InterruptLine, MachineConfig, Stopped, Tier};

use crate::{
    Buffer, CheckRequest, Driver, Listener, ReplayFile, Request, VERSION, check, replay_file,
};

/// Why a machine could not do what a test asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// The file is no driver, or the request makes no sense.
    #[error("{0}")]
    Input(String),
    /// The driver needs something that is not modelled; nothing is said against it.
    #[error("`{0}` is not modelled")]
    Unsupported(String),
    /// The system stopped with this bug check.
    #[error("the system stopped with bug check {0:#04X}")]
    BugCheck(u32),
    /// The call does not return: its thread waits for something that never comes.
    #[error("the call does not return")]
    Blocked,
    /// A bound was reached.
    #[error("the run reached its bound of {0}")]
    Limit(String),
    /// A bug of bugcheck itself.
    #[error("internal error: {0}")]
    Internal(String),
}

impl MachineError {
    /// What a run that ended so counts as.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Input(_) => Outcome::InputError,
            Self::Unsupported(_) => Outcome::Unsupported,
            Self::BugCheck(_) | Self::Blocked => Outcome::Findings,
            Self::Limit(_) => Outcome::LimitReached,
            Self::Internal(_) => Outcome::InternalError,
        }
    }
}

/// An open file of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File(pub(crate) FileRef);

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is complete.
    Done(Completion),
    /// The driver keeps it. Only on files opened by [`Machine::open_overlapped`].
    Pending,
}

/// A completed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Its status.
    pub status: NtStatus,
    /// `IoStatusBlock.Information`: bytes, for most requests.
    pub information: u64,
    /// The output buffer afterwards, all of it.
    pub output: Vec<u8>,
}

impl Reply {
    /// The status: `STATUS_PENDING` while the driver keeps the request.
    pub fn status(&self) -> NtStatus {
        match self {
            Self::Done(completion) => completion.status,
            Self::Pending => NtStatus::STATUS_PENDING,
        }
    }
}

/// A machine with one driver.
#[derive(Debug)]
pub struct Machine {
    driver: Driver,
    target: Target,
    inner: system::Machine,
    /// What the test did, for [`Machine::explore`].
    commands: Vec<Command>,
    files: u32,
    is_unloaded: bool,
}

impl Machine {
    /// Makes a machine and loads the driver: its image is mapped, its `DriverEntry` called.
    ///
    /// # Errors
    ///
    /// The file is no x64 driver, or `DriverEntry` failed or could not finish.
    pub fn load(driver: Driver) -> Result<Self, MachineError> {
        Self::load_with(driver, &[])
    }

    /// The same with a device of the driver's own, which raises these interrupts: when the test
    /// says so, or when the driver writes to a port.
    ///
    /// # Errors
    ///
    /// As for [`Machine::load`].
    pub fn load_with(driver: Driver, lines: &[InterruptLine]) -> Result<Self, MachineError> {
        let mut target = check::target(&driver).map_err(MachineError::Input)?;
        target.lines = lines.to_vec();
        let config = MachineConfig {
            image: Arc::clone(&target.image),
            image_name: target.name.clone(),
            fill: crate::FILL,
            limit_events: crate::DEFAULT_LIMIT_EVENTS,
            record: Vec::new(),
            trace: false,
            processors: crate::DEFAULT_PROCESSORS,
            lines: lines.to_vec(),
            tier: Tier::Interpreter,
        };
        let inner = guarded(|| system::Machine::new(config, Tape::default(), Box::new(Silent)))?;
        let (commands, files, is_unloaded) = (Vec::new(), 0, false);
        let mut machine = Self { driver, target, inner, commands, files, is_unloaded };
        match machine.execute(&Command::Load)?.status() {
            status if status.is_success() => Ok(machine),
            status => Err(MachineError::Input(format!("DriverEntry returned {status}"))),
        }
    }

    /// Opens a device by its NT path or by the path that programs use, such as `\\.\Zero`. Requests
    /// return when they are complete.
    pub fn open(&mut self, path: &str) -> Result<Result<File, NtStatus>, MachineError> {
        self.open_as(path, CallMode::Synchronous)
    }

    /// Opens a device for requests that may stay pending.
    pub fn open_overlapped(&mut self, path: &str) -> Result<Result<File, NtStatus>, MachineError> {
        self.open_as(path, CallMode::Overlapped)
    }

    fn open_as(
        &mut self,
        path: &str,
        mode: CallMode,
    ) -> Result<Result<File, NtStatus>, MachineError> {
        let file = self.new_file();
        let status = self.perform(Request::open_as(file, path, mode).command)?.status();
        Ok(if status.is_success() { Ok(file) } else { Err(status) })
    }

    /// A file that a caller is still to open, by [`Request::open`].
    pub fn new_file(&mut self) -> File {
        self.files += 1;
        File(FileRef(self.files))
    }

    /// Closes a handle.
    pub fn close(&mut self, file: File) -> Result<(), MachineError> {
        self.perform(Request::close(file).command).map(drop)
    }

    /// Reads into a buffer.
    pub fn read(&mut self, file: File, buffer: &Buffer) -> Result<Reply, MachineError> {
        self.perform(Request::read(file, buffer).command)
    }

    /// Writes from a buffer.
    pub fn write(&mut self, file: File, buffer: &Buffer) -> Result<Reply, MachineError> {
        self.perform(Request::write(file, buffer).command)
    }

    /// Sends a control code, as `DeviceIoControl` does.
    pub fn ioctl(
        &mut self,
        file: File,
        code: u32,
        input: &Buffer,
        output: &Buffer,
    ) -> Result<Reply, MachineError> {
        self.perform(Request::ioctl(file, code, input, output).command)
    }

    /// Cancels what is outstanding on a file, as `CancelIoEx` does.
    pub fn cancel(&mut self, file: File) -> Result<(), MachineError> {
        self.perform(Request::cancel(file).command).map(drop)
    }

    /// Makes requests at once, each from a thread of its own; which goes on when is up to the
    /// schedule. The replies are in the order of the requests.
    ///
    /// # Errors
    ///
    /// [`MachineError::Blocked`] if one of them does not return.
    pub fn together(&mut self, requests: &[Request]) -> Result<Vec<Reply>, MachineError> {
        let replies = self.at_once(list_of(requests))?;
        replies.into_iter().map(reply_of).collect()
    }

    /// Lets several callers act at once, each on a thread of its own that makes its requests one
    /// after the other, the first of which may open a file of [`Machine::new_file`]. The replies
    /// are in the order of the callers and of their requests.
    ///
    /// # Errors
    ///
    /// [`MachineError::Blocked`] if a request does not return; [`MachineError::Input`] for too many
    /// callers or requests of one.
    pub fn callers(&mut self, callers: &[Vec<Request>]) -> Result<Vec<Vec<Reply>>, MachineError> {
        let sequence = |requests: &Vec<Request>| Command::Sequence(list_of(requests));
        let replies = self.at_once(callers.iter().map(sequence).collect())?;
        let of_caller = |reply| match reply {
            system::Reply::Sequence(replies) => replies.into_iter().map(reply_of).collect(),
            other => Ok(vec![reply_of(other)?]),
        };
        replies.into_iter().map(of_caller).collect()
    }

    fn at_once(&mut self, commands: Vec<Command>) -> Result<Vec<system::Reply>, MachineError> {
        if let Some(problem) = Command::together_problem(&commands) {
            return Err(MachineError::Input(problem));
        }
        let command = Command::Together(commands);
        let reply = guarded(|| self.inner.execute(&command));
        self.commands.push(command);
        Ok(match reply? {
            system::Reply::Together(replies) => replies,
            other => vec![other],
        })
    }

    /// Lets virtual time pass, in milliseconds.
    pub fn sleep_ms(&mut self, time_ms: u32) -> Result<(), MachineError> {
        let time_100ns = u64::from(time_ms) * 10_000;
        self.perform(Command::Idle { time_100ns }).map(drop)
    }

    /// The device raises an interrupt now. Says whether a routine of the driver claimed it, once
    /// what it leads to has come to rest; false also if none is connected.
    pub fn interrupt(&mut self, vector: u32) -> Result<bool, MachineError> {
        let reply = self.perform(Command::Interrupt { vector, after_100ns: 0 })?;
        Ok(reply.status().is_success())
    }

    /// The device raises an interrupt after some microseconds of virtual time, in the middle of
    /// whatever runs then: the requests that the test makes next.
    pub fn interrupt_after_us(&mut self, vector: u32, time_us: u32) -> Result<(), MachineError> {
        let after_100ns = u64::from(time_us.max(1)) * 10;
        self.perform(Command::Interrupt { vector, after_100ns }).map(drop)
    }

    /// Unloads the driver, as `sc stop` does.
    ///
    /// # Errors
    ///
    /// [`MachineError::Input`] if it was asked to unload before.
    pub fn unload(&mut self) -> Result<(), MachineError> {
        if self.is_unloaded {
            return Err(MachineError::Input("the driver was asked to unload before".to_owned()));
        }
        let reply = self.perform(Command::Unload)?;
        self.is_unloaded = reply.status().is_success();
        Ok(())
    }

    /// Lines that the driver printed so far.
    pub fn debug_output(&self) -> &[String] {
        self.inner.debug_output()
    }

    /// Repeats what the test did under the other answers that a kernel may give, within the bounds
    /// of the request (its drivers are not looked at), and reports broken rules.
    ///
    /// # Errors
    ///
    /// One sentence about a request that makes no sense.
    pub fn explore(&self, request: &CheckRequest) -> Result<Report, String> {
        self.explore_expecting(request, &[], &mut check::go_on)
    }

    /// The same, with expectations of the friendly run that were not met.
    pub(crate) fn explore_expecting(
        &self,
        request: &CheckRequest,
        failed: &[Expectation],
        listener: &mut Listener<'_>,
    ) -> Result<Report, String> {
        let results = self.campaign(check::settings(request, self.plan())?);
        let mut heard =
            |run: &strategies::Progress<'_>| listener(&check::progress(&self.driver.path, run));
        let results = results.explore(&mut heard);
        let mut file = check::file_report(&self.driver, &self.target, &results, request.fail_on);
        if self.commands.is_empty() && file.not_exercised.is_none() {
            let reason = "no request was made; no routine but DriverEntry was called";
            file.not_exercised = Some(reason.to_owned());
        }
        if !failed.is_empty() {
            file.expectations = failed.to_vec();
            file.outcome = file.outcome.worse(Outcome::Findings);
        }
        Ok(Report::new(VERSION, request.seed, request.profile.name(), vec![file]))
    }

    /// Makes the run again that a token of [`Machine::explore`] names.
    ///
    /// # Errors
    ///
    /// One sentence about a token that belongs to another image, version or test.
    pub fn replay(&self, request: &CheckRequest, token: &str) -> Result<Report, String> {
        let (token, settings) = check::replay_settings(request, token, self.plan())?;
        let results = self.campaign(settings).replay(&token).map_err(|error| error.to_string())?;
        let file = check::file_report(&self.driver, &self.target, &results, request.fail_on);
        Ok(Report::new(VERSION, token.seed, token.profile().name(), vec![file]))
    }

    fn plan(&self) -> Plan {
        Plan::Given(vec![replay_file::test_script(self.commands.clone())])
    }

    /// Writes a file for each finding of [`Machine::explore`], to replay it with.
    pub fn replay_files(&self, request: &CheckRequest, report: &Report) -> Vec<ReplayFile> {
        replay_file::of_report(request, report, Some(&self.commands), &self.target.lines)
    }

    /// Requests made so far.
    pub(crate) fn request_count(&self) -> usize {
        self.commands.iter().map(|command| command.parts().len()).sum()
    }

    fn campaign(&self, settings: Settings) -> Campaign<'_> {
        Campaign::new(&self.target, settings)
    }

    /// Carries out a command and remembers it.
    fn perform(&mut self, command: Command) -> Result<Reply, MachineError> {
        let reply = self.execute(&command);
        self.commands.push(command);
        reply
    }

    fn execute(&mut self, command: &Command) -> Result<Reply, MachineError> {
        reply_of(guarded(|| self.inner.execute(command))?)
    }
}

fn list_of(requests: &[Request]) -> Vec<Command> {
    requests.iter().map(|request| request.command.clone()).collect()
}

fn reply_of(reply: system::Reply) -> Result<Reply, MachineError> {
    match reply {
        system::Reply::Done { status, information, output } => {
            Ok(Reply::Done(Completion { status, information, output }))
        }
        // Replies to several requests are taken apart where they were made.
        system::Reply::Pending | system::Reply::Together(_) | system::Reply::Sequence(_) => {
            Ok(Reply::Pending)
        }
        system::Reply::Blocked => Err(MachineError::Blocked),
    }
}

/// Works on a machine; a panic in it is our bug.
fn guarded<T>(work: impl FnOnce() -> Result<T, Stopped>) -> Result<T, MachineError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(stopped)) => Err(match stopped {
            Stopped::Violation => MachineError::Internal("nobody judges this run".to_owned()),
            Stopped::BugCheck { code, .. } => MachineError::BugCheck(code),
            Stopped::Unsupported { feature } => MachineError::Unsupported(feature),
            Stopped::Limit { what } => MachineError::Limit(what),
        }),
        Err(_) => Err(MachineError::Internal("a panic".to_owned())),
    }
}
