//! Components of `ntoskrnl`: a module may use earlier ones only.

use super::{Complaint, rust_text, tree::Tree};

/// The order of NT's components. Modules that are not listed are the frame all of them stand in.
const ORDER: [&str; 15] = [
    "rtl", "ke", "ex", "mm", "ob", "se", "ps", "cm", "io", "pnp", "po", "fsrtl", "cc", "etw", "kd",
];
const ROOT: &str = "kernel/ntoskrnl/src/";

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let rank = |name: &str| ORDER.iter().position(|component| *component == name);
    for file in tree.with_extension("rs") {
        let Some(inner) = file.path.strip_prefix(ROOT) else { continue };
        let name = inner.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = rank(name) else { continue };
        let code = rust_text::code_only(file.text());
        let mut used = rust_text::names_below(&code, "crate");
        used.extend(rust_text::names_below(&code, "ntoskrnl"));
        for (line, other) in used {
            if rank(other).is_some_and(|other| other > own) {
                let message = format!("`{name}` uses `{other}`, which comes later");
                complaints.push(Complaint::new(&file.path, line, message));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn a_component_uses_earlier_ones_only() {
        let check = |path, text| check(&Tree::of(&[(path, text)])).len();
        assert_eq!(check("kernel/ntoskrnl/src/ke/a.rs", "use crate::{Kernel, io::irp};"), 1);
        assert_eq!(check("kernel/ntoskrnl/src/io/a.rs", "use crate::{ke, rtl::x};"), 0);
        assert_eq!(check("kernel/ntoskrnl/src/kernel.rs", "use crate::io;"), 0);
        assert_eq!(check("kernel/ntoskrnl/src/ke.rs", "// see crate::io\n"), 0);
    }
}
