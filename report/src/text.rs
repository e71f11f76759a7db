//! The text form: findings the way rustc shows errors, then one summary line per driver.

use annotate_snippets::{
    AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, renderer::DecorStyle,
};

use verifier::counted;

use crate::{Coverage, Expectation, FileReport, Finding, Outcome, Report, Site, is_printable};

/// How text is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// With escape sequences for colours.
    pub colours: bool,
    /// Columns of the terminal, if it is one: longer source lines are cut around what is meant.
    pub columns: Option<usize>,
}

/// Fewer columns than these are taken for these: nothing could be read.
const LEAST_COLUMNS: usize = 40;

/// Finds the text of a source file by the path the compiler wrote down. Snippets are decoration:
/// the caller decides where to look.
pub type Sources<'a> = dyn FnMut(&str) -> Option<String> + 'a;

/// Renders a finding. The order is fixed: what, where, how it came about, what to do, what Windows
/// would do, where it is written, how to see it again. `file` is the driver's path as it was given,
/// so that the last can be pasted.
pub fn finding_text(
    finding: &Finding,
    file: &str,
    sources: &mut Sources<'_>,
    options: TextOptions,
) -> String {
    let mut places = vec![place_of(&finding.site)];
    let mut groups = vec![first_group(finding, sources)];
    for step in &finding.history {
        match &step.site {
            Some(site) => {
                let title = Level::NOTE.secondary_title(step.message.clone());
                groups.push(Group::with_title(title).element(origin_of(site)));
                places.push(step_place_of(site));
            }
            // A fact without a place belongs to what stands before it.
            None => {
                if let Some(last) = groups.pop() {
                    groups.push(last.element(Level::NOTE.message(step.message.clone())));
                }
            }
        }
    }
    if let Some(last) = groups.pop() {
        groups.push(last.elements(footers(finding, file)));
    }
    let mut renderer = if options.colours { Renderer::styled() } else { Renderer::plain() };
    if let Some(columns) = options.columns {
        renderer = renderer.term_width(columns.max(LEAST_COLUMNS));
    }
    let rendered = renderer.decor_style(DecorStyle::Ascii).render(&groups);
    harmless(&complete_arrows(&rendered, &places))
}

fn first_group<'a>(finding: &Finding, sources: &mut Sources<'_>) -> Group<'a> {
    let level = match finding.severity.as_str() {
        "violation" => Level::ERROR,
        _ => Level::WARNING,
    };
    let title = level
        .with_name(finding.severity.clone())
        .primary_title(finding.title.clone())
        .id(finding.rule.clone());
    let site = &finding.site;
    let source = site.file.as_deref().and_then(&mut *sources);
    let span = source.as_deref().and_then(|s| line_span(s, site.line?, site.column));
    match (source, span) {
        (Some(source), Some(span)) => title.element(
            Snippet::source(source)
                .path(shown_path(site))
                .annotation(AnnotationKind::Primary.span(span).label(finding.message.clone())),
        ),
        _ => title
            .element(origin_of(site))
            .element(Level::NOTE.with_name("here").message(finding.message.clone())),
    }
}

fn footers<'a>(finding: &Finding, file: &str) -> Vec<Element<'a>> {
    let file = shell_word(file);
    let mut lines = Vec::new();
    if let Some(request) = &finding.request {
        lines.push(("during", request.clone()));
    }
    if !finding.needs.is_empty() {
        lines.push(("needs", finding.needs.join("; ")));
    }
    lines.push(("help", finding.help.clone()));
    lines.push(("on Windows", finding.on_windows.clone()));
    for page in &finding.contract {
        lines.push(("contract", page.clone()));
    }
    let Finding { replay, run, runs, seen, seen_of, .. } = finding;
    let seen = match seen {
        0 | 1 => String::new(),
        _ => format!(", seen in {seen} of {seen_of}"),
    };
    lines.push(("replay", format!("bugcheck replay {replay} {file}  (run {run} of {runs}{seen})")));
    lines.push(("more", format!("bugcheck explain {}", finding.rule)));
    lines
        .into_iter()
        .map(|(name, text)| {
            let level = if name == "help" { Level::HELP } else { Level::NOTE.with_name(name) };
            level.message(text).into()
        })
        .collect()
}

fn origin_of<'a>(site: &Site) -> Origin<'a> {
    let mut origin = Origin::path(shown_path(site));
    if let Some(line) = site.line {
        origin = origin.line(line as usize);
        if let Some(column) = site.column {
            origin = origin.char_column(column as usize);
        }
    }
    origin
}

/// The source file, or where in the image.
fn shown_path(site: &Site) -> String {
    match (&site.file, site.rva) {
        (Some(file), _) => file.clone(),
        (None, Some(rva)) => format!("{}+{rva:#x}", site.image),
        (None, None) => site.image.clone(),
    }
}

/// What follows the position of a finding: `, in DriverEntry+0x20 (bad.sys)`.
fn place_of(site: &Site) -> String {
    let mut place = String::new();
    if let Some(function) = &site.function {
        place.push_str(", in ");
        place.push_str(function);
        if let Some(offset) = site.function_offset {
            place.push_str(&format!("+{offset:#x}"));
        }
    }
    if site.file.is_some() {
        place.push_str(&format!(" ({})", site.image));
    }
    place
}

/// What follows the position of an earlier step: `, by KeAcquireSpinLock`, or the function.
fn step_place_of(site: &Site) -> String {
    match &site.export {
        Some(export) => format!(", by {export}"),
        None => place_of(site),
    }
}

/// Appends the places to the arrows, which come in the same order.
fn complete_arrows(rendered: &str, places: &[String]) -> String {
    let mut places = places.iter();
    let mut out = String::with_capacity(rendered.len() + 64);
    for line in rendered.lines() {
        out.push_str(line);
        if line.contains("--> ")
            && line.split("--> ").next().is_some_and(is_only_decoration)
            && let Some(place) = places.next()
        {
            out.push_str(place);
        }
        out.push('\n');
    }
    out
}

/// Spaces and escape sequences.
fn is_only_decoration(text: &str) -> bool {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '\u{1b}' {
            let Some(end) = rest.find('m') else { return false };
            rest = rest.get(end + 1..).unwrap_or_default();
        } else if first == ' ' {
            rest = rest.get(1..).unwrap_or_default();
        } else {
            return false;
        }
    }
    true
}

/// The bytes of a line to underline: from the column to the end of the word or call there, or all
/// of it.
fn line_span(source: &str, line: u32, column: Option<u32>) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    let mut text = None;
    for (number, candidate) in (1u32..).zip(source.split_inclusive('\n')) {
        if number == line {
            text = Some(candidate.trim_end());
            break;
        }
        start += candidate.len();
    }
    let text = text?;
    let first = text.len() - text.trim_start().len();
    if text.len() == first {
        return None;
    }
    let column = column.and_then(|c| c.checked_sub(1)).map(|c| c as usize);
    match column {
        Some(at) if at > first && at < text.len() && text.is_char_boundary(at) => {
            let width = text.get(at..)?.chars().next()?.len_utf8();
            Some(start + at..start + at + width)
        }
        _ => Some(start + first..start + text.len()),
    }
}

/// The lines after the findings: one or more per driver.
pub fn summary_text(report: &Report) -> String {
    let mut out = String::new();
    for file in &report.files {
        for line in file_lines(file, &report.profile) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    harmless(&out)
}

/// What a terminal shows as it is meant: lines and colours. Names come from files of others, and
/// may hold anything else.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let colour = rest.strip_prefix("\u{1b}[").and_then(|behind| {
            let end = behind.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            behind.get(end..)?.starts_with('m').then_some(end + 3)
        });
        let length = colour.unwrap_or(first.len_utf8());
        let (part, behind) = rest.split_at(length);
        if colour.is_some() || first == '\n' || is_printable(first) {
            out.push_str(part);
        } else {
            out.extend(first.escape_default());
        }
        rest = behind;
    }
    out
}

fn file_lines(file: &FileReport, profile: &str) -> Vec<String> {
    let name = &escaped(&file.file);
    let mut lines = Vec::new();
    for error in &file.internal_errors {
        lines.push(format!(
            "internal error: {name}: {} (bugcheck {}); replay: {}; \
             please report it with the driver if you may",
            error.message,
            env!("CARGO_PKG_VERSION"),
            error.replay
        ));
    }
    if let Some(error) = &file.error {
        lines.push(format!("error: {name}: {error}"));
        return lines;
    }
    for expectation in &file.expectations {
        let Expectation { path, line, message, found } = expectation;
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        let found = found.as_ref().map_or_else(String::new, |found| format!(": {found}"));
        lines.push(escaped(&format!("not as expected: {path}{line}: {message}{found}")));
    }
    for missing in &file.unsupported {
        lines.push(format!(
            "unsupported: {name}: `{}` is not modelled; it ended {} of {} (replay: {})",
            missing.feature,
            missing.runs,
            counted(file.runs, "run"),
            missing.replay
        ));
    }
    for limit in &file.limits {
        lines.push(format!("stopped: {name}: {limit}"));
    }
    for bug_check in &file.bug_checks {
        lines.push(format!("stopped: {name}: a run ended with bug check {bug_check}"));
    }
    let word = match file.outcome {
        Outcome::Clean => "clean".to_owned(),
        _ => match file.findings.len() {
            0 => "no finding".to_owned(),
            count => counted(count as u64, "finding"),
        },
    };
    let runs = counted(file.runs, "run");
    let profile = match profile {
        "strict" => " of the strict profile",
        _ => "",
    };
    if let Some(reason) = &file.not_exercised {
        lines.push(format!("not exercised: {name}: {reason}"));
    }
    let coverage = file.coverage.as_ref().map(coverage_text).unwrap_or_default();
    lines.push(format!("{word}: {name}: {runs}{profile}{coverage}"));
    if let Some(guarantee) = &file.guarantee {
        lines.push(format!("explored: {name}: {guarantee}"));
    }
    lines
}

/// A path as one word of a command line, in the quotes that most shells take; where those do not
/// do, in those of a Unix shell.
fn shell_word(path: &str) -> String {
    if path.starts_with('-') {
        // Or it would be an option.
        return shell_word(&format!("./{path}"));
    }
    let is_plain = |c: char| c.is_alphanumeric() || "/\\:._-+@~".contains(c);
    if path.chars().any(char::is_control) {
        let quoted = escaped(path).replace('\'', "\\'");
        format!("$'{quoted}'")
    } else if path.contains(['"', '$', '`', '!']) {
        format!("'{}'", path.replace('\'', r"'\''"))
    } else if !path.is_empty() && path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("\"{path}\"")
    }
}

/// A name that others chose, for a terminal and for one line.
fn escaped(text: &str) -> String {
    let shown =
        |c: char| if is_printable(c) { c.to_string() } else { c.escape_default().collect() };
    text.chars().map(shown).collect()
}

fn coverage_text(coverage: &Coverage) -> String {
    let mut text = String::new();
    let functions = u64::from(coverage.functions);
    if let Some(percent) = (u64::from(coverage.functions_reached) * 100).checked_div(functions) {
        let reached = coverage.functions_reached;
        text.push_str(&format!("; functions reached: {reached} of {functions} ({percent} %)"));
    }
    let reached = coverage.control_codes_reached.len();
    let codes = reached + coverage.control_codes_missed.len();
    if codes > 0 {
        text.push_str(&format!("; control codes reached: {reached} of {codes}"));
    }
    let missed: Vec<&str> =
        coverage.entry_points.iter().filter(|e| !e.reached).map(|e| e.name.as_str()).collect();
    if !missed.is_empty() {
        text.push_str(&format!("; not reached: {}", missed.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{TextOptions, escaped, finding_text, line_span, shell_word, summary_text};
    use crate::{Expectation, FileReport, Finding, Report, Site, Step};

    fn site(line: u32, column: u32) -> Site {
        Site {
            image: "bad.sys".into(),
            rva: Some(0x1020),
            function: Some("DriverEntry".into()),
            function_offset: Some(0x20),
            file: Some("bad.c".into()),
            line: Some(line),
            column: Some(column),
            ..Site::default()
        }
    }

    fn finding() -> Finding {
        Finding {
            rule: "pool::paged_at_dispatch".into(),
            severity: "violation".into(),
            title: "paged pool allocated at raised IRQL".into(),
            message: "64 bytes of paged pool, asked for at DISPATCH_LEVEL".into(),
            site: site(2, 13),
            thread: 1,
            irql: "DISPATCH_LEVEL".into(),
            clock_events: 7,
            request: None,
            history: vec![Step {
                message: "IRQL raised from PASSIVE_LEVEL to DISPATCH_LEVEL".into(),
                site: Some(Site {
                    function: None,
                    function_offset: None,
                    export: Some("KeAcquireSpinLock".into()),
                    ..site(1, 5)
                }),
            }],
            help: "allocate before raising the IRQL".into(),
            on_windows: "bug check 0xC4 under Driver Verifier".into(),
            contract: vec!["ddi/wdm/nf-wdm-exallocatepoolwithtag".into()],
            needs: vec!["allocation 7 fails".into()],
            seen: 3,
            seen_of: 70,
            replay: "1.7f3a.0g2".into(),
            run: 5,
            runs: 64,
        }
    }

    const WITH_SOURCE: &str = "\
violation[pool::paged_at_dispatch]: paged pool allocated at raised IRQL
 --> bad.c:2:13, in DriverEntry+0x20 (bad.sys)
";

    #[test]
    fn text_has_the_fixed_order() {
        let source =
            "    KeAcquireSpinLock(&Lock, &Irql);\n    Block = ExAllocatePoolWithTag(PagedPool);\n";
        let text = finding_text(
            &finding(),
            "samples/bad.sys",
            &mut |path| (path == "bad.c").then(|| source.to_owned()),
            TextOptions::default(),
        );
        assert!(text.starts_with(WITH_SOURCE), "{text}");
        let order = [
            "64 bytes of paged pool",
            "note: IRQL raised",
            "--> bad.c:1:5, by KeAcquireSpinLock\n",
            "= needs: allocation 7 fails",
            "= help: allocate",
            "= on Windows: bug check",
            "= contract: ddi/wdm",
            "= replay: bugcheck replay 1.7f3a.0g2 samples/bad.sys  (run 5 of 64, seen in 3 of 70)",
            "= more: bugcheck explain pool::paged_at_dispatch",
        ];
        let places: Vec<_> = order.iter().map(|part| text.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{text}");
    }

    #[test]
    fn without_source_the_case_is_told() {
        let text = finding_text(&finding(), "a b.sys", &mut |_| None, TextOptions::default());
        assert!(text.contains("replay 1.7f3a.0g2 \"a b.sys\"  (run"), "{text}");
        assert!(text.contains("= here: 64 bytes of paged pool"), "{text}");
    }

    #[test]
    fn strange_names_stay_one_word_and_one_line() {
        let cases = [
            ("a.sys", "a.sys"),
            (r"C:\a.sys", r"C:\a.sys"),
            ("a b.sys", "\"a b.sys\""),
            ("-a.sys", "./-a.sys"),
            ("a$b's.sys", r"'a$b'\''s.sys'"),
            ("a\nb's.sys", r"$'a\nb\'s.sys'"),
            ("", "\"\""),
        ];
        for (path, word) in cases {
            assert_eq!(shell_word(path), word, "{path:?}");
        }
        assert_eq!(escaped("a\n\u{1b}[31mb"), r"a\n\u{1b}[31mb");
        let file = FileReport::not_checked("a\nb.sys", "it is empty".to_owned());
        let report = Report::new("0.1.0", 0, "standard", vec![file]);
        assert_eq!(summary_text(&report), "error: a\\nb.sys: it is empty\n");
    }

    #[test]
    fn what_was_expected_is_told_with_what_was_found() {
        let expectation = Expectation {
            path: "a.rhai".to_owned(),
            line: Some(3),
            message: "a read gives zeros".to_owned(),
            found: Some("expected 0, found 5".to_owned()),
        };
        let mut file = FileReport::not_checked("a.sys", String::new());
        (file.error, file.runs, file.expectations) = (None, 1, vec![expectation]);
        let text = summary_text(&Report::new("0.1.0", 0, "standard", vec![file]));
        let line = "not as expected: a.rhai:3: a read gives zeros: expected 0, found 5\n";
        assert!(text.starts_with(line) && text.contains("no finding: a.sys: 1 run"), "{text}");
    }

    #[test]
    fn what_others_name_does_not_reach_the_terminal() {
        let mut finding = finding();
        let evil = "a\u{1b}]0;b\u{7}\r\u{9b}2J\u{1b}[31mc";
        finding.message = evil.to_owned();
        finding.site.function = Some(evil.to_owned());
        finding.site.file = None;
        finding.site.image = evil.to_owned();
        for step in &mut finding.history {
            step.message = evil.to_owned();
        }
        finding.request = Some(evil.to_owned());
        for colours in [false, true] {
            let options = TextOptions { colours, columns: None };
            let text = finding_text(&finding, evil, &mut |_| None, options);
            let rest = text.replace("\u{1b}[", "").replace('\n', "");
            assert!(!rest.chars().any(char::is_control), "{text:?}");
            assert!(text.contains("in a"), "{text}");
        }
        assert_eq!(
            super::harmless("\u{1b}[1;31mé\n\u{1b}[2Jx\u{1b}["),
            "\u{1b}[1;31mé\n\\u{1b}[2Jx\\u{1b}["
        );
    }

    #[test]
    fn a_narrow_terminal_gets_short_source_lines() {
        let source = format!("    First();{}\n    Second();{0}\n", " // words".repeat(30));
        let text = |columns| {
            let options = TextOptions { columns, ..TextOptions::default() };
            finding_text(&finding(), "a.sys", &mut |_| Some(source.clone()), options)
        };
        let widest = |text: &str| {
            let of_source = text.lines().filter(|line| line.contains("Second"));
            of_source.map(|line| line.chars().count()).max()
        };
        assert!(widest(&text(Some(60))).is_some_and(|columns| columns <= 60));
        assert!(widest(&text(Some(0))).is_some_and(|columns| columns <= 40));
        assert!(widest(&text(None)).is_some_and(|columns| columns > 60));
    }

    #[test]
    fn spans_stay_on_their_line() {
        let check = |source: &str, line, column, expected| {
            assert_eq!(line_span(source, line, column), expected);
        };
        check("ab\n  cd;\n", 2, None, Some(5..8));
        check("ab\n  cd;\n", 2, Some(4), Some(6..7));
        check("ab\n  cd;\n", 2, Some(99), Some(5..8));
        check("ab\n\n", 2, None, None);
        check("ab\n", 7, None, None);
    }
}
