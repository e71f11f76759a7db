//! The program as people and tools meet it: arguments in, text and exit codes out.

mod input;
mod schema;

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What is compared here are bytes; the schedules have tests of their own.
const FEW_SCHEDULES: [&str; 2] = ["--schedule-runs", "20"];

fn bugcheck(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bugcheck"))
        .args(arguments)
        .current_dir(ROOT)
        .output()
        .expect("the program was built for this test")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
        + std::str::from_utf8(&output.stderr).expect("output is UTF-8")
}

/// Runs the program and compares its exit code; every word must be in its output.
fn check(arguments: &[&str], exit: i32, words: &[&str]) {
    let output = bugcheck(arguments);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}\n{text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: no `{word}` in\n{text}");
    }
}

#[test]
fn exit_codes_tell_who_is_to_blame() {
    check(&["check", "samples/zero.sys"], 0, &["clean: samples/zero.sys: "]);
    check(&["check", "samples/demo/double_free.sys"], 1, &["violation[pool::double_free]"]);
    check(&["check", "samples"], 1, &["clean: samples/sample.sys"]);
    check(&["check", "samples/zero.sys", "--timeout", "0"], 4, &["stopped: samples/zero.sys"]);
    let exposure = "samples/demo/port_access.sys";
    check(&["check", exposure], 1, &["exposure[exposure::port_io]"]);
    check(&["check", exposure, "--fail-on", "violation"], 0, &["exposure[exposure::port_io]"]);
}

#[test]
fn the_report_is_the_same_for_any_number_of_jobs() {
    let report = |jobs| {
        let drivers = ["check", "samples", "samples/demo", "--format", "json"];
        let output = bugcheck(&[&drivers[..], &FEW_SCHEDULES, &["--jobs", jobs]].concat());
        (output.status.code(), text(&output))
    };
    let one = report("1");
    assert!(one == report("2") && one == report("3"));
}

#[test]
fn the_report_is_the_same_with_both_engines() {
    let rows: [&[&str]; 4] = [
        &["check", "samples", "samples/demo", "--format", "json", "--budget", "quick"],
        &["check", "samples/demo/double_free.sys", "--without", "no::such_rule"],
        &["check", "Cargo.toml", "no/such.sys", "samples/zero.sys", "--budget", "quick"],
        &["run", "samples/zero.sys", "--events"],
    ];
    for row in rows {
        let output = |engine| {
            let output = bugcheck(&[row, &["--engine", engine]].concat());
            (output.status.code(), text(&output))
        };
        let interpreted = output("interp");
        let translated = output("jit");
        if translated.1.contains("the translator is not available here") {
            assert_eq!(translated.0, Some(2), "a host without translator says so");
            return;
        }
        assert!(interpreted == translated, "{row:?}\n{}\n{}", interpreted.1, translated.1);
    }
    let scenario = ["check", "samples/zero.sys", "--scenario", "x.rhai", "--engine", "jit"];
    check(&scenario, 2, &["scenarios run in the interpreter"]);
    let late = ["check", "samples/zero.sys", "--timeout", "0", "--engine", "jit"];
    check(&late, 4, &["stopped: samples/zero.sys"]);
}

#[test]
fn bad_input_gets_one_sentence_and_2() {
    let folder = tempfile("input");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).expect("the folder can be written");
        path.to_string_lossy().into_owned()
    };
    let sample = std::fs::read(Path::new(ROOT).join("samples/zero.sys")).expect("it is there");
    let half = sample.get(..sample.len() / 2).expect("it has two halves");
    let files = [
        (write("empty.sys", b""), "the file is empty"),
        (write("text.sys", b"hello, driver"), "not a PE file"),
        (write("short.sys", b"MZ"), "error: "),
        (write("half.sys", half), "error: "),
        (folder.join("none.sys").to_string_lossy().into_owned(), "cannot be read"),
    ];
    for (file, words) in &files {
        for verb in ["check", "inspect", "run"] {
            let output = bugcheck(&[verb, file]);
            let text = text(&output);
            assert_eq!(output.status.code(), Some(2), "{verb} {file}: {text}");
            let count = text.lines().count();
            assert!(text.contains(words) && count == 1, "{verb} {file}: {text}");
        }
    }
    let empty = tempfile("empty");
    check(&["check", &empty.to_string_lossy()], 2, &["no driver (*.sys) in this folder"]);
}

#[test]
fn nonsense_is_explained() {
    check(&[], 2, &["Usage: bugcheck"]);
    check(&["check"], 2, &["required"]);
    check(&["chek", "x.sys"], 2, &["similar subcommand", "check"]);
    check(&["check", "samples/zero.sys", "--without", "x"], 2, &["no rule is called `x`"]);
    check(&["replay", "what", "samples/zero.sys"], 2, &["not a replay token"]);
    check(&["replay", "9.1.1.1", "samples/zero.sys"], 2, &["version `9`"]);
    check(&["replay", "5.00000000.0.0.2", "samples/zero.sys"], 2, &["another image"]);
}

#[test]
fn help_names_every_verb() {
    let verbs = ["check", "run", "replay", "explain", "rules", "inspect"];
    check(&["--help"], 0, &verbs);
    for verb in verbs {
        check(&[verb, "--help"], 0, &["Usage: bugcheck", verb]);
    }
    check(&["--version"], 0, &["bugcheck 0."]);
}

#[test]
fn every_rule_is_explained() {
    let list = text(&bugcheck(&["rules"]));
    assert!(list.lines().count() >= 35, "{list}");
    for line in list.lines() {
        let id = line.split_whitespace().next().expect("a line starts with the id");
        check(&["explain", id], 0, &[id, "## Why Windows cares", "## Contract"]);
    }
}

#[test]
fn reports_repeat_byte_for_byte_and_fit_the_schema() {
    let drivers = ["check", "samples", "samples/demo", "Cargo.toml", "--format", "json"];
    let arguments = [&drivers[..], &FEW_SCHEDULES].concat();
    let first = bugcheck(&arguments);
    assert_eq!(first.status.code(), Some(2), "Cargo.toml is no driver");
    assert_eq!(first.stdout, bugcheck(&arguments).stdout);
    let report: Value = serde_json::from_slice(&first.stdout).expect("it is JSON");
    let schema = std::fs::read(Path::new(ROOT).join("docs/json-schema.json")).expect("it is there");
    let schema: Value = serde_json::from_slice(&schema).expect("it is JSON");
    schema::validate(&schema, &report).expect("the report fits its schema");
}

#[test]
fn every_token_replays_its_finding() {
    let drivers = ["check", "samples", "samples/demo", "--format", "json"];
    let report = bugcheck(&[&drivers[..], &FEW_SCHEDULES].concat());
    let report: Value = serde_json::from_slice(&report.stdout).expect("it is JSON");
    let mut count = 0;
    for file in report["files"].as_array().expect("a list") {
        for finding in file["findings"].as_array().expect("a list") {
            let token = finding["replay"].as_str().expect("a text");
            let path = file["file"].as_str().expect("a text");
            let again = bugcheck(&["replay", token, path, "--format", "json"]);
            let again: Value = serde_json::from_slice(&again.stdout).expect("it is JSON");
            let found = again["files"][0]["findings"].as_array().expect("a list");
            let is_same = |other: &Value| {
                ["rule", "message", "site", "history", "request", "needs", "replay"]
                    .iter()
                    .all(|key| other[key] == finding[key])
            };
            assert!(found.iter().any(is_same), "{path} {token}: {found:#?}");
            count += 1;
        }
    }
    assert!(count >= 8, "the samples have findings");
}

#[test]
fn a_saved_replay_shows_the_finding_again() {
    let folder = tempfile("replays");
    let place = folder.to_string_lossy();
    let driver = "samples/demo/double_free.sys";
    check(&["check", driver, "--save-replays", &place], 1, &[]);
    let saved = folder.join("double_free.sys-1-pool-double_free.json");
    let saved = saved.to_string_lossy();
    check(&["replay", &saved, driver], 1, &["violation[pool::double_free]"]);
    check(&["replay", &saved, "samples/zero.sys"], 2, &["another image"]);
    check(&["replay", "Cargo.toml", driver], 2, &["not a replay file"]);
    check(&["replay", "no/such.json", driver], 2, &["cannot be read"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_was_found() {
    let child = Command::new(env!("CARGO_BIN_EXE_bugcheck"))
        .arg("check")
        .args(["samples/demo", "samples"].repeat(40))
        .current_dir(ROOT)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    let process = child.id().to_string();
    wait_for_handler(&process);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let signalled = Command::new("kill").args(["-INT", &process]).status().expect("it is there");
    assert!(signalled.success());
    let output = child.wait_with_output().expect("it ends");
    let text = text(&output);
    assert!(text.contains("interrupted after "), "{text}");
    assert!(output.stderr.is_empty(), "a file is no terminal");
    assert_eq!(output.status.code(), Some(1), "findings count for more than a limit");
}

/// Waits until a process hears of Ctrl-C itself: a busy machine may take long to start it.
#[cfg(unix)]
fn wait_for_handler(process: &str) {
    const SIGINT: u64 = 1 << (2 - 1);
    let status = format!("/proc/{process}/status");
    for _ in 0..600 {
        let Ok(text) = std::fs::read_to_string(&status) else { return };
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        if caught.is_none_or(|mask| mask & SIGINT != 0) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn a_rule_that_is_off_says_nothing() {
    let file = "samples/demo/double_free.sys";
    check(&["check", file, "--without", "pool::double_free"], 0, &["clean: "]);
}

#[test]
fn the_flawed_sample_is_shown_with_its_source() {
    let words = [
        "violation[user_buffer::unguarded_access]",
        "violation[user_buffer::unprobed_pointer]",
        "lib.rs:",
        "unsafe { (*data).priority }",
        "bugcheck replay 5.",
    ];
    check(&["check", "samples/priority_booster.sys"], 1, &words);
    check(&["check", "samples/priority_booster_guarded.sys"], 0, &["clean: "]);
}

/// A fresh folder of this test.
fn tempfile(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}
