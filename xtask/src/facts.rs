//! What the public documentation states per routine, read from a table outside the repository.
//!
//! `BUGCHECK_CONTRACT` names the folder with `ddi-facts.jsonl`; without it `../shared/contract` is
//! tried. The table is optional: it is large, and only checks and skeletons use it.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::repo;

/// IRQL names in ascending order.
pub(crate) const LEVELS: [&str; 6] =
    ["PASSIVE_LEVEL", "APC_LEVEL", "DISPATCH_LEVEL", "DIRQL", "IPI_LEVEL", "HIGH_LEVEL"];

/// Documented limits of one routine. Both are indices into [`LEVELS`], inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Fact {
    pub(crate) header: String,
    pub(crate) parameters: Vec<String>,
    /// Absent where the page gives none that could be read.
    pub(crate) limits: Option<Limits>,
    /// The limit, if any, is the widest: less holds for some arguments or in some state.
    pub(crate) is_conditional: bool,
    /// What the page says.
    pub(crate) irql_text: String,
    /// Another source gives another limit.
    pub(crate) is_disputed: bool,
}

/// The table, or nothing where it is absent.
pub(crate) fn read() -> Result<Option<BTreeMap<String, Fact>>> {
    let folder = env::var_os("BUGCHECK_CONTRACT")
        .map_or_else(|| repo::root().join("../shared/contract"), PathBuf::from);
    let table = folder.join("ddi-facts.jsonl");
    if !table.is_file() {
        return Ok(None);
    }
    let disputed = records(&folder.join("ddi-irql-disagreements.jsonl"))?;
    let disputed: BTreeSet<_> = disputed.iter().filter_map(|record| text(record, "name")).collect();
    let mut facts = BTreeMap::new();
    for record in records(&table)? {
        let Some(name) = text(&record, "name") else { continue };
        let parameters = record.get("params").and_then(Value::as_array).into_iter().flatten();
        let fact = Fact {
            header: text(&record, "header").unwrap_or_default(),
            parameters: parameters.filter_map(|parameter| text(parameter, "name")).collect(),
            limits: record.get("irql").and_then(limits),
            is_conditional: record.get("irql").is_some_and(|irql| is_set(irql, "conditional")),
            irql_text: text(&record, "irql_text").unwrap_or_default(),
            is_disputed: disputed.contains(&name),
        };
        facts.insert(name, fact);
    }
    Ok(Some(facts))
}

fn records(file: &PathBuf) -> Result<Vec<Value>> {
    let shown = file.display();
    let lines = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    // The first line describes the file.
    let records = lines.lines().skip(1).map(serde_json::from_str);
    records.collect::<Result<_, _>>().with_context(|| format!("{shown} is damaged"))
}

fn limits(irql: &Value) -> Option<Limits> {
    if !is_set(irql, "parsed") {
        return None;
    }
    let level = |key: &str| {
        let name = irql.get(key)?.as_str()?;
        LEVELS.iter().position(|level| *level == name)
    };
    if is_set(irql, "any") {
        return Some(Limits { min: 0, max: LEVELS.len() - 1 });
    }
    Some(Limits { min: level("min").unwrap_or(0), max: level("max")? })
}

fn is_set(irql: &Value, key: &str) -> bool {
    irql.get(key).and_then(Value::as_bool) == Some(true)
}

fn text(record: &Value, key: &str) -> Option<String> {
    Some(record.get(key)?.as_str()?.to_owned())
}
