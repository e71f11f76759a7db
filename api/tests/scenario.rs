//! Scenarios, tried on the prebuilt samples.

use bugcheck::{
    CheckRequest, Driver, Limits, Outcome, Scenario, ScenarioError, go_on, replay_file,
    replay_scenario, run_scenario,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn sample(name: &str) -> Driver {
    let path = format!("{ROOT}/samples/{name}.sys");
    let bytes = std::fs::read(&path).expect("samples are part of the project");
    Driver { path: format!("{name}.sys"), name: format!("{name}.sys"), bytes: Ok(bytes), pdb: None }
}

fn scenario(text: &str) -> Scenario {
    Scenario { path: "test.rhai".to_owned(), text: text.to_owned() }
}

#[test]
fn the_example_is_met() {
    let path = format!("{ROOT}/docs/examples/zero.rhai");
    let text = std::fs::read_to_string(path).expect("the example is part of the project");
    let result =
        run_scenario(sample("zero"), &scenario(&text), &CheckRequest::default(), &mut go_on);
    let report = result.expect("it runs").report;
    assert_eq!(report.outcome, Outcome::Clean, "{}", report.to_json());
}

#[test]
fn what_is_not_met_is_told_with_its_line() {
    let text =
        "let file = open(\"\\\\\\\\.\\\\Zero\");\nexpect(false, \"never\");\nprint(file.status);";
    let result =
        run_scenario(sample("zero"), &scenario(text), &CheckRequest::default(), &mut go_on);
    let result = result.expect("it runs");
    assert_eq!(result.printed, ["STATUS_SUCCESS"]);
    assert_eq!(result.report.outcome, Outcome::Findings);
    let [file] = result.report.files.as_slice() else { panic!("one driver was checked") };
    let [expectation] = file.expectations.as_slice() else { panic!("one is not met") };
    assert_eq!((expectation.line, expectation.message.as_str()), (Some(2), "never"));
}

#[test]
fn a_finding_replays_with_its_scenario_only() {
    let text = r#"
        let file = open("\\\\.\\PriorityBooster");
        ioctl(file, 0x80002003, zeros(8).thread_id(0).u32(4, 12), none());
        close(file);
        unload();
    "#;
    let request = CheckRequest::default();
    let driver = || sample("priority_booster");
    let result = run_scenario(driver(), &scenario(text), &request, &mut go_on).expect("it runs");
    let [file] = result.report.files.as_slice() else { panic!("one driver was checked") };
    let finding = file.findings.first().expect("the sample is flawed");
    let token = &finding.replay;
    let again = replay_scenario(driver(), &scenario(text), &request, token).expect("it runs");
    let rules: Vec<&str> = again
        .report
        .files
        .iter()
        .flat_map(|file| &file.findings)
        .map(|finding| finding.rule.as_str())
        .collect();
    assert!(rules.contains(&finding.rule.as_str()), "{rules:?}");
    let [saved, ..] = result.replay_files.as_slice() else { panic!("a file was written") };
    let again = CheckRequest { drivers: vec![driver()], ..request.clone() };
    let again = replay_file(&again, &saved.text).expect("it is a replay file");
    let found = again.files.iter().flat_map(|file| &file.findings).next().expect("it is found");
    let campaign = (finding.run, finding.runs, finding.seen, finding.seen_of);
    let (run, runs, seen, seen_of) = campaign;
    assert_eq!(bugcheck::Finding { run, runs, seen, seen_of, ..found.clone() }, *finding);
    let foreign = CheckRequest { drivers: vec![sample("zero")], ..request.clone() };
    let refused = replay_file(&foreign, &saved.text).expect_err("it is another image");
    assert!(refused.contains("another image"), "{refused}");
    let other = replay_scenario(driver(), &scenario("unload();"), &request, token);
    let Err(ScenarioError::Input(sentence)) = other else { panic!("another scenario: {other:?}") };
    assert!(sentence.contains("another scenario"), "{sentence}");
}

/// The sentence that a script gets.
fn refusal(text: &str) -> String {
    let result =
        run_scenario(sample("zero"), &scenario(text), &CheckRequest::default(), &mut go_on);
    let error = result.err().unwrap_or_else(|| panic!("`{text}` ran"));
    error.to_string()
}

#[test]
fn a_refusal_says_what_was_expected_and_where() {
    let cases = [
        ("", "the script makes no request and expects nothing"),
        ("print(1);", "the script makes no request and expects nothing"),
        ("unload();\nunload();", "the driver was asked to unload before (line 2, position 1)"),
        (
            "let b = zeros(16).u32(14, 5);",
            "4 bytes at offset 14 do not fit a buffer of 16 bytes (line 1, position 19)",
        ),
        (
            "let b = none().u8(0, 5);",
            "a pointer that leads nowhere has no bytes to put something in (line 1, position 16)",
        ),
        ("zeros(1).u8(0, 300)", "300 does not fit 1 byte (line 1, position 10)"),
        ("zeros(4).u32(0, -2147483649)", "-2147483649 does not fit 4 bytes (line 1, position 10)"),
        (
            "let f = open(\"Zero\");",
            r"a path such as `\\.\Zero` or `\Device\Zero` was expected, found `Zero`",
        ),
        (r#"let f = open("\\.\\Zero");"#, r"was expected, found `\.\Zero` (each `\` is written"),
        (
            "let f = open(`\\\\.\\Nobody`);\nread(f, zeros(1));",
            r"the file is not open: `\\.\Nobody` gave STATUS_OBJECT_NAME_NOT_FOUND in line 1",
        ),
        (
            "let f = open(`\\\\.\\Zero`);\nreed(f, zeros(1));",
            "there is no function `reed(File, Buffer)`; did you mean `read(file, buffer)`? \
             (line 2, position 1)",
        ),
        (
            "fn f() { unload(1); }\nf();",
            "`unload()` was expected, found `unload(number)` (line 1, position 10)",
        ),
    ];
    for (text, words) in cases {
        let sentence = refusal(text);
        assert!(sentence.contains(words), "`{text}`: {sentence}");
    }
}

#[test]
fn numbers_fit_with_a_sign_or_without() {
    let text = "let b = zeros(8).u8(0, 255).u8(0, -128).u32(0, 0xffffffff).u32(0, -1)\
                .u64(0, -1).u16(6, 65535);\nunload();";
    let few =
        CheckRequest { limits: Limits { runs: 5, ..Limits::default() }, ..Default::default() };
    assert!(run_scenario(sample("zero"), &scenario(text), &few, &mut go_on).is_ok());
}

#[test]
fn a_failed_comparison_tells_both_sides() {
    let text = r#"
        let file = open(`\\.\Zero`);
        let reply = read(file, zeros(16));
        if reply.information == 3 { print("short"); }
        let is_short = false;
        expect(reply.u32(0) == 5, "a five");
        expect(reply.status != "STATUS_SUCCESS", "it fails");
        expect(is_short || reply.information < 4, "it is short");
        expect(is_short, "it is short");
        expect(reply.information == 16, "it is long");
    "#;
    let few =
        CheckRequest { limits: Limits { runs: 5, ..Limits::default() }, ..Default::default() };
    let result = run_scenario(sample("zero"), &scenario(text), &few, &mut go_on).expect("it runs");
    let [file] = result.report.files.as_slice() else { panic!("one driver was checked") };
    let found: Vec<_> = file.expectations.iter().map(|e| (e.line, e.found.as_deref())).collect();
    let expected = [
        (Some(6), Some("expected 5, found 0")),
        (Some(7), Some("expected != `STATUS_SUCCESS`, found `STATUS_SUCCESS`")),
        (Some(8), Some("expected < 4, found 16 (0x10)")),
        (Some(9), None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_scenario_without_requests_says_what_was_not_exercised() {
    let text = "expect(debug_output().len() < 100, \"it prints little\");";
    let result =
        run_scenario(sample("zero"), &scenario(text), &CheckRequest::default(), &mut go_on);
    let report = result.expect("it runs").report;
    let [file] = report.files.as_slice() else { panic!("one driver was checked") };
    let words = "no request was made; no routine but DriverEntry was called";
    assert_eq!(file.not_exercised.as_deref(), Some(words));
    assert_eq!(report.outcome, Outcome::Clean);
}

/// The calls in the table of `docs/testing-a-driver.md`.
fn documented_calls() -> Vec<String> {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/testing-a-driver.md"));
    let page = page.expect("the page is part of the project");
    let rows = page.lines().skip_while(|line| !line.starts_with("| function |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|line| line.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[test]
fn every_documented_function_exists() {
    let mut calls = documented_calls();
    calls.retain(|call| call.contains('('));
    assert!(calls.len() >= 30, "{calls:?}");
    // What ends something comes last.
    calls.sort_by_key(|call| (call == "unload()", call == "close(file)"));
    let mut text = r#"
        let path = `\\.\Zero`; let file = open(path); let buffer = zeros(16); let blob = blob(4);
        let input = zeros(8); let output = zeros(8); let code = 0x222000; let n = 1; let at = 0;
        let value = 1; let vector = 5; let condition = true; let request = reading(file, buffer);
        let reply = read(file, buffer);
    "#
    .to_owned();
    for call in &calls {
        text.push_str(&format!("{};\n", call.replace(", ...]", "]")));
    }
    let few =
        CheckRequest { limits: Limits { runs: 5, ..Limits::default() }, ..Default::default() };
    let result = run_scenario(sample("zero"), &scenario(&text), &few, &mut go_on);
    assert!(result.is_ok(), "{:?}\n{text}", result.err());
}

#[test]
fn strange_scenarios_get_one_sentence() {
    let texts = [
        "let x = ;",
        "loop {}",
        "fn f() { f() } f()",
        "open(1)",
        "zeros(-1)",
        "zeros(99999999999)",
        "let s = \"x\"; loop { s += s; }",
        "let a = []; loop { a.push(a); }",
        "read(open(\"\\\\\\\\.\\\\Nobody\"), zeros(1))",
        "eval(\"1\")",
        "import \"/etc/passwd\" as p;",
        "throw 1",
        "let b = zeros(9); loop { b = b.u8(0, 1); }",
        "let f = open(\"\\\\\\\\.\\\\Zero\"); loop { read(f, zeros(1)); }",
        "let f = open(\"\\\\\\\\.\\\\Zero\"); loop { write(f, zeros(16777216)); }",
        "fn f(n) { let b = blob(60000, 0); f(n + 1) } f(0)",
        "together([1])",
        "callers([1])",
        "callers([[1]])",
        "let f = open(\"\\\\\\\\.\\\\Zero\"); let r = []; \
         for i in 0..33 { r.push(cancelling(f)); } together(r);",
        "let f = new_file(); let r = []; for i in 0..65 { r.push(cancelling(f)); } callers([r]);",
        "let f = new_file(); loop { reading(f, zeros(16777216)); }",
        "sleeping_ms(-1)",
        "read(open(\"\\\\\\\\.\\\\Zero\"), zeros(8)).u64(1)",
        "\u{0}\u{202e}",
    ];
    for text in texts {
        let sentence = refusal(text);
        assert!(sentence.starts_with("test.rhai: ") && !sentence.contains('\n'), "{sentence}");
    }
    let long = scenario(&" ".repeat(2 << 20));
    assert!(run_scenario(sample("zero"), &long, &CheckRequest::default(), &mut go_on).is_err());
}

#[test]
fn callers_act_at_once() {
    let text = r#"
        let one = new_file();
        let other = new_file();
        let path = `\\.\Zero`;
        let replies = callers([
            [opening(one, path), reading(one, zeros(4).u32(0, 7)), closing(one)],
            [opening_overlapped(other, path), sleeping_ms(2), writing(other, zeros(4))],
        ]);
        print(`${replies[0].len()} ${replies[1].len()} ${replies[0][1].u32(0)}`);
        print(replies[1][2].status);
        close(other);
        unload();
    "#;
    let request = CheckRequest::default();
    let result = run_scenario(sample("zero"), &scenario(text), &request, &mut go_on);
    let result = result.expect("it runs");
    assert_eq!(result.printed, ["3 3 0", "STATUS_SUCCESS"]);
    assert_eq!(result.report.outcome, Outcome::Clean, "{}", result.report.to_json());
}

#[test]
fn requests_that_a_finding_does_not_need_are_left_out() {
    let text = r#"
        let file = open("\\\\.\\PriorityBooster");
        let other = open("\\\\.\\PriorityBooster");
        read(other, zeros(8));
        ioctl(other, 0x80002003, zeros(8).thread_id(0).u32(4, 0), none());
        ioctl(file, 0x80002003, zeros(8).thread_id(0).u32(4, 12), none());
        close(other);
        close(file);
        unload();
    "#;
    let request = CheckRequest { drivers: vec![sample("priority_booster")], ..Default::default() };
    let driver = sample("priority_booster");
    let result = run_scenario(driver, &scenario(text), &request, &mut go_on).expect("it runs");
    let findings: Vec<_> = result.report.files.iter().flat_map(|file| &file.findings).collect();
    let unguarded = findings.iter().find(|f| f.rule == "user_buffer::unguarded_access");
    let unguarded = unguarded.expect("the sample is flawed");
    let needs = unguarded.needs.join("; ");
    assert!(needs.contains("is gone") && !needs.contains("read into"), "{needs}");
    assert!(unguarded.seen >= 1 && unguarded.seen <= unguarded.seen_of);
    for file in result.replay_files {
        let again = replay_file(&request, &file.text).expect("it is a replay file");
        let found: Vec<_> = again.files.iter().flat_map(|file| &file.findings).collect();
        let is_same = |f: &&bugcheck::Finding| found.iter().any(|g| g.history == f.history);
        assert!(findings.iter().any(is_same), "{}: {found:#?}", file.name);
    }
}
