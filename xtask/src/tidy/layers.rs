//! Layer order: a crate may depend on crates of its own folder and of folders above it.

use std::collections::BTreeMap;

use super::{Complaint, tree::Tree};

/// From the top of the list to the bottom; `xtask` and the driver side stand outside.
const ORDER: [&str; 9] =
    ["support", "nt", "engine", "kernel", "rules", "explore", "report", "api", "cli"];

/// Narrower than the order: this folder uses these crates of other folders and no more.
const ONLY: [(&str, &[&str]); 5] = [
    ("nt", &[]),
    // The engine knows no Windows.
    ("engine", &["choice_tape", "happens_before", "saved"]),
    // Rules judge facts; they never see the kernel.
    ("rules", &["choice_tape", "happens_before", "saved", "nt_abi", "guest_memory", "events"]),
    // Renderers know no rule and no kernel type.
    ("report", &["verifier"]),
    ("support", &[]),
];

/// Within a folder, these crates know nothing of the crates beside them.
const ALONE: [&str; 3] = ["events", "nt_macros", "verifier"];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let manifests: Vec<_> = tree
        .files
        .iter()
        .filter_map(|file| {
            let folder = file.path.split('/').next()?;
            let rank = ORDER.iter().position(|layer| *layer == folder)?;
            file.path.ends_with("/Cargo.toml").then_some((file, folder, rank))
        })
        .collect();
    let mut homes: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    for (file, folder, rank) in &manifests {
        homes.insert(key(file.text(), "name").unwrap_or_default(), (folder, *rank));
    }
    // The workspace may call a crate by another name than its folder; names are packages.
    let mut complaints = Vec::new();
    for (file, folder, rank) in &manifests {
        let own = key(file.text(), "name").unwrap_or_default();
        for (line, dependency) in dependencies(file.text()) {
            let Some((home, other)) = homes.get(dependency) else { continue };
            let only = ONLY.iter().find(|(layer, _)| layer == folder).map(|(_, only)| only);
            let message = if other > rank {
                format!("`{own}` ({folder}) depends on `{dependency}` of the later layer `{home}`")
            } else if home != folder && only.is_some_and(|only| !only.contains(&dependency)) {
                format!("`{folder}` may not know `{dependency}`")
            } else if home == folder && ALONE.contains(&own.as_str()) {
                format!("`{own}` must not know `{dependency}` beside it")
            } else {
                continue;
            };
            complaints.push(Complaint::new(&file.path, line, message));
        }
    }
    complaints
}

fn key(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    Some(line?.trim().trim_matches('"').to_owned())
}

/// Names in the `[dependencies]` section. Tests may use what they like.
fn dependencies(text: &str) -> Vec<(usize, &str)> {
    let mut is_inside = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line.trim() == "[dependencies]";
        } else if is_inside && let Some(name) = line.split(['.', '=', ' ']).next() {
            found.push((index + 1, name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, check};

    fn count(dependent: &str, dependency: &str) -> usize {
        let name = |path: &str| path.rsplit('/').next().expect("a name").to_owned();
        let first =
            format!("name = \"{}\"\n[dependencies]\n{0}.workspace = true\n", name(dependency));
        let text = first.replacen(&name(dependency), &name(dependent), 1);
        let other = format!("name = \"{}\"\n", name(dependency));
        let (a, b) = (format!("{dependent}/Cargo.toml"), format!("{dependency}/Cargo.toml"));
        check(&Tree::of(&[(&a, &text), (&b, &other)])).len()
    }

    #[test]
    fn layers_point_up_the_list() {
        assert_eq!(count("kernel/ntoskrnl", "engine/cpu"), 0);
        assert_eq!(count("engine/cpu", "kernel/ntoskrnl"), 1);
        assert_eq!(count("engine/cpu", "nt/nt_abi"), 1);
        assert_eq!(count("rules/rulebook", "kernel/ntoskrnl"), 1);
        assert_eq!(count("rules/rulebook", "kernel/events"), 0);
        assert_eq!(count("rules/verifier", "rules/rulebook"), 1);
        assert_eq!(count("report", "kernel/events"), 1);
    }
}
