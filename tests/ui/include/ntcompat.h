/* What a driver for a current WDK expects and mingw's ddk headers (Windows 7) lack or get wrong.
   Given to the compiler with -include, or as a precompiled header; drivers include <ntddk.h>
   as usual. */
#ifndef NTCOMPAT_H
#define NTCOMPAT_H

#include <ntifs.h>
#include <wdmsec.h>

#ifdef __cplusplus
#define EXTERN_C_START extern "C" {
#define EXTERN_C_END }
#else
#define EXTERN_C_START
#define EXTERN_C_END
#endif
EXTERN_C_START

/* Wrong in mingw. */
#define ALLOC_PRAGMA 1 /* without it `#ifdef ALLOC_PRAGMA` hides every paged section */
#undef TYPE_ALIGNMENT /* mingw: a structure inside offsetof, refused in C++ */
#define TYPE_ALIGNMENT(t) __alignof(t)
#undef UNREFERENCED_PARAMETER /* mingw: { (P) = (P); }, an assignment */
#define UNREFERENCED_PARAMETER(P) ((void)(P))
#define ExAllocatePool(type, bytes) ExAllocatePoolWithTag(type, bytes, ' mdW')
#undef ExFreePool
#define ExFreePool(p) ExFreePoolWithTag(p, 0)
/* mingw: the priority is an enumeration, which C++ cannot combine with flags */
#undef MmGetSystemAddressForMdlSafe
FORCEINLINE PVOID MmGetSystemAddressForMdlSafe(PMDL mdl, ULONG priority)
{
    if (mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) {
        return mdl->MappedSystemVa;
    }
    return MmMapLockedPagesSpecifyCache(
        mdl, KernelMode, MmCached, NULL, FALSE, (MM_PAGE_PRIORITY)priority);
}

#ifndef __clang__ /* clang has it built in, as MSVC has */
FORCEINLINE DECLSPEC_NORETURN VOID __fastfail(unsigned int code)
{
    __asm__ volatile("int $0x29" : : "c"(code));
    __builtin_unreachable();
}
#endif

/* The kit's list routines check the neighbours since Windows 8 (int 29h, code 3). */
FORCEINLINE BOOLEAN NtcRemoveEntryList(PLIST_ENTRY entry)
{
    PLIST_ENTRY next = entry->Flink, previous = entry->Blink;
    if (next->Blink != entry || previous->Flink != entry) __fastfail(3);
    previous->Flink = next;
    next->Blink = previous;
    return next == previous;
}
FORCEINLINE PLIST_ENTRY NtcRemoveHeadList(PLIST_ENTRY head)
{
    PLIST_ENTRY entry = head->Flink, next = entry->Flink;
    if (entry->Blink != head || next->Blink != entry) __fastfail(3);
    head->Flink = next;
    next->Blink = head;
    return entry;
}
FORCEINLINE VOID NtcInsertList(PLIST_ENTRY previous, PLIST_ENTRY next, PLIST_ENTRY entry)
{
    if (previous->Flink != next || next->Blink != previous) __fastfail(3);
    entry->Flink = next;
    entry->Blink = previous;
    previous->Flink = entry;
    next->Blink = entry;
}
FORCEINLINE VOID NtcInsertTailList(PLIST_ENTRY head, PLIST_ENTRY entry)
{
    NtcInsertList(head->Blink, head, entry);
}
FORCEINLINE VOID NtcInsertHeadList(PLIST_ENTRY head, PLIST_ENTRY entry)
{
    NtcInsertList(head, head->Flink, entry);
}
#define RemoveEntryList NtcRemoveEntryList
#define RemoveHeadList NtcRemoveHeadList
#define InsertTailList NtcInsertTailList
#define InsertHeadList NtcInsertHeadList

/* Pool. */
typedef ULONG64 POOL_FLAGS;
#define POOL_FLAG_USE_QUOTA 0x0000000000000001ULL
#define POOL_FLAG_UNINITIALIZED 0x0000000000000002ULL
#define POOL_FLAG_SESSION 0x0000000000000004ULL
#define POOL_FLAG_CACHE_ALIGNED 0x0000000000000008ULL
#define POOL_FLAG_RAISE_ON_FAILURE 0x0000000000000020ULL
#define POOL_FLAG_NON_PAGED 0x0000000000000040ULL
#define POOL_FLAG_NON_PAGED_EXECUTE 0x0000000000000080ULL
#define POOL_FLAG_PAGED 0x0000000000000100ULL
#define POOL_NX_ALLOCATION 512
#define POOL_ZERO_ALLOCATION 1024
NTKERNELAPI PVOID NTAPI ExAllocatePool2(POOL_FLAGS flags, SIZE_T bytes, ULONG tag);
FORCEINLINE PVOID ExAllocatePoolZero(POOL_TYPE type, SIZE_T bytes, ULONG tag)
{
    return ExAllocatePoolWithTag((POOL_TYPE)(type | POOL_ZERO_ALLOCATION), bytes, tag);
}
FORCEINLINE PVOID ExAllocatePoolUninitialized(POOL_TYPE type, SIZE_T bytes, ULONG tag)
{
    return ExAllocatePoolWithTag(type, bytes, tag);
}
#define DrvRtPoolNxOptIn 0x00000001
#ifdef POOL_NX_OPTIN
static POOL_TYPE ExDefaultNonPagedPoolType = NonPagedPool;
#define NonPagedPool ExDefaultNonPagedPoolType
#define ExInitializeDriverRuntime(flags) \
    ((void)(ExDefaultNonPagedPoolType = (POOL_TYPE)POOL_NX_ALLOCATION))
#else
#define ExInitializeDriverRuntime(flags) ((void)(flags))
#endif
#define MdlMappingNoWrite 0x80000000
#define MdlMappingNoExecute 0x40000000

/* Locks. */
typedef volatile LONG EX_SPIN_LOCK, *PEX_SPIN_LOCK;
NTKERNELAPI KIRQL NTAPI ExAcquireSpinLockExclusive(PEX_SPIN_LOCK lock);
NTKERNELAPI KIRQL NTAPI ExAcquireSpinLockShared(PEX_SPIN_LOCK lock);
NTKERNELAPI VOID NTAPI ExReleaseSpinLockExclusive(PEX_SPIN_LOCK lock, KIRQL old);
NTKERNELAPI VOID NTAPI ExReleaseSpinLockShared(PEX_SPIN_LOCK lock, KIRQL old);
NTKERNELAPI VOID NTAPI ExAcquirePushLockExclusiveEx(PEX_PUSH_LOCK lock, ULONG flags);
NTKERNELAPI VOID NTAPI ExAcquirePushLockSharedEx(PEX_PUSH_LOCK lock, ULONG flags);
NTKERNELAPI VOID NTAPI ExReleasePushLockExclusiveEx(PEX_PUSH_LOCK lock, ULONG flags);
NTKERNELAPI VOID NTAPI ExReleasePushLockSharedEx(PEX_PUSH_LOCK lock, ULONG flags);
#define ExAcquirePushLockExclusive(lock) ExAcquirePushLockExclusiveEx(lock, 0)
#define ExAcquirePushLockShared(lock) ExAcquirePushLockSharedEx(lock, 0)
#define ExReleasePushLockExclusive(lock) ExReleasePushLockExclusiveEx(lock, 0)
#define ExReleasePushLockShared(lock) ExReleasePushLockSharedEx(lock, 0)

/* Memory order. */
#define KeMemoryBarrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define MemoryBarrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define ReadAcquire(p) __atomic_load_n((LONG const volatile *)(p), __ATOMIC_ACQUIRE)
#define ReadNoFence(p) __atomic_load_n((LONG const volatile *)(p), __ATOMIC_RELAXED)
#define WriteRelease(p, v) __atomic_store_n((LONG volatile *)(p), (v), __ATOMIC_RELEASE)
#define WriteNoFence(p, v) __atomic_store_n((LONG volatile *)(p), (v), __ATOMIC_RELAXED)
#define ReadPointerAcquire(p) __atomic_load_n((PVOID const volatile *)(p), __ATOMIC_ACQUIRE)
#define ReadPointerNoFence(p) __atomic_load_n((PVOID const volatile *)(p), __ATOMIC_RELAXED)
#define WritePointerRelease(p, v) __atomic_store_n((PVOID volatile *)(p), (v), __ATOMIC_RELEASE)
#define InterlockedIncrementNoFence InterlockedIncrement
#define InterlockedDecrementRelease InterlockedDecrement
#define InterlockedCompareExchangeAcquire InterlockedCompareExchange

/* Routines since Windows 8. */
NTKERNELAPI VOID NTAPI KeQuerySystemTimePrecise(PLARGE_INTEGER time);
NTKERNELAPI PVOID NTAPI MmMapIoSpaceEx(PHYSICAL_ADDRESS address, SIZE_T bytes, ULONG protect);
NTKERNELAPI NTSTATUS NTAPI ObCloseHandle(HANDLE handle, KPROCESSOR_MODE mode);
typedef struct _MM_COPY_ADDRESS {
    union {
        PVOID VirtualAddress;
        PHYSICAL_ADDRESS PhysicalAddress;
    };
} MM_COPY_ADDRESS, *PMMCOPY_ADDRESS;
#define MM_COPY_MEMORY_PHYSICAL 0x1
#define MM_COPY_MEMORY_VIRTUAL 0x2
NTKERNELAPI NTSTATUS NTAPI MmCopyMemory(
    PVOID target, MM_COPY_ADDRESS source, SIZE_T bytes, ULONG flags, PSIZE_T transferred);
typedef enum _PSCREATETHREADNOTIFYTYPE {
    PsCreateThreadNotifyNonSystem,
    PsCreateThreadNotifySubsystems
} PSCREATETHREADNOTIFYTYPE;
NTKERNELAPI NTSTATUS NTAPI PsSetCreateThreadNotifyRoutineEx(
    PSCREATETHREADNOTIFYTYPE type, PVOID information);
NTKERNELAPI NTSTATUS NTAPI PsSetLoadImageNotifyRoutineEx(
    PLOAD_IMAGE_NOTIFY_ROUTINE routine, ULONG_PTR flags);
extern POBJECT_TYPE NTSYSAPI *IoDriverObjectType;
extern POBJECT_TYPE NTSYSAPI *IoDeviceObjectType;
#define RTL_QUERY_REGISTRY_TYPECHECK 0x00000100
#define RTL_QUERY_REGISTRY_TYPECHECK_SHIFT 24

/* Intrinsics of MSVC that clang does not know under a GNU flavour, or only declares. */
#define __halt() __asm__ volatile("hlt")
#define __wbinvd() __asm__ volatile("wbinvd" : : : "memory")
#define _disable() __asm__ volatile("cli" : : : "memory")
#define _enable() __asm__ volatile("sti" : : : "memory")
#define __ud2() __asm__ volatile("ud2")
#define __nop() __asm__ volatile("nop")
#define __invlpg(address) __asm__ volatile("invlpg %0" : : "m"(*(const char *)(address)) : "memory")
#define __lidt(table) __asm__ volatile("lidt %0" : : "m"(*(const char(*)[10])(table)))
#define __sidt(table) __asm__ volatile("sidt %0" : "=m"(*(char(*)[10])(table)))
#define __segmentlimit(selector) NtcSegmentLimit(selector)
#define __readpmc(counter) NtcReadPair(counter, NtcRdpmc)
#undef _xgetbv
#define _xgetbv(index) NtcReadPair(index, NtcXgetbv)
#define __readdr(number) NtcReadDebugRegister(number)
#define __writedr(number, value) NtcWriteDebugRegister(number, value)
#ifdef __clang__ /* an intrinsic is an instruction of the driver's own line */
#define NTC_INTRINSIC static __inline__ __attribute__((__always_inline__, __nodebug__))
#else
#define NTC_INTRINSIC static __inline__ __attribute__((__always_inline__, __artificial__))
#endif
typedef enum _NTC_PAIR { NtcRdpmc, NtcXgetbv } NTC_PAIR;
NTC_INTRINSIC unsigned __int64 NtcReadPair(ULONG index, NTC_PAIR source)
{
    ULONG low, high;
    if (source == NtcRdpmc) __asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(index));
    else __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
    return (unsigned __int64)high << 32 | low;
}
NTC_INTRINSIC ULONG NtcSegmentLimit(ULONG selector)
{
    ULONG limit = 0;
    __asm__("lsl %1, %0" : "+r"(limit) : "r"(selector) : "cc");
    return limit;
}
#define NTC_DEBUG_REGISTERS(one) one(0) one(1) one(2) one(3) one(6) one(7)
NTC_INTRINSIC unsigned __int64 NtcReadDebugRegister(unsigned int number)
{
    unsigned __int64 value = 0;
    switch (number) {
#define NTC_READ(n) case n: __asm__ volatile("mov %%dr" #n ", %0" : "=r"(value)); break;
        NTC_DEBUG_REGISTERS(NTC_READ)
    }
    return value;
}
NTC_INTRINSIC VOID NtcWriteDebugRegister(unsigned int number, unsigned __int64 value)
{
    switch (number) {
#define NTC_WRITE(n) case n: __asm__ volatile("mov %0, %%dr" #n : : "r"(value)); break;
        NTC_DEBUG_REGISTERS(NTC_WRITE)
    }
}

/* Inline on x64; missing in mingw. */
#define KeSaveFloatingPointState(state) ((void)(state), STATUS_SUCCESS)
#define KeRestoreFloatingPointState(state) ((void)(state), STATUS_SUCCESS)

/* Access rights that ntddk.h defines and mingw keeps in winnt.h. */
#define PROCESS_TERMINATE 0x0001
#define PROCESS_CREATE_THREAD 0x0002
#define PROCESS_VM_OPERATION 0x0008
#define PROCESS_VM_READ 0x0010
#define PROCESS_VM_WRITE 0x0020
#define PROCESS_QUERY_LIMITED_INFORMATION 0x1000

/* Annotations that mingw's sal.h, specstrings.h and driverspecs.h lack. */
#define _Dispatch_type_(kind)
#define _Enum_is_bitflag_
#define _Frees_ptr_
#define _Frees_ptr_opt_
#define _Interlocked_operand_
#define _IRQL_always_function_max_(irql)
#define _IRQL_is_cancel_
#define _IRQL_restores_global_(kind, param)
#define _IRQL_saves_global_(kind, param)
#define _IRQL_uses_cancel_
#define _Kernel_clear_do_init_(yes)
#define _Kernel_float_saved_
#define _Kernel_IoGetDmaAdapter_
#define _Kernel_requires_resource_held_(kind)
#define _Kernel_requires_resource_not_held_(kind)
#define _Notvalid_
#define _Post_invalid_
#define _Post_ptr_invalid_
#define _Unreferenced_parameter_
#define __control_entrypoint(category)
#define __drv_freeMem(kind)
#define __drv_functionClass(name)
#define __drv_minIRQL(irql)
#define __drv_mustHoldCriticalRegion
#define __drv_preferredFunction(name, why)
#define __drv_sameIRQL
#define __drv_strictTypeMatch(mode)
#define __reserved

/* Named by every object file that computes with floating point. */
DECLSPEC_SELECTANY int _fltused = 0;

EXTERN_C_END
#endif
