//! `cargo xtask new-export Name`: the declaration of an export, filled in from its documentation.
//!
//! The body stops as unsupported until it is written: there are no silent stubs.

use anyhow::{Context, Result, bail};

use crate::{
    facts::{self, Fact, LEVELS, Limits},
    new_rule::write_all,
    repo,
};

/// Prefixes of names, longest first, and the component that owns them.
const COMPONENTS: [(&str, &str); 14] = [
    ("FsRtl", "fsrtl"),
    ("Etw", "etw"),
    ("Rtl", "rtl"),
    ("Iof", "io"),
    ("Obf", "ob"),
    ("Cc", "cc"),
    ("Cm", "cm"),
    ("Ex", "ex"),
    ("Io", "io"),
    ("Ke", "ke"),
    ("Mm", "mm"),
    ("Ob", "ob"),
    ("Ps", "ps"),
    ("Se", "se"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The exported name, as in `IoCreateDevice`.
    name: String,
    /// The component, where the name does not tell it.
    #[arg(long)]
    component: Option<String>,
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let name = &args.name;
    let by_prefix = COMPONENTS.iter().find(|(prefix, _)| name.starts_with(prefix));
    let component = args.component.as_deref().or(by_prefix.map(|(_, component)| *component));
    let component = component.with_context(|| format!("whose is `{name}`? say `--component`"))?;
    let facts = facts::read()?;
    let fact = facts.as_ref().and_then(|facts| facts.get(name));
    if facts.is_none() {
        println!("the table of documented limits is not here: fill in limits and arguments");
    } else if fact.is_none() {
        println!("`{name}` has no documentation page in the table");
    }
    let file = snake(name);
    let path = format!("kernel/ntoskrnl/src/{component}/{file}.rs");
    if repo::root().join(&path).exists() {
        bail!("{path} exists already");
    }
    write_all([(path, skeleton(name, fact))])?;
    println!("next: `mod {file};` and `{file}::EXPORTS` in kernel/ntoskrnl/src/{component}/mod.rs");
    Ok(())
}

fn skeleton(name: &str, fact: Option<&Fact>) -> String {
    let irql = fact.and_then(|fact| fact.limits).map_or_else(|| "..".to_owned(), range);
    let when = fact.filter(|fact| fact.is_conditional).map_or_else(String::new, |fact| {
        format!(",\n    irql_when = \"{}\"", fact.irql_text.trim().replace('"', "'"))
    });
    let header = fact.map_or("wdm", |fact| fact.header.trim_end_matches(".h"));
    let page = format!("{header}/nf-{header}-{}", name.to_lowercase());
    let parameters = fact.map(|fact| fact.parameters.as_slice()).unwrap_or_default();
    let declared: String =
        parameters.iter().map(|name| format!("    _{}: u64,\n", snake(name))).collect();
    format!(
        "//! `{name}`.\n\n\
         use nt_macros::export;\n\n\
         use crate::{{CallResult, Kernel, Stop, exports}};\n\n\
         exports![{name}];\n\n\
         /// One sentence: what it promises.\n\
         #[export(irql = {irql}, ddi = \"{page}\"{when})]\n\
         fn {name}(\n    _k: &mut Kernel,\n{declared}) -> CallResult<u64> {{\n    \
         Err(Stop::Unsupported {{ feature: \"ntoskrnl.exe!{name}\".to_owned() }})\n}}\n"
    )
}

fn range(limits: Limits) -> String {
    let last = LEVELS.len() - 1;
    let name = |index: usize| LEVELS.get(index).copied().unwrap_or_default();
    match limits {
        Limits { min: 0, max } if max == last => "..".to_owned(),
        Limits { min, max } if min == max => name(min).to_owned(),
        Limits { min: 0, max } => format!("..={}", name(max)),
        Limits { min, max } if max == last => format!("{}..", name(min)),
        Limits { min, max } => format!("{}..={}", name(min), name(max)),
    }
}

/// `IoCreateDevice` to `io_create_device`, `InitialMDLSize` to `initial_mdl_size`.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| letters.get(index));
        let is_after_small = before.is_some_and(|c| c.is_lowercase() || c.is_ascii_digit());
        let is_before_small = letters.get(index + 1).is_some_and(|c| c.is_lowercase());
        if letter.is_uppercase() && index > 0 && (is_after_small || is_before_small) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::{Limits, range, snake};

    #[test]
    fn names_of_files() {
        let cases = [
            ("IoCreateDevice", "io_create_device"),
            ("MmMapIoSpaceEx", "mm_map_io_space_ex"),
            ("InitialMDLSize", "initial_mdl_size"),
            ("ExAllocatePool2", "ex_allocate_pool2"),
        ];
        for (name, expected) in cases {
            assert_eq!(snake(name), expected);
        }
    }

    #[test]
    fn limits_as_ranges() {
        assert_eq!(range(Limits { min: 0, max: 5 }), "..");
        assert_eq!(range(Limits { min: 0, max: 0 }), "PASSIVE_LEVEL");
        assert_eq!(range(Limits { min: 0, max: 1 }), "..=APC_LEVEL");
        assert_eq!(range(Limits { min: 2, max: 5 }), "DISPATCH_LEVEL..");
    }
}
