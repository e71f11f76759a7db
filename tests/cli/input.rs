//! What is typed wrong, files that are no drivers, and output that nobody takes.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{ROOT, bugcheck, check, schema, tempfile, text};

const ZERO: &str = "samples/zero.sys";

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let refused = [
        (["--runs", "0"], "0 is not in 1..=4294967295"),
        (["--events", "0"], "a number of at least 1 was expected"),
        (["--events", "x"], "a number from 1 to 18446744073709551615 was expected"),
        (["--jobs", "0"], "0 is not in 1..=255"),
        (["--processors", "0"], "0 is not in 1..=8"),
        (["--processors", "9"], "9 is not in 1..=8"),
    ];
    for ([option, number], words) in refused {
        check(&["check", ZERO, option, number], 2, &[option, words]);
    }
    check(&["run", ZERO, "--limit-events", "0"], 2, &["a number of at least 1 was expected"]);
    // That there are none makes sense: the other runs are made.
    check(&["check", ZERO, "--schedule-runs", "0"], 0, &["clean: samples/zero.sys: "]);
}

#[test]
fn one_is_singular() {
    let words = ["1 run was made, ", " more were planned", ": 1 run; "];
    check(&["check", ZERO, "--runs", "1"], 4, &words);
    check(&["check", ZERO, "--events", "1"], 4, &["a run reached its bound of 1 event\n"]);
}

#[test]
fn names_that_are_nearly_right_are_offered() {
    check(&["explain", "pool"], 0, &["pool::double_free ", "pool::leaked_at_unload "]);
    check(&["explain", "wait_times_out"], 0, &["the time out of a wait passes"]);
    check(&["explain", "pool::leaked"], 2, &["did you mean `pool::leaked_at_unload`?"]);
    check(&["explain", "foo"], 2, &["no rule, area or move is called `foo`; `bugcheck rules`"]);
    let cases = [
        (["--without", "pool::doublefree"], "did you mean `pool::double_free`?"),
        (["--without-move", "pool_fail"], "did you mean `pool_failure`?"),
        (["--strategy", "prempt"], "a similar value exists: 'preempt'"),
    ];
    for ([option, name], words) in cases {
        check(&["check", ZERO, option, name], 2, &[words]);
    }
}

#[test]
fn no_name_moves_the_terminal() {
    let folder = tempfile("escape");
    let driver = folder.join("a\u{1b}[31mb.sys");
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    std::fs::copy(format!("{ROOT}/{ZERO}"), &driver).expect("the sample is there");
    let driver = driver.to_string_lossy();
    for arguments in [
        &["inspect", &*driver][..],
        &["run", &driver],
        &["check", &driver, "--runs", "5"],
        &["check", ZERO, "--without", "\u{1b}[31m"],
        &["explain", "\u{1b}[31m"],
    ] {
        let text = text(&bugcheck(arguments));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{arguments:?}: {text:?}");
        assert!(!text.is_empty());
    }
}

#[test]
fn replays_take_no_option_that_the_token_holds() {
    let token = "5.00000000.0.0.2";
    for held in [["--seed", "3"], ["--processors", "1"], ["--profile", "strict"]] {
        check(&["replay", token, ZERO, held[0], held[1]], 2, &[held[0], "the token holds it"]);
    }
    check(&["replay", token, ZERO, "--budget", "deep"], 2, &["unexpected argument '--budget'"]);
    let folder = tempfile("held");
    let place = folder.to_string_lossy();
    let driver = "samples/demo/double_free.sys";
    check(&["check", driver, "--save-replays", &place, "--budget", "quick"], 1, &[]);
    let saved = folder.join("double_free.sys-1-pool-double_free.json");
    let saved = saved.to_string_lossy();
    for typed in ["--keep-going", "--events=9", "--without=pool::tag_zero"] {
        check(&["replay", &saved, driver, typed], 2, &["a replay file holds what `--"]);
    }
}

#[test]
fn a_single_run_has_a_machine_and_a_seed_too() {
    check(&["run", ZERO, "--processors", "1", "--seed", "7"], 0, &["unload: STATUS_SUCCESS"]);
    check(&["run", ZERO, "--processors", "9"], 2, &["9 is not in 1..=8"]);
}

#[test]
fn scenarios_that_make_no_sense_get_one_sentence() {
    let folder = tempfile("scenarios");
    let script = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path.to_string_lossy().into_owned()
    };
    let cases = [
        (script("empty.rhai", ""), "the script makes no request and expects nothing"),
        (script("twice.rhai", "unload();\nunload();"), "unload before (line 2, position 1)"),
        (ZERO.to_owned(), "a scenario is a script in UTF-8 text, found other bytes"),
        ("samples".to_owned(), "a scenario is a file with a script, found a folder"),
        ("no/such.rhai".to_owned(), "no/such.rhai: the file cannot be read"),
    ];
    for (path, words) in &cases {
        let output = bugcheck(&["check", ZERO, "--scenario", path]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{path}: {text}");
        assert!(text.contains(words) && text.lines().count() == 1, "{path}: {text}");
    }
    let words = ["a scenario is played with one driver, found 9"];
    check(&["check", "samples", "--scenario", &cases[1].0], 2, &words);
}

#[test]
fn a_folder_without_drivers_does_not_keep_others_from_their_check() {
    let empty = tempfile("no_drivers");
    let place = empty.to_string_lossy();
    let words = ["there is no driver (*.sys) in this folder", "clean: samples/zero.sys: "];
    check(&["check", &place, ZERO, "--budget", "quick"], 2, &words);
    check(&["inspect", &place], 2, &["a file was expected, found a folder"]);
}

#[test]
#[cfg(unix)]
fn links_to_nowhere_and_strange_names_are_told_in_one_line() {
    let folder = tempfile("strange");
    let place = folder.to_string_lossy();
    for link in ["loop.sys", "nowhere.sys"] {
        let path = folder.join(link);
        let _ = std::fs::remove_file(&path);
        let target = if link == "loop.sys" { link } else { "missing" };
        std::os::unix::fs::symlink(target, path).expect("the folder can be written");
    }
    std::fs::write(folder.join("a\nb.sys"), "").expect("the folder can be written");
    let output = bugcheck(&["check", &place]);
    assert_eq!(output.status.code(), Some(2));
    let text = text(&output);
    for words in [r"a\nb.sys: the file is empty", "loop.sys: the file", "nowhere.sys: the file"] {
        assert!(text.lines().any(|line| line.contains(words)), "{words}: {text}");
    }
    assert_eq!(text.lines().count(), 3, "{text}");
}

/// The standard output of a program that was asked for JSON; it must fit the schema.
fn json(arguments: &[&str]) -> Value {
    let output = bugcheck(arguments);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output)));
    let schema = std::fs::read(format!("{ROOT}/docs/json-schema.json")).expect("it is there");
    let schema: Value = serde_json::from_slice(&schema).expect("it is JSON");
    schema::validate(&schema, &report).expect("the report fits its schema");
    assert_eq!(
        report.get("exit_code").and_then(Value::as_i64),
        output.status.code().map(i64::from),
        "{report}"
    );
    report
}

#[test]
fn who_asks_for_json_gets_json() {
    let format = ["--format", "json"];
    let scenario = tempfile("json").join("unfinished.rhai");
    std::fs::write(&scenario, "let x = ;").expect("the folder can be written");
    let scenario = scenario.to_string_lossy();
    let cases: [(&[&str], &str); 7] = [
        (&["check", ZERO, "--without", "x"], "no rule is called `x`"),
        (&["check", ZERO, "--scenario", &scenario], "unfinished.rhai: "),
        (&["check", "samples", "--scenario", &scenario], "one driver, found 9"),
        (&["check"], "required arguments were not provided"),
        (&["check", ZERO, "--nonsense"], "unexpected argument '--nonsense'"),
        (&["replay", "what", ZERO], "not a replay token"),
        (&["replay", "no/such.json", ZERO], "cannot be read"),
    ];
    for (arguments, words) in cases {
        let report = json(&[arguments, &format].concat());
        let error = report["error"].as_str().unwrap_or_default();
        assert!(error.contains(words) && !error.contains('\n'), "{arguments:?}: {report}");
        assert_eq!(report["exit_code"], 2, "{arguments:?}");
    }
    let report = json(&["check", "no/such.sys", "--format=json"]);
    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!(report["files"][0]["outcome"], "input_error", "{report}");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    for arguments in [&["rules"][..], &["inspect", ZERO], &["run", ZERO], &["explain", "pool"]] {
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_bugcheck"))
            .args(arguments)
            .current_dir(ROOT)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("the program was built for this test");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
        assert!(output.stderr.is_empty(), "{arguments:?}: {}", text(&output));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error() {
    let full = std::fs::File::create("/dev/full").expect("Linux has it");
    let output = Command::new(env!("CARGO_BIN_EXE_bugcheck"))
        .arg("rules")
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("the program was built for this test");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("the result cannot be written: "), "{}", text(&output));
}
