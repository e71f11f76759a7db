//! Privileged instructions: what the virtual processor answers. Nothing reaches the host.

use cpu::PrivilegedOp;
use events::{Event, Privileged, PrivilegedSink};
use guest_memory::GuestAddr;
use nt_abi::Irql;

use crate::{
    CallResult, Kernel, Stop,
    registers::{INTERRUPT_FLAG, RAX, RBX, RCX, RDX},
};

/// CR0 of a running x64 system: PG, WP, NE, ET, MP, PE. Source: Intel SDM volume 3, 2.5.
const CR0: u64 = 0x8005_0033;
/// Bits of CR0 whose combinations long mode restricts. Source: Intel SDM volume 2, MOV CRn.
const CR0_PE: u64 = 1 << 0;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_PG: u64 = 1 << 31;
/// CR4: PAE, MCE, PGE, OSFXSR, OSXMMEXCPT. Source: Intel SDM volume 3, 2.5.
const CR4: u64 = 0x6e0;
const CR4_PAE: u64 = 1 << 5;
/// Bits of CR4 that this processor has; the others are reserved: those, TSD and PCE.
const CR4_KNOWN: u64 = CR4 | 1 << 2 | 1 << 8;
/// Performance counters of the processor, as many as every 64-bit one of the last years has.
const GENERAL_COUNTERS: u32 = 4;
const FIXED_COUNTERS: u32 = 3;
/// One tick of the clock interrupt, 15.625 ms.
pub(crate) const CLOCK_TICK_100NS: u64 = 156_250;

impl Kernel {
    /// Carries out a privileged instruction; the caller advances `rip`.
    pub(crate) fn privileged(&mut self, op: PrivilegedOp) -> CallResult<()> {
        match op {
            PrivilegedOp::ReadControl { register, control } => self.read_control(register, control),
            PrivilegedOp::WriteControl { control: 8, value } => self.write_cr8(value),
            PrivilegedOp::WriteControl { control, value } => self.write_control(control, value),
            PrivilegedOp::ReadMsr { msr } => {
                self.expose(PrivilegedSink::Msr, "rdmsr", false, vec![u64::from(msr)])?;
                self.set_edx_eax(0);
                Ok(())
            }
            PrivilegedOp::WriteMsr { msr, value } => {
                self.expose(PrivilegedSink::Msr, "wrmsr", true, vec![u64::from(msr), value])
            }
            PrivilegedOp::In { port, size_bytes } => {
                self.expose(PrivilegedSink::Port, "in", false, vec![u64::from(port)])?;
                // No device decodes any port of this machine: the bus floats high.
                let mask = if size_bytes >= 4 { 0xffff_ffff } else { (1 << (8 * size_bytes)) - 1 };
                let rax = self.gpr(RAX);
                // A 32-bit result clears the upper half; shorter ones keep the rest.
                self.set_gpr(RAX, if size_bytes >= 4 { mask } else { rax | mask });
                Ok(())
            }
            PrivilegedOp::Out { port, value, .. } => {
                let operands = vec![u64::from(port), u64::from(value)];
                self.expose(PrivilegedSink::Port, "out", true, operands)?;
                self.note_port_write(port);
                Ok(())
            }
            PrivilegedOp::ClearInterrupts => {
                self.regs().rflags &= !INTERRUPT_FLAG;
                Ok(())
            }
            PrivilegedOp::SetInterrupts => {
                self.regs().rflags |= INTERRUPT_FLAG;
                Ok(())
            }
            PrivilegedOp::Halt => {
                // The next clock interrupt wakes the processor.
                self.idle_100ns += CLOCK_TICK_100NS;
                Ok(())
            }
            PrivilegedOp::Cpuid { leaf, subleaf } => {
                let [eax, ebx, ecx, edx] = cpuid(leaf, subleaf);
                for (register, value) in [(RAX, eax), (RBX, ebx), (RCX, ecx), (RDX, edx)] {
                    self.set_gpr(register, u64::from(value));
                }
                Ok(())
            }
            PrivilegedOp::ReadTsc | PrivilegedOp::ReadTscp => {
                // One unit of virtual time is 100 ns: 300 cycles of a 3 GHz processor.
                self.set_edx_eax(self.interrupt_time_100ns() * 300);
                if op == PrivilegedOp::ReadTscp {
                    let index = u64::from(self.core().index);
                    self.set_gpr(RCX, index);
                }
                Ok(())
            }
            PrivilegedOp::ReadPmc { counter } => self.read_counter(counter),
            other => Err(Stop::unsupported(format!("privileged instruction {other:?}"))),
        }
    }

    /// Performance counters: none is set up, so all stand at 0. Source: Intel SDM volume 2, RDPMC.
    fn read_counter(&mut self, counter: u32) -> CallResult<()> {
        const FIXED: u32 = 1 << 30;
        let is_known =
            counter < GENERAL_COUNTERS || (FIXED..FIXED + FIXED_COUNTERS).contains(&counter);
        if !is_known {
            // A counter that does not exist: #GP.
            return Err(Stop::raise(nt_abi::NtStatus::STATUS_ACCESS_VIOLATION));
        }
        self.set_edx_eax(0);
        Ok(())
    }

    fn read_control(&mut self, register: u8, control: u8) -> CallResult<()> {
        let value = match control {
            0 => CR0,
            // Fault address and page directory: no driver may rely on either.
            2 | 3 => 0,
            4 => CR4,
            8 => u64::from(self.irql().0),
            other => return Err(Stop::unsupported(format!("a read of cr{other}"))),
        };
        self.set_gpr(usize::from(register), value);
        Ok(())
    }

    /// Only writes that change nothing, or that the processor refuses, have a known effect.
    fn write_control(&mut self, control: u8, value: u64) -> CallResult<()> {
        self.expose(PrivilegedSink::ControlRegister, "mov crN", true, vec![value])?;
        let (current, is_refused) = match control {
            0 => {
                let is_without = |bits: u64| value & bits != bits;
                let is_nw_alone = value & (CR0_NW | CR0_CD) == CR0_NW;
                (CR0, value >> 32 != 0 || is_without(CR0_PG | CR0_PE) || is_nw_alone)
            }
            4 => (CR4, value & !CR4_KNOWN != 0 || value & CR4_PAE == 0),
            other => return Err(Stop::unsupported(format!("a write to cr{other}"))),
        };
        if is_refused {
            // #GP.
            return Err(Stop::raise(nt_abi::NtStatus::STATUS_ACCESS_VIOLATION));
        }
        if value == current {
            return Ok(());
        }
        Err(Stop::unsupported(format!("a change of cr{control}")))
    }

    /// CR8 is the IRQL: compilers inline `KeRaiseIrql` and `KeLowerIrql` as moves to it.
    fn write_cr8(&mut self, value: u64) -> CallResult<()> {
        match u8::try_from(value) {
            Ok(level @ 0..=15) => {
                self.set_irql(Irql(level));
                Ok(())
            }
            // Reserved bits: #GP.
            _ => Err(Stop::raise(nt_abi::NtStatus::STATUS_ACCESS_VIOLATION)),
        }
    }

    /// Reports a privileged operation with the marks of the workload in its operands.
    pub fn expose(
        &mut self,
        sink: PrivilegedSink,
        name: &'static str,
        is_write: bool,
        operands: Vec<u64>,
    ) -> CallResult<()> {
        let mut marks = self.marks_of(&operands);
        if sink == PrivilegedSink::Port && !marks.iter().any(|(operand, _)| *operand == 0) {
            // The ports of the mainboard have numbers of one byte. A byte that is written is not
            // asked about: sending the caller's bytes is what drivers of serial ports are for.
            let number = operands.first().copied().unwrap_or_default();
            marks.extend(self.mm.byte_marks_in(number).into_iter().map(|offset| (0, offset)));
        }
        let device = self.io.request_device().unwrap_or(GuestAddr::NULL);
        self.emit(Event::Privileged(Privileged { sink, name, is_write, operands, marks, device }))?;
        Ok(())
    }

    /// Marks of the workload that arrive in operands: (operand, offset in the caller's input).
    pub(crate) fn marks_of(&self, operands: &[u64]) -> Vec<(u8, u32)> {
        let mut found = Vec::new();
        for (index, operand) in (0u8..).zip(operands) {
            found.extend(self.mm.marks_in(*operand).into_iter().map(|offset| (index, offset)));
        }
        found
    }

    fn set_edx_eax(&mut self, value: u64) {
        self.set_gpr(RAX, value & 0xffff_ffff);
        self.set_gpr(RDX, value >> 32);
    }
}

/// One fixed processor model: x86-64 with SSE2 and nothing that needs `xgetbv`.
fn cpuid(leaf: u32, _subleaf: u32) -> [u32; 4] {
    match leaf {
        // "GenuineIntel"; the highest leaf is 1.
        0 => [1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
        // Family 6; FPU TSC MSR PAE CX8 APIC SEP PGE CMOV PAT MMX FXSR SSE SSE2; SSE3 CX16.
        1 => [0x0006_0f00, 0x0001_0800, 0x0000_2001, 0x0781_ab71],
        0x8000_0000 => [0x8000_0001, 0, 0, 0],
        // SYSCALL, NX, long mode; LAHF.
        0x8000_0001 => [0, 0, 1, 0x2010_0800],
        _ => [0; 4],
    }
}
