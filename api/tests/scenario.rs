//! Scenarios, tried on the prebuilt samples.

use bugcheck::{
    CheckRequest, Driver, Outcome, Scenario, ScenarioError, replay_scenario, run_scenario,
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
    let result = run_scenario(sample("zero"), &scenario(&text), &CheckRequest::default());
    let report = result.expect("it runs").report;
    assert_eq!(report.outcome, Outcome::Clean, "{}", report.to_json());
}

#[test]
fn what_is_not_met_is_told_with_its_line() {
    let text =
        "let file = open(\"\\\\\\\\.\\\\Zero\");\nexpect(false, \"never\");\nprint(file.status);";
    let result = run_scenario(sample("zero"), &scenario(text), &CheckRequest::default());
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
    let result = run_scenario(driver(), &scenario(text), &request).expect("it runs");
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
        "read(open(\"\\\\\\\\.\\\\Zero\"), zeros(8)).u64(1)",
        "\u{0}\u{202e}",
    ];
    for text in texts {
        let result = run_scenario(sample("zero"), &scenario(text), &CheckRequest::default());
        let error = result.err().unwrap_or_else(|| panic!("`{text}` ran"));
        let sentence = error.to_string();
        assert!(sentence.starts_with("test.rhai: ") && !sentence.contains('\n'), "{sentence}");
    }
    let long = scenario(&" ".repeat(2 << 20));
    assert!(run_scenario(sample("zero"), &long, &CheckRequest::default()).is_err());
}
