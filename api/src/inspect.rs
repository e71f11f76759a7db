//! What a driver's file states, without running it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use choice_tape::Tape;
use events::Silent;
use pe_image::{ImportName, scan::Scan};
use system::{Machine, MachineConfig, Tier};

use crate::{Driver, check};

/// What a driver's file states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// `driver` or `export driver`.
    pub kind: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Version resource: field and text.
    pub version: Vec<(String, String)>,
    /// A signature is attached. It is not verified.
    pub is_signer_present: bool,
    /// What debug information there is.
    pub debug_information: String,
    /// Imports, by module.
    pub imports: Vec<ImportFound>,
    /// Names of devices and links in the image.
    pub devices: Vec<DeviceFound>,
    /// Control codes in the image.
    pub codes: Vec<CodeFound>,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFound {
    /// `ntoskrnl.exe`.
    pub module: String,
    /// Its name or ordinal.
    pub name: String,
    /// A call of it can be carried out.
    pub is_modelled: bool,
}

/// A name of a device or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFound {
    /// The text.
    pub name: String,
}

/// A control code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFound {
    /// The number.
    pub code: u32,
    /// `buffered`, `in direct`, `out direct` or `neither`.
    pub method: &'static str,
    /// It is compared with the control code of a request for sure.
    pub is_sure: bool,
}

/// Reads a driver's file. `Err`: one sentence.
pub fn inspect(driver: &Driver) -> Result<Inspection, String> {
    let target = check::target(driver)?;
    let image = &target.image;
    let scan = Scan::new(image);
    let unmodelled = unmodelled(&target.name, image)?;
    let import = |import: &pe_image::Import| {
        let name = match &import.name {
            ImportName::Name(name) => name.clone(),
            ImportName::Ordinal(ordinal) => format!("#{ordinal}"),
        };
        let whole = format!("{}!{name}", import.module);
        let is_modelled = !unmodelled.iter().any(|missing| missing.eq_ignore_ascii_case(&whole));
        ImportFound { module: import.module.clone(), name, is_modelled }
    };
    let code = |code: &pe_image::scan::ControlCode| CodeFound {
        code: code.code,
        method: match code.code & 3 {
            0 => "buffered",
            1 => "in direct",
            2 => "out direct",
            _ => "neither",
        },
        is_sure: code.is_from_stack_location,
    };
    let version = image.version().map(|version| version.strings.clone()).unwrap_or_default();
    let debug_information = match &target.debug_info {
        Some(info) if info.pdb_identity().is_some() => "PDB",
        Some(_) => "DWARF",
        None => "none",
    };
    Ok(Inspection {
        kind: if image.is_dll() { "export driver" } else { "driver" }.to_owned(),
        sha256: target.sha256_hex(),
        version,
        is_signer_present: image.is_signer_present(),
        debug_information: debug_information.to_owned(),
        imports: image.imports().iter().map(import).collect(),
        devices: scan.device_names.into_iter().map(|d| DeviceFound { name: d.name }).collect(),
        codes: scan.control_codes.iter().map(code).collect(),
    })
}

/// Imports that no call can be carried out for, as `module!name`.
fn unmodelled(name: &str, image: &Arc<pe_image::Image>) -> Result<Vec<String>, String> {
    let config = MachineConfig {
        image: Arc::clone(image),
        image_name: name.to_owned(),
        fill: 0,
        limit_events: 0,
        record: Vec::new(),
        processors: 1,
        lines: Vec::new(),
        trace: false,
        tier: Tier::Interpreter,
    };
    let machine = AssertUnwindSafe(|| Machine::new(config, Tape::default(), Box::new(Silent)));
    match catch_unwind(machine) {
        Ok(Ok(machine)) => Ok(machine.unmodelled_imports().to_vec()),
        Ok(Err(stopped)) => Err(format!("the image cannot be loaded: {stopped:?}")),
        Err(_) => Err("internal error while loading the image".to_owned()),
    }
}
