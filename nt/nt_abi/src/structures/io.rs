//! Structures of the I/O manager.

use crate::layout::structure;

structure! {
    /// I/O request packet, without its stack locations. Source: `wdm/ns-wdm-_irp`.
    IRP: 0xd0 {
        Type: i16 = 0x00,
        Size: u16 = 0x02,
        MdlAddress: u64 = 0x08,
        Flags: u32 = 0x10,
        /// `AssociatedIrp.SystemBuffer`.
        SystemBuffer: u64 = 0x18,
        /// `AssociatedIrp.MasterIrp`, of an associated IRP.
        MasterIrp: u64 = 0x18,
        /// `AssociatedIrp.IrpCount`, of a master IRP.
        IrpCount: i32 = 0x18,
        ThreadListFlink: u64 = 0x20,
        ThreadListBlink: u64 = 0x28,
        /// `IoStatus.Status`.
        Status: u32 = 0x30,
        /// `IoStatus.Information`.
        Information: u64 = 0x38,
        RequestorMode: u8 = 0x40,
        PendingReturned: u8 = 0x41,
        StackCount: i8 = 0x42,
        CurrentLocation: i8 = 0x43,
        Cancel: u8 = 0x44,
        CancelIrql: u8 = 0x45,
        ApcEnvironment: i8 = 0x46,
        AllocationFlags: u8 = 0x47,
        UserIosb: u64 = 0x48,
        UserEvent: u64 = 0x50,
        /// `Overlay.AllocationSize`.
        AllocationSize: i64 = 0x58,
        CancelRoutine: u64 = 0x68,
        UserBuffer: u64 = 0x70,
        /// `Tail.Overlay.DeviceQueueEntry`, a `KDEVICE_QUEUE_ENTRY`.
        DeviceQueueEntry: u64 = 0x78,
        /// `Tail.Overlay.DriverContext[0]`, in one union with the device queue entry.
        DriverContext: u64 = 0x78,
        /// `Tail.Overlay.DriverContext[3]`: of the cancel-safe queue that an IRP is in.
        DriverContext3: u64 = 0x90,
        /// `Tail.Overlay.Thread`.
        Thread: u64 = 0x98,
        AuxiliaryBuffer: u64 = 0xa0,
        ListFlink: u64 = 0xa8,
        ListBlink: u64 = 0xb0,
        /// `Tail.Overlay.CurrentStackLocation`.
        CurrentStackLocation: u64 = 0xb8,
        /// `Tail.Overlay.OriginalFileObject`.
        OriginalFileObject: u64 = 0xc0,
    }
}

structure! {
    /// One driver's slot in an IRP. Members of the `Parameters` union carry its name.
    /// Source: `wdm/ns-wdm-_io_stack_location`.
    IO_STACK_LOCATION: 0x48 {
        MajorFunction: u8 = 0x00,
        MinorFunction: u8 = 0x01,
        Flags: u8 = 0x02,
        Control: u8 = 0x03,
        /// First byte of the `Parameters` union.
        Parameters: u64 = 0x08,
        Create_SecurityContext: u64 = 0x08,
        Create_Options: u32 = 0x10,
        Create_FileAttributes: u16 = 0x18,
        Create_ShareAccess: u16 = 0x1a,
        Create_EaLength: u32 = 0x20,
        /// Of reads and writes.
        Transfer_Length: u32 = 0x08,
        Transfer_Key: u32 = 0x10,
        Transfer_ByteOffset: i64 = 0x18,
        /// Of queries and settings of a file or a volume.
        Information_Length: u32 = 0x08,
        Information_Class: u32 = 0x10,
        DeviceIoControl_OutputBufferLength: u32 = 0x08,
        DeviceIoControl_InputBufferLength: u32 = 0x10,
        DeviceIoControl_IoControlCode: u32 = 0x18,
        DeviceIoControl_Type3InputBuffer: u64 = 0x20,
        DeviceObject: u64 = 0x28,
        FileObject: u64 = 0x30,
        CompletionRoutine: u64 = 0x38,
        Context: u64 = 0x40,
    }
}

structure! {
    /// Result of a request. Source: `wdm/ns-wdm-_io_status_block`.
    IO_STATUS_BLOCK: 0x10 {
        Status: u32 = 0x00,
        Information: u64 = 0x08,
    }
}

structure! {
    /// A device object. Source: `wdm/ns-wdm-_device_object`; the fields behind `DeviceType` by
    /// `wdm.h`.
    ///
    /// Windows declares it with 16-byte alignment, so it is 336 bytes long.
    DEVICE_OBJECT: 0x150 {
        Type: i16 = 0x00,
        Size: u16 = 0x02,
        ReferenceCount: i32 = 0x04,
        DriverObject: u64 = 0x08,
        NextDevice: u64 = 0x10,
        AttachedDevice: u64 = 0x18,
        CurrentIrp: u64 = 0x20,
        Timer: u64 = 0x28,
        Flags: u32 = 0x30,
        Characteristics: u32 = 0x34,
        Vpb: u64 = 0x38,
        DeviceExtension: u64 = 0x40,
        DeviceType: u32 = 0x48,
        StackSize: i8 = 0x4c,
        AlignmentRequirement: u32 = 0x98,
        /// A `KDEVICE_QUEUE`.
        DeviceQueue: u64 = 0xa0,
        /// A `KDPC`.
        Dpc: u64 = 0xc8,
        ActiveThreadCount: u32 = 0x108,
        SecurityDescriptor: u64 = 0x110,
        /// A `KEVENT`.
        DeviceLock: u64 = 0x118,
        SectorSize: u16 = 0x130,
        DeviceObjectExtension: u64 = 0x138,
        Reserved: u64 = 0x140,
    }
}

structure! {
    /// The I/O manager's part of a device object; only what headers publish. Source: `wdm.h`.
    DEVOBJ_EXTENSION: 0x10 {
        Type: i16 = 0x00,
        Size: u16 = 0x02,
        DeviceObject: u64 = 0x08,
    }
}

structure! {
    /// A device queue. Source: `wdm.h`, `KDEVICE_QUEUE`.
    KDEVICE_QUEUE: 0x28 {
        Type: i16 = 0x00,
        Size: i16 = 0x02,
        DeviceListFlink: u64 = 0x08,
        DeviceListBlink: u64 = 0x10,
        Lock: u64 = 0x18,
        Busy: u8 = 0x20,
    }
}

structure! {
    /// An entry of a device queue. Source: `wdm.h`, `KDEVICE_QUEUE_ENTRY`.
    KDEVICE_QUEUE_ENTRY: 0x18 {
        DeviceListFlink: u64 = 0x00,
        DeviceListBlink: u64 = 0x08,
        SortKey: u32 = 0x10,
        Inserted: u8 = 0x14,
    }
}

structure! {
    /// Dispatch table of a cancel-safe queue. Opaque by `wdm/ns-wdm-_io_csq`; laid out by `wdm.h`.
    IO_CSQ: 0x40 {
        Type: u32 = 0x00,
        CsqInsertIrp: u64 = 0x08,
        CsqRemoveIrp: u64 = 0x10,
        CsqPeekNextIrp: u64 = 0x18,
        CsqAcquireLock: u64 = 0x20,
        CsqReleaseLock: u64 = 0x28,
        CsqCompleteCanceledIrp: u64 = 0x30,
        ReservePointer: u64 = 0x38,
    }
}

structure! {
    /// Where an IRP is in a cancel-safe queue. Opaque by `wdm/ns-wdm-_io_csq_irp_context`; laid out
    /// by `wdm.h`.
    IO_CSQ_IRP_CONTEXT: 0x18 {
        Type: u32 = 0x00,
        Irp: u64 = 0x08,
        Csq: u64 = 0x10,
    }
}

structure! {
    /// A driver object. Source: `wdm/ns-wdm-_driver_object`.
    DRIVER_OBJECT: 0x150 {
        Type: i16 = 0x00,
        Size: i16 = 0x02,
        DeviceObject: u64 = 0x08,
        Flags: u32 = 0x10,
        DriverStart: u64 = 0x18,
        DriverSize: u32 = 0x20,
        DriverSection: u64 = 0x28,
        DriverExtension: u64 = 0x30,
        /// A `UNICODE_STRING`.
        DriverName: u64 = 0x38,
        HardwareDatabase: u64 = 0x48,
        FastIoDispatch: u64 = 0x50,
        DriverInit: u64 = 0x58,
        DriverStartIo: u64 = 0x60,
        DriverUnload: u64 = 0x68,
        /// The first of 28 dispatch routines.
        MajorFunction: u64 = 0x70,
    }
}

structure! {
    /// Extension of a driver object. Source: `wdm/ns-wdm-_driver_extension`.
    DRIVER_EXTENSION: 0x28 {
        DriverObject: u64 = 0x00,
        AddDevice: u64 = 0x08,
        Count: u32 = 0x10,
        /// A `UNICODE_STRING`.
        ServiceKeyName: u64 = 0x18,
    }
}

structure! {
    /// A file object. Source: `wdm/ns-wdm-_file_object`.
    FILE_OBJECT: 0xd8 {
        Type: i16 = 0x00,
        Size: i16 = 0x02,
        DeviceObject: u64 = 0x08,
        Vpb: u64 = 0x10,
        FsContext: u64 = 0x18,
        FsContext2: u64 = 0x20,
        SectionObjectPointer: u64 = 0x28,
        PrivateCacheMap: u64 = 0x30,
        FinalStatus: u32 = 0x38,
        RelatedFileObject: u64 = 0x40,
        LockOperation: u8 = 0x48,
        DeletePending: u8 = 0x49,
        ReadAccess: u8 = 0x4a,
        WriteAccess: u8 = 0x4b,
        DeleteAccess: u8 = 0x4c,
        SharedRead: u8 = 0x4d,
        SharedWrite: u8 = 0x4e,
        SharedDelete: u8 = 0x4f,
        Flags: u32 = 0x50,
        /// A `UNICODE_STRING`.
        FileName: u64 = 0x58,
        CurrentByteOffset: i64 = 0x68,
        Waiters: u32 = 0x70,
        Busy: u32 = 0x74,
        /// A `KEVENT`: auto-reset, signalled while no synchronous request is under way.
        Lock: u64 = 0x80,
        /// A `KEVENT`: signalled when a request completes.
        Event: u64 = 0x98,
        CompletionContext: u64 = 0xb0,
        IrpListLock: u64 = 0xb8,
        IrpListFlink: u64 = 0xc0,
        IrpListBlink: u64 = 0xc8,
        FileObjectExtension: u64 = 0xd0,
    }
}

structure! {
    /// Volume parameter block. Source: `wdm.h`, `VPB`.
    VPB: 0x60 {
        Type: i16 = 0x00,
        Size: i16 = 0x02,
        RealDevice: u64 = 0x10,
    }
}

structure! {
    /// What a create request wants. Source: `wdm/ns-wdm-_io_security_context`.
    IO_SECURITY_CONTEXT: 0x18 {
        SecurityQos: u64 = 0x00,
        AccessState: u64 = 0x08,
        DesiredAccess: u32 = 0x10,
        FullCreateOptions: u32 = 0x14,
    }
}

structure! {
    /// Access wanted and granted so far. Source: `wdm/ns-wdm-_access_state`.
    ACCESS_STATE: 0xa0 {
        SecurityEvaluated: u8 = 0x08,
        Flags: u32 = 0x0c,
        RemainingDesiredAccess: u32 = 0x10,
        PreviouslyGrantedAccess: u32 = 0x14,
        OriginalDesiredAccess: u32 = 0x18,
    }
}

structure! {
    /// A remove lock of the free build. Source: `wdm.h`, `IO_REMOVE_LOCK_COMMON_BLOCK`.
    IO_REMOVE_LOCK: 0x20 {
        Removed: u8 = 0x00,
        IoCount: i32 = 0x04,
        /// A `KEVENT`.
        RemoveEvent: u64 = 0x08,
    }
}

structure! {
    /// What `IoConnectInterruptEx` gets. Source: `wdm/ns-wdm-_io_connect_interrupt_parameters`. The
    /// three forms share the members up to `FloatingSave`.
    IO_CONNECT_INTERRUPT_PARAMETERS: 0x50 {
        Version: u32 = 0x00,
        PhysicalDeviceObject: u64 = 0x08,
        /// Where the interrupt object goes; of messages `ConnectionContext`.
        InterruptObject: u64 = 0x10,
        ServiceRoutine: u64 = 0x18,
        ServiceContext: u64 = 0x20,
        SpinLock: u64 = 0x28,
        SynchronizeIrql: u8 = 0x30,
        FloatingSave: u8 = 0x31,
        /// Of the fully specified form, as are the others up to `Group`.
        ShareVector: u8 = 0x32,
        Vector: u32 = 0x34,
        Irql: u8 = 0x38,
        InterruptMode: u32 = 0x3c,
        ProcessorEnableMask: u64 = 0x40,
        Group: u16 = 0x48,
        /// Of the message form.
        FallBackServiceRoutine: u64 = 0x38,
    }
}

structure! {
    /// What `IoDisconnectInterruptEx` gets. Source:
    /// `wdm/ns-wdm-_io_disconnect_interrupt_parameters`.
    IO_DISCONNECT_INTERRUPT_PARAMETERS: 0x10 {
        Version: u32 = 0x00,
        ConnectionContext: u64 = 0x08,
    }
}

structure! {
    /// Messages of a device; the entries follow. Source: `wdm/ns-wdm-_io_interrupt_message_info`.
    IO_INTERRUPT_MESSAGE_INFO: 0x08 {
        UnifiedIrql: u8 = 0x00,
        MessageCount: u32 = 0x04,
    }
}

structure! {
    /// One message. Source: `wdm/ns-wdm-_io_interrupt_message_info_entry`.
    IO_INTERRUPT_MESSAGE_INFO_ENTRY: 0x30 {
        MessageAddress: u64 = 0x00,
        TargetProcessorSet: u64 = 0x08,
        InterruptObject: u64 = 0x10,
        MessageData: u32 = 0x18,
        Vector: u32 = 0x1c,
        Irql: u8 = 0x20,
        Mode: u32 = 0x24,
        Polarity: u32 = 0x28,
    }
}

structure! {
    /// Which interrupt is meant. Source: `wdm/ns-wdm-_io_report_interrupt_active_state_parameters`.
    IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS: 0x10 {
        Version: u32 = 0x00,
        ConnectionContext: u64 = 0x08,
    }
}
