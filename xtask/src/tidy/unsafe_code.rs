//! Unsafe code only in listed places, each with its justification.

use super::{Complaint, rust_text, tree::Tree};

pub(super) const MARK: &str = "// UNSAFETY:";

/// Files, or folders ending in `/`, that may hold unsafe code. A folder is justified in its root
/// file `lib.rs` or in each file.
const ALLOWED: [&str; 6] = [
    // Frames in a mapping that can be mapped a second time.
    "engine/host_frames/src/",
    // Runs translated code.
    "engine/x86_jit/src/",
    // Runs benchmark kernels on the host processor.
    "xtask/src/bench/native.rs",
    // Runs test vectors on the host processor.
    "xtask/src/vectors/host.rs",
    // The border to the kernel's C interface, in drivers written in Rust.
    "sdk/kernel_sdk/src/",
    // Entry points, and the flaw that one of them shows.
    "drivers/tour/",
];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in tree.with_extension("rs") {
        let code = rust_text::code_only(file.text());
        let Some((line, _)) = rust_text::words(&code).find(|(_, word)| *word == "unsafe") else {
            continue;
        };
        let place = ALLOWED.iter().find(|place| {
            if place.ends_with('/') { file.path.starts_with(*place) } else { file.path == **place }
        });
        let Some(place) = place else {
            complaints.push(Complaint::new(&file.path, line, "unsafe code outside its places"));
            continue;
        };
        let root = tree.get(&format!("{place}lib.rs"));
        let is_justified =
            |text: &str| text.lines().any(|line| line.trim_start().starts_with(MARK));
        if !is_justified(file.text()) && !root.is_some_and(|root| is_justified(root.text())) {
            let message = format!("unsafe code without a `{MARK}` comment");
            complaints.push(Complaint::new(&file.path, line, message));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    #[test]
    fn unsafe_code_needs_a_place_and_a_reason() {
        let check = |path, text| check(&Tree::of(&[(path, text)])).len();
        assert_eq!(check("kernel/x/src/lib.rs", "unsafe { f() }"), 1);
        assert_eq!(check("kernel/x/src/lib.rs", "// unsafe\nlet unsafe_code = 1;"), 0);
        assert_eq!(check("sdk/kernel_sdk/src/a.rs", "unsafe { f() }"), 1);
        assert_eq!(check("sdk/kernel_sdk/src/a.rs", "// UNSAFETY: because\nunsafe { f() }"), 0);
    }
}
