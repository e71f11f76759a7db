//! What the worker gives up before the first guest instruction.
//!
//! Containment does not rest on this: translated code cannot make a system call (see
//! `docs/engine.md`). It bounds what a mistake of ours would be worth. The process may work in
//! memory that it has or asks for anew, talk through the pipes that it has, and end. It cannot open
//! a file, reach a network, start or stop anything, or make memory executable.

/// Gives it up for all threads and for good. `Err`: one sentence.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn enter() -> Result<(), String> {
    Err("this host has no place for the translator's process".to_owned())
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use linux::enter;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::{collections::BTreeMap, fs, io};

    use libc::c_long;
    use rustix::process::{Resource, Rlimit, setrlimit};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
        SeccompCondition as Condition, SeccompFilter, SeccompRule, TargetArch,
    };

    /// Largest file: the frames of a machine with their states.
    const FILE_BYTES: u64 = 1 << 30;
    /// Open files: three pipes, the code cache, and the frames of each machine.
    const FILES: u64 = 256;

    /// System calls that may be made with any arguments.
    const ALLOWED: [c_long; 26] = [
        // The pipes to the parent.
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_close,
        // Memory of its own; frames are memory files without a name.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_memfd_create,
        libc::SYS_ftruncate,
        libc::SYS_fstat,
        // Threads wait for each other; the allocator counts processors.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_restart_syscall,
        // Faults of translated code.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        // The end.
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    pub(crate) fn enter() -> Result<(), String> {
        bound().map_err(|error| format!("the worker process cannot be bounded: {error}"))?;
        let filter = filter()
            .map_err(|error| format!("the list of allowed system calls is wrong: {error}"))?;
        match seccompiler::apply_filter_all_threads(&filter) {
            Ok(()) => Ok(()),
            Err(error) if is_refused(&error) && !has_filters() => Ok(()),
            Err(error) => Err(format!("the worker process cannot be contained: {error}")),
        }
    }

    /// Whether this Linux was built with filters of system calls. Source: `proc_pid_status(5)`.
    fn has_filters() -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().any(|line| line.starts_with("Seccomp:"))
    }

    /// Whether it was refused as something unknown.
    fn is_refused(error: &seccompiler::Error) -> bool {
        let code = match error {
            seccompiler::Error::Seccomp(error) => error.raw_os_error(),
            _ => None,
        };
        matches!(code, Some(libc::ENOSYS | libc::EINVAL))
    }

    fn bound() -> io::Result<()> {
        let rows = [
            // What it held is in no file after its end.
            (Resource::Core, 0),
            (Resource::Nproc, 0),
            (Resource::Memlock, 0),
            (Resource::Msgqueue, 0),
            (Resource::Fsize, FILE_BYTES),
            (Resource::Nofile, FILES),
        ];
        for (resource, most) in rows {
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        Ok(())
    }

    fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
        let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
            ALLOWED.into_iter().map(|number| (number, Vec::new())).collect();
        // Memory is never made executable: the code cache is there already.
        let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
        for number in [libc::SYS_mmap, libc::SYS_mprotect] {
            let is_data = Condition::new(2, Length::Qword, Is::MaskedEq(executable), 0)?;
            rules.insert(number, vec![SeccompRule::new(vec![is_data])?]);
        }
        // What a file is, by its descriptor: no name leads anywhere.
        let no_name = u64::from(libc::AT_EMPTY_PATH.cast_unsigned());
        let by_descriptor = Condition::new(3, Length::Dword, Is::Eq, no_name)?;
        rules.insert(libc::SYS_newfstatat, vec![SeccompRule::new(vec![by_descriptor])?]);
        // Rust asks whether what it closes is open.
        let is_open = u64::from(libc::F_GETFD.cast_unsigned());
        let asks = Condition::new(1, Length::Dword, Is::Eq, is_open)?;
        rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(vec![asks])?]);
        // `abort` says by a signal to itself that it gave up.
        let own = u64::from(std::process::id());
        let abort = u64::from(libc::SIGABRT.cast_unsigned());
        let to_itself = vec![
            Condition::new(0, Length::Dword, Is::Eq, own)?,
            Condition::new(2, Length::Dword, Is::Eq, abort)?,
        ];
        rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(to_itself)?]);
        let (allow, kill) = (SeccompAction::Allow, SeccompAction::KillProcess);
        SeccompFilter::new(rules, kill, allow, TargetArch::x86_64)?.try_into()
    }
}
