//! What drivers can import: the export tables of the kernel, in plain data.

/// A routine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSummary {
    /// The image, such as `ntoskrnl.exe`.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The name an author writes, where a macro renames it.
    pub written_as: Option<&'static str>,
    /// Path of its documentation page.
    pub page: &'static str,
    /// Lowest IRQL it may be called at.
    pub irql_min: u8,
    /// Highest.
    pub irql_max: u8,
    /// When the page allows less than that.
    pub irql_when: Option<&'static str>,
    /// Why the limit differs from the page.
    pub irql_note: Option<&'static str>,
    /// What of the documented behaviour is not modelled.
    pub limits: Option<&'static str>,
}

/// A variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableSummary {
    /// The image.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Path of its documentation page.
    pub page: &'static str,
}

/// Lists every routine that a driver can import, by image and name.
pub fn exports() -> Vec<ExportSummary> {
    let mut all = Vec::new();
    for module in system::modules() {
        for export in module.exports.iter().flat_map(|list| list.iter()) {
            // What no linker can name is the kernel's own.
            if export.name.starts_with('(') {
                continue;
            }
            all.push(ExportSummary {
                module: module.name,
                name: export.name,
                written_as: export.written_as,
                page: export.ddi,
                irql_min: export.irql.min.0,
                irql_max: export.irql.max.0,
                irql_when: export.irql_when,
                irql_note: export.irql_note,
                limits: export.limits,
            });
        }
    }
    all.sort_by_key(|export| (export.module, export.name));
    all
}

/// Lists every variable that a driver can import, by image and name.
pub fn variables() -> Vec<VariableSummary> {
    let mut all = Vec::new();
    for module in system::modules() {
        let variables = module.data.iter().flat_map(|list| list.iter());
        all.extend(variables.map(|variable| VariableSummary {
            module: module.name,
            name: variable.name,
            page: variable.ddi,
        }));
    }
    all.sort_by_key(|variable| (variable.module, variable.name));
    all
}

#[cfg(test)]
mod tests {
    use super::{exports, variables};

    #[test]
    fn every_export_has_its_own_name_and_a_page() {
        let exports = exports();
        assert!(exports.iter().any(|e| e.module == "hal.dll"));
        assert!(exports.is_sorted_by_key(|e| (e.module, e.name)));
        for export in &exports {
            assert!(export.page.contains('/'), "{}", export.name);
            assert!(export.irql_min <= export.irql_max, "{}", export.name);
        }
        assert!(variables().iter().all(|variable| variable.page.contains('/')));
    }
}
