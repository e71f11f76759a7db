//! Scenarios, tried on the prebuilt samples.

use bugcheck::{
    CheckRequest, Driver, Outcome, Scenario, ScenarioError, go_on, replay_file, replay_scenario,
    run_scenario,
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
        "read(open(\"\\\\\\\\.\\\\Zero\"), zeros(8)).u64(1)",
        "\u{0}\u{202e}",
    ];
    for text in texts {
        let result =
            run_scenario(sample("zero"), &scenario(text), &CheckRequest::default(), &mut go_on);
        let error = result.err().unwrap_or_else(|| panic!("`{text}` ran"));
        let sentence = error.to_string();
        assert!(sentence.starts_with("test.rhai: ") && !sentence.contains('\n'), "{sentence}");
    }
    let long = scenario(&" ".repeat(2 << 20));
    assert!(run_scenario(sample("zero"), &long, &CheckRequest::default(), &mut go_on).is_err());
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
