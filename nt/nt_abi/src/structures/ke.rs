//! Structures of Ke: dispatcher objects, exceptions, processor control.

use crate::layout::structure;

structure! {
    /// Header of every dispatcher object. Source: `wdm/ns-wdm-_dispatcher_header`.
    DISPATCHER_HEADER: 0x18 {
        Type: u8 = 0x00,
        /// Of timers: set while periodic or queued; of mutants: abandoned lies elsewhere.
        Signalling: u8 = 0x01,
        /// In 4-byte units.
        Size: u8 = 0x02,
        /// Of timers: 1 while queued.
        Inserted: u8 = 0x03,
        SignalState: i32 = 0x04,
        WaitListFlink: u64 = 0x08,
        WaitListBlink: u64 = 0x10,
    }
}

structure! {
    /// Event. Source: `wdm.h`, `KEVENT`.
    KEVENT: 0x18 {
        SignalState: i32 = 0x04,
    }
}

structure! {
    /// Semaphore. Source: `wdm.h`, `KSEMAPHORE`.
    KSEMAPHORE: 0x20 {
        SignalState: i32 = 0x04,
        Limit: i32 = 0x18,
    }
}

structure! {
    /// Mutex. Source: `wdm.h`, `KMUTANT`.
    KMUTANT: 0x38 {
        SignalState: i32 = 0x04,
        MutantListFlink: u64 = 0x18,
        MutantListBlink: u64 = 0x20,
        OwnerThread: u64 = 0x28,
        Abandoned: u8 = 0x30,
        ApcDisable: u8 = 0x31,
    }
}

structure! {
    /// Timer. Source: `wdm.h`, `KTIMER`.
    KTIMER: 0x40 {
        Type: u8 = 0x00,
        Inserted: u8 = 0x03,
        SignalState: i32 = 0x04,
        DueTime: u64 = 0x18,
        TimerListFlink: u64 = 0x20,
        TimerListBlink: u64 = 0x28,
        Dpc: u64 = 0x30,
        Processor: u32 = 0x38,
        Period: u32 = 0x3c,
    }
}

structure! {
    /// Deferred procedure call. Source: `wdm.h`, `KDPC`.
    KDPC: 0x40 {
        Type: u8 = 0x00,
        Importance: u8 = 0x01,
        Number: u16 = 0x02,
        DpcListEntry: u64 = 0x08,
        DeferredRoutine: u64 = 0x18,
        DeferredContext: u64 = 0x20,
        SystemArgument1: u64 = 0x28,
        SystemArgument2: u64 = 0x30,
        DpcData: u64 = 0x38,
    }
}

structure! {
    /// Asynchronous procedure call. Source: `wdm.h`, `KAPC`; the routines stand where its
    /// `Reserved` array is.
    KAPC: 0x58 {
        Type: u8 = 0x00,
        Size: u8 = 0x02,
        Thread: u64 = 0x08,
        ApcListEntry: u64 = 0x10,
        KernelRoutine: u64 = 0x20,
        RundownRoutine: u64 = 0x28,
        NormalRoutine: u64 = 0x30,
        NormalContext: u64 = 0x38,
        SystemArgument1: u64 = 0x40,
        SystemArgument2: u64 = 0x48,
        ApcStateIndex: u8 = 0x50,
        ApcMode: u8 = 0x51,
        Inserted: u8 = 0x52,
    }
}

structure! {
    /// Queue of a thread pool. Source: `ntifs.h`, `KQUEUE`.
    KQUEUE: 0x40 {
        SignalState: i32 = 0x04,
        EntryListFlink: u64 = 0x18,
        EntryListBlink: u64 = 0x20,
        CurrentCount: u32 = 0x28,
        MaximumCount: u32 = 0x2c,
        ThreadListFlink: u64 = 0x30,
        ThreadListBlink: u64 = 0x38,
    }
}

structure! {
    /// What was raised. Source: `winnt.h`, `EXCEPTION_RECORD`.
    EXCEPTION_RECORD: 0x98 {
        ExceptionCode: u32 = 0x00,
        ExceptionFlags: u32 = 0x04,
        ExceptionRecord: u64 = 0x08,
        ExceptionAddress: u64 = 0x10,
        NumberParameters: u32 = 0x18,
        Information0: u64 = 0x20,
        Information1: u64 = 0x28,
    }
}

structure! {
    /// Registers of a thread. Source: `winnt.h`, `CONTEXT` for AMD64. General registers from `Rax`
    /// on stand in encoding order, vector registers from `Xmm0` on.
    CONTEXT: 0x4d0 {
        ContextFlags: u32 = 0x30,
        MxCsr: u32 = 0x34,
        SegCs: u16 = 0x38,
        SegSs: u16 = 0x42,
        EFlags: u32 = 0x44,
        Rax: u64 = 0x78,
        Rsp: u64 = 0x98,
        Rip: u64 = 0xf8,
        FloatControlWord: u16 = 0x100,
        Xmm0: u64 = 0x1a0,
    }
}

structure! {
    /// What a language handler gets about its frame. Source: `winnt.h`, `DISPATCHER_CONTEXT` for
    /// AMD64.
    DISPATCHER_CONTEXT: 0x50 {
        ControlPc: u64 = 0x00,
        ImageBase: u64 = 0x08,
        FunctionEntry: u64 = 0x10,
        EstablisherFrame: u64 = 0x18,
        TargetIp: u64 = 0x20,
        ContextRecord: u64 = 0x28,
        LanguageHandler: u64 = 0x30,
        HandlerData: u64 = 0x38,
        HistoryTable: u64 = 0x40,
        ScopeIndex: u32 = 0x48,
    }
}

structure! {
    /// What a filter gets. Source: `winnt.h`, `EXCEPTION_POINTERS`.
    EXCEPTION_POINTERS: 0x10 {
        ExceptionRecord: u64 = 0x00,
        ContextRecord: u64 = 0x08,
    }
}

structure! {
    /// The part of the processor control region that compilers read inline: `Self`, `Irql`, the
    /// current thread at gs:[188h], the processor number at gs:[184h] (in the `KPRCB` at 180h).
    /// Source: `toolchain` notes on inlined routines of `wdm.h` (`KeGetCurrentThread`,
    /// `KeGetCurrentProcessorNumber`).
    KPCR: 0x2000 {
        Self_: u64 = 0x18,
        CurrentPrcb: u64 = 0x20,
        Irql: u8 = 0x50,
        PrcbNumber: u32 = 0x1a4,
        ProcessorNumber: u16 = 0x184,
        CurrentThread: u64 = 0x188,
    }
}

structure! {
    /// The shared page. Source: `ntddk/ns-ntddk-kuser_shared_data`.
    KUSER_SHARED_DATA: 0x720 {
        TickCountLowDeprecated: u32 = 0x000,
        TickCountMultiplier: u32 = 0x004,
        InterruptTimeLow: u32 = 0x008,
        InterruptTimeHigh1: i32 = 0x00c,
        InterruptTimeHigh2: i32 = 0x010,
        SystemTimeLow: u32 = 0x014,
        SystemTimeHigh1: i32 = 0x018,
        SystemTimeHigh2: i32 = 0x01c,
        NtBuildNumber: u32 = 0x260,
        NtProductType: u32 = 0x264,
        NtMajorVersion: u32 = 0x26c,
        NtMinorVersion: u32 = 0x270,
        KdDebuggerEnabled: u8 = 0x2d4,
        ActiveProcessorCount: u32 = 0x3c0,
        TickCountLow: u32 = 0x320,
        TickCountHigh1: i32 = 0x324,
        TickCountHigh2: i32 = 0x328,
    }
}

structure! {
    /// Fast mutex. Source: `wdm.h`, `FAST_MUTEX`.
    FAST_MUTEX: 0x38 {
        Count: i32 = 0x00,
        Owner: u64 = 0x08,
        Contention: u32 = 0x10,
        Event: u64 = 0x18,
        OldIrql: u32 = 0x30,
    }
}

structure! {
    /// A change of the processors. Source: `wdm/ns-wdm-_ke_processor_change_notify_context`.
    KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT: 0x10 {
        State: u32 = 0x00,
        NtNumber: u32 = 0x04,
        Status: u32 = 0x08,
        ProcNumberGroup: u16 = 0x0c,
        ProcNumberNumber: u8 = 0x0e,
        ProcNumberReserved: u8 = 0x0f,
    }
}
