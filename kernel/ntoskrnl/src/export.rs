//! How an export is declared, collected and bound.

use std::{collections::BTreeMap, sync::Arc};

use events::IrqlLimit;
use guest_memory::GuestAddr;

use crate::{CallResult, Flow, Kernel, map};

/// One routine that an image offers for import.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// Its name in the export table.
    pub name: &'static str,
    /// The name an author writes, where a macro renames it.
    pub written_as: Option<&'static str>,
    /// Documented IRQL limit.
    pub irql: IrqlLimit,
    /// Why the limit differs from the documentation page.
    pub irql_note: Option<&'static str>,
    /// When the page allows less than `irql`, in a few words. Judged by the body, or by the memory
    /// that the call touches.
    pub irql_when: Option<&'static str>,
    /// What of the documented behaviour is not modelled.
    pub limits: Option<&'static str>,
    /// Documentation page, such as `wdm/nf-wdm-iocreatedevice`.
    pub ddi: &'static str,
    /// Decodes the arguments and runs the body.
    pub call: fn(&mut Kernel) -> CallResult<Flow>,
}

/// A variable that an image offers for import.
#[derive(Clone, Copy, Debug)]
pub struct DataExport {
    /// Its name.
    pub name: &'static str,
    /// Length.
    pub size_bytes: u64,
    /// Fills it when the machine starts.
    pub init: fn(&mut Kernel, GuestAddr) -> CallResult<()>,
    /// Documentation page.
    pub ddi: &'static str,
}

/// Lists the exports of a file: `exports![IoCreateDevice, IoDeleteDevice]`.
#[macro_export]
macro_rules! exports {
    ($($name:ident),* $(,)?) => {
        /// The exports of this file.
        pub(crate) const EXPORTS: &[$crate::Export] = &[$($name::EXPORT),*];
    };
}

/// A kernel image made of exports: `ntoskrnl.exe`, `hal.dll`.
#[derive(Clone, Debug)]
pub struct Module {
    /// File name in lower case.
    pub name: &'static str,
    /// Its routines.
    pub exports: Vec<&'static [Export]>,
    /// Its variables.
    pub data: Vec<&'static [DataExport]>,
}

/// What stands at a trap address.
#[derive(Clone, Debug)]
pub enum TrapTarget {
    /// Guest code returns to the kernel.
    Return,
    /// A modelled export.
    Export(Export),
    /// An import nobody models: `module!name`.
    Unmodelled(String),
}

/// Trap addresses and what stands there. Hardly anything changes after the load, so copies share.
#[derive(Clone, Debug)]
pub struct ExportTable {
    targets: Arc<Vec<TrapTarget>>,
    /// By module in lower case, and name.
    by_name: Arc<BTreeMap<String, BTreeMap<String, GuestAddr>>>,
}

/// Bytes between two trap addresses.
const TRAP_STRIDE_BYTES: u64 = 16;

impl ExportTable {
    /// Gives every export of these modules an address.
    pub fn new(modules: &[Module]) -> Self {
        let targets = Arc::new(vec![TrapTarget::Return]);
        let mut table = Self { targets, by_name: Arc::default() };
        for module in modules {
            for export in module.exports.iter().flat_map(|list| list.iter()) {
                let at = table.push(TrapTarget::Export(*export));
                table.add_data(module.name, export.name, at);
            }
        }
        table
    }

    /// The address to which guest code returns when the kernel called it.
    pub fn return_address() -> GuestAddr {
        map::TRAPS.0
    }

    fn push(&mut self, target: TrapTarget) -> GuestAddr {
        let at = map::TRAPS.0.add(self.targets.len() as u64 * TRAP_STRIDE_BYTES);
        Arc::make_mut(&mut self.targets).push(target);
        at
    }

    /// Finds an export by image and name. `hal.dll` and `ntoskrnl.exe` serve each other's names, as
    /// the API set of Windows 10 lets them.
    pub fn find(&self, module: &str, name: &str) -> Option<GuestAddr> {
        let module = module.to_ascii_lowercase();
        let of = |m: &str| self.by_name.get(m)?.get(name).copied();
        of(&module).or_else(|| match module.as_str() {
            "hal.dll" => of("ntoskrnl.exe"),
            "ntoskrnl.exe" => of("hal.dll"),
            _ => None,
        })
    }

    /// Registers a name: a variable's, if nothing stands at its address.
    pub fn add_data(&mut self, module: &str, name: &str, at: GuestAddr) {
        let by_name = Arc::make_mut(&mut self.by_name);
        by_name.entry(module.to_owned()).or_default().insert(name.to_owned(), at);
    }

    /// Gives an import that nobody models a trap of its own; the same name gets the same trap.
    pub fn trap(&mut self, module: &str, name: &str) -> GuestAddr {
        let module = module.to_ascii_lowercase();
        if let Some(&at) = self.by_name.get(&module).and_then(|names| names.get(name)) {
            return at;
        }
        let at = self.push(TrapTarget::Unmodelled(format!("{module}!{name}")));
        self.add_data(&module, name, at);
        at
    }

    /// Names what an address in the range of the kernel's own images belongs to.
    pub fn name_at(&self, at: GuestAddr) -> Option<String> {
        let (traps, size_bytes) = map::TRAPS;
        let offset = at.0.wrapping_sub(traps.0);
        if at < traps || at >= map::IMAGES {
            return None;
        }
        let slot = GuestAddr(at.0 - offset % TRAP_STRIDE_BYTES);
        Some(match self.target(slot).filter(|_| offset < size_bytes) {
            Some(TrapTarget::Export(export)) => export.name.to_owned(),
            Some(TrapTarget::Unmodelled(name)) => name.clone(),
            Some(TrapTarget::Return) | None => "the kernel's image".to_owned(),
        })
    }

    /// What stands at a trap address.
    pub fn target(&self, at: GuestAddr) -> Option<&TrapTarget> {
        let offset = at.0.checked_sub(map::TRAPS.0.0)?;
        if offset % TRAP_STRIDE_BYTES != 0 {
            return None;
        }
        self.targets.get(usize::try_from(offset / TRAP_STRIDE_BYTES).ok()?)
    }
}
