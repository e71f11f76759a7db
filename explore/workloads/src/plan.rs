//! The runs of a check, in the order of what they promise.

use std::iter;

use system::{BufferSpec, CallMode, Command, DeviceInfo, FileRef};

use crate::{
    Behind, Facts, Form, Known, Learned, MarkSet, Request, callers,
    content::Filling,
    families, learned,
    lengths::{self, PAGE},
    pairs,
};

/// One run, after DriverEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it is about, for people: `control code 0x00222003 of \??\Zero`.
    pub about: String,
    /// The move that it makes, one of [`family_names`]; empty for what any caller does.
    pub family: &'static str,
    /// The commands, ending with the unload.
    pub commands: Vec<Command>,
}

/// The moves that scripts make, each by scripts of its own.
pub fn family_names() -> impl Iterator<Item = &'static str> {
    families::ALL.iter().chain(callers::ALL).copied()
}

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What every check tries.
    Usual,
    /// More, behind it.
    Deep,
}

/// `DO_BUFFERED_IO` and `DO_DIRECT_IO`: the I/O manager takes care of the buffers of reads and
/// writes.
const DO_BUFFERED_OR_DIRECT: u32 = 0x4 | 0x10;
/// `GENERIC_READ | GENERIC_WRITE`.
const GENERIC_READ_WRITE: u32 = 0xc000_0000;
/// `FILE_SHARE_READ | FILE_SHARE_WRITE`.
const SHARE_READ_WRITE: u32 = 3;
/// `METHOD_NEITHER`.
const METHOD_NEITHER: u32 = 3;
/// One second.
const SECOND_100NS: u64 = 10_000_000;

const FILE: FileRef = FileRef(1);
const OTHER_FILE: FileRef = FileRef(2);

/// Lists the runs. Lanes (one per control code, one for reads ...) take turns, so that a bound on
/// the number of runs cuts all of them alike.
pub fn plan(
    (facts, learned): (&Facts, &Learned),
    devices: &[DeviceInfo],
    marks: MarkSet,
    extent: Extent,
) -> Vec<Script> {
    let later_names = later_names(facts, devices);
    let target = |device| {
        let path = path_of(device)?;
        Some(Target::new(path, device, facts, marks, &later_names, learned))
    };
    let targets: Vec<Target<'_>> = devices.iter().filter_map(target).collect();
    let mut lanes = vec![vec![script("load and unload".to_owned(), Vec::new())]];
    for target in &targets {
        lanes.push(target.opens());
        lanes.push(target.reads());
        lanes.push(target.writes());
        for code in &facts.codes {
            lanes.push(target.control_code(*code));
        }
        lanes.push(target.unknown_codes());
    }
    lanes.push(vec![script("system shutdown".to_owned(), vec![Command::Shutdown])]);
    let mut scripts = take_turns(lanes);
    // Behind all others, so that their numbers stay.
    scripts.extend(targets.iter().flat_map(pairs::of_device));
    scripts.extend(targets.iter().flat_map(families::of_device));
    scripts.extend(targets.iter().flat_map(|target| callers::of_device(target, Extent::Usual)));
    scripts.extend(targets.iter().flat_map(Target::learned_scripts));
    if extent == Extent::Deep {
        scripts.extend(targets.iter().flat_map(|target| callers::of_device(target, Extent::Deep)));
    }
    scripts
}

/// Names in the image that no device has yet, those of links first.
fn later_names(facts: &Facts, devices: &[DeviceInfo]) -> Vec<String> {
    let known = |name: &str| {
        let mut names = devices.iter().flat_map(|d| d.links.iter().chain([&d.name]));
        names.any(|known| known.eq_ignore_ascii_case(name))
    };
    let names = facts.names.iter().filter(|name| !known(name) && !name.contains('%'));
    let is_device = |name: &&String| name.to_ascii_lowercase().starts_with(r"\device\");
    let (devices, links): (Vec<&String>, Vec<&String>) = names.partition(is_device);
    links.into_iter().chain(devices).cloned().collect()
}

/// A path by which user mode reaches the device: a link, or its name.
pub(crate) fn path_of(device: &DeviceInfo) -> Option<&str> {
    let path = device.links.first().unwrap_or(&device.name).as_str();
    (!path.is_empty()).then_some(path)
}

pub(crate) fn script(about: String, mut commands: Vec<Command>) -> Script {
    commands.push(Command::Unload);
    Script { about, family: "", commands }
}

fn take_turns(lanes: Vec<Vec<Script>>) -> Vec<Script> {
    let longest = lanes.iter().map(Vec::len).max().unwrap_or(0);
    let mut lanes: Vec<_> = lanes.into_iter().map(Vec::into_iter).collect();
    let mut list = Vec::new();
    for _ in 0..longest {
        list.extend(lanes.iter_mut().filter_map(Iterator::next));
    }
    list
}

/// A device, and how it is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a str,
    device: &'a DeviceInfo,
    pub(crate) facts: &'a Facts,
    marks: MarkSet,
    /// Names that a device may get later.
    pub(crate) later_names: &'a [String],
    learned: &'a Learned,
}

/// What drivers with no code of their own are asked for: one that looks at no code serves every
/// one.
const ANY_FUNCTION: u32 = 0x2000;

impl<'a> Target<'a> {
    pub(crate) fn new(
        path: &'a str,
        device: &'a DeviceInfo,
        facts: &'a Facts,
        marks: MarkSet,
        later_names: &'a [String],
        learned: &'a Learned,
    ) -> Self {
        Self { path, device, facts, marks, later_names, learned }
    }

    /// What was learned of a kind of request.
    pub(crate) fn known(&self, request: Request) -> Option<&'a Known> {
        self.learned.get(&(self.path.to_owned(), request))
    }
}

impl Target<'_> {
    /// The control codes that are worth a request.
    pub(crate) fn codes(&self) -> Vec<u32> {
        match self.facts.codes.is_empty() {
            true => vec![self.any_code()],
            false => self.facts.codes.clone(),
        }
    }

    /// Requests with learned numbers, requests behind others, and two forms of one kind at once.
    fn learned_scripts(&self) -> Vec<Script> {
        let mut list = Vec::new();
        let of_device = self.learned.iter().filter(|((path, _), _)| path == self.path);
        for ((_, request), known) in of_device {
            let name = learned::in_words(*request);
            let command = |form, file| learned::command(self, *request, form, file);
            for form in &known.telling {
                list.push(self.one(format!("{name} with learned numbers"), command(form, FILE)));
            }
            for behind in &known.behind {
                list.push(self.behind(*request, behind, 1));
            }
            if let Some(behind) = known.served_behind() {
                list.push(self.behind(*request, behind, 2));
                list.push(self.at_once_behind(*request, behind));
            }
            let likeliest = learned::likeliest(self, *request);
            let forms: Vec<&Form> = [&likeliest].into_iter().chain(&known.others).collect();
            for pair in forms.windows(2) {
                let [a, b] = pair else { continue };
                let each = |file| self.open(file, CallMode::Synchronous);
                let mut commands = vec![each(FILE), each(OTHER_FILE)];
                commands.push(Command::Together(vec![command(a, FILE), command(b, OTHER_FILE)]));
                commands.push(Command::Idle { time_100ns: SECOND_100NS });
                commands.extend([FILE, OTHER_FILE].map(|file| Command::Close { file }));
                list.push(script(format!("two forms of {name} of {}", self.path), commands));
            }
        }
        list
    }

    /// A request behind others, so many times.
    fn behind(&self, request: Request, behind: &Behind, times: usize) -> Script {
        let Behind { before, form, .. } = behind;
        let about = learned::behind_in_words(request, before);
        let again = if times > 1 { " again" } else { "" };
        let commands = self.in_a_row(before, iter::repeat_n((request, form), times));
        script(format!("{about}{again} of {}", self.path), commands)
    }

    /// Open, requests one after the other, those that come last, close.
    pub(crate) fn in_a_row<'r>(
        &self,
        before: &'r [(Request, Form)],
        last: impl IntoIterator<Item = (Request, &'r Form)>,
    ) -> Vec<Command> {
        let open = self.open(FILE, CallMode::Synchronous);
        let each = before.iter().map(|(request, form)| (*request, form)).chain(last);
        let each = each.map(|(request, form)| learned::command(self, request, form, FILE));
        iter::once(open).chain(each).chain([Command::Close { file: FILE }]).collect()
    }

    /// The same by two callers at once, each behind requests of its own.
    fn at_once_behind(&self, request: Request, behind: &Behind) -> Script {
        let files = [FILE, OTHER_FILE];
        let mut commands = files.map(|file| self.open(file, CallMode::Synchronous)).to_vec();
        for file in files {
            let each = behind.before.iter();
            commands
                .extend(each.map(|(request, form)| learned::command(self, *request, form, file)));
        }
        let last = files.map(|file| learned::command(self, request, &behind.form, file));
        commands.push(Command::Together(last.to_vec()));
        commands.push(Command::Idle { time_100ns: SECOND_100NS });
        commands.extend(files.map(|file| Command::Close { file }));
        let about = learned::behind_in_words(request, &behind.before);
        script(format!("{about} of {}, two callers at once", self.path), commands)
    }

    pub(crate) fn open(&self, file: FileRef, mode: CallMode) -> Command {
        self.open_path(file, self.path.to_owned(), mode)
    }

    pub(crate) fn open_path(&self, file: FileRef, path: String, mode: CallMode) -> Command {
        let (access, share) = (GENERIC_READ_WRITE, SHARE_READ_WRITE);
        Command::Open { file, path, access, share, mode }
    }

    /// Open, the request, close, unload.
    fn one(&self, about: String, request: Command) -> Script {
        let open = self.open(FILE, CallMode::Synchronous);
        let about = format!("{about} of {}", self.path);
        script(about, vec![open, request, Command::Close { file: FILE }])
    }

    /// An overlapped request that is left alone for a while, cancelled if asked for, and closed.
    fn overlapped(&self, about: String, request: Command, is_cancelled: bool) -> Script {
        let mut commands = vec![self.open(FILE, CallMode::Overlapped), request];
        commands.push(Command::Idle { time_100ns: SECOND_100NS });
        if is_cancelled {
            commands.push(Command::Cancel { file: FILE });
        }
        commands.push(Command::Close { file: FILE });
        script(format!("{about} of {}", self.path), commands)
    }

    fn opens(&self) -> Vec<Script> {
        let open = |file, mode| self.open(file, mode);
        let close = |file| Command::Close { file };
        let path = self.path;
        let mut list = vec![
            script(
                format!("open and close of {path}"),
                vec![open(FILE, CallMode::Synchronous), close(FILE)],
            ),
            script(
                format!("two opens of {path}"),
                vec![
                    open(FILE, CallMode::Synchronous),
                    open(OTHER_FILE, CallMode::Overlapped),
                    close(FILE),
                    close(OTHER_FILE),
                ],
            ),
        ];
        let trailing = format!("{path}\\trailing\\name");
        list.push(script(
            format!("open of {trailing}"),
            vec![self.open_path(FILE, trailing, CallMode::Synchronous), close(FILE)],
        ));
        let names = self.device.links.iter().chain([&self.device.name]).filter(|n| *n != path);
        for name in names.filter(|n| !n.is_empty()) {
            list.push(script(
                format!("open of {name}"),
                vec![self.open_path(FILE, name.clone(), CallMode::Synchronous), close(FILE)],
            ));
        }
        list
    }

    /// The names by which it is reached, its own among them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.device.links.iter().chain([&self.device.name]);
        names.map(String::as_str).chain([self.path])
    }

    fn takes_raw_pointers(&self) -> bool {
        self.device.flags & DO_BUFFERED_OR_DIRECT == 0
    }

    fn reads(&self) -> Vec<Script> {
        let read = |buffer| Command::Read { file: FILE, buffer, offset_bytes: 0 };
        let mut list = Vec::new();
        for length_bytes in lengths::of_transfers(self.facts) {
            let about = format!("read of {}", lengths::in_words(length_bytes));
            list.push(self.one(about, read(self.zeros(length_bytes))));
        }
        if self.takes_raw_pointers() {
            for (name, buffer) in raw_pointers(8) {
                list.insert(1, self.one(format!("read into {name}"), read(buffer)));
            }
        }
        for is_cancelled in [true, false] {
            let about = "overlapped read".to_owned();
            list.push(self.overlapped(about, read(self.zeros(PAGE)), is_cancelled));
        }
        list
    }

    fn writes(&self) -> Vec<Script> {
        let write = |buffer| Command::Write { file: FILE, buffer, offset_bytes: 0 };
        let lengths = lengths::of_transfers(self.facts);
        let mut list = Vec::new();
        for (index, filling) in Filling::ALL.into_iter().enumerate() {
            // Every length with the first two fillings, one typical length with the others.
            let count = if index < 2 { lengths.len() } else { 1 };
            for length_bytes in lengths.iter().take(count) {
                let about = format!("write of {}", lengths::in_words(*length_bytes));
                list.push(self.one(about, write(self.user(*length_bytes, filling))));
            }
        }
        if self.takes_raw_pointers() {
            for (name, buffer) in raw_pointers(8) {
                list.insert(1, self.one(format!("write from {name}"), write(buffer)));
            }
        }
        for is_cancelled in [true, false] {
            let buffer = self.user(8, Filling::ThreadId);
            let about = "overlapped write".to_owned();
            list.push(self.overlapped(about, write(buffer), is_cancelled));
        }
        list
    }

    fn control_code(&self, code: u32) -> Vec<Script> {
        let lengths = lengths::of_code(self.facts, code);
        let mut list = Vec::new();
        for (round, filling) in Filling::ALL.into_iter().enumerate() {
            for length_bytes in lengths.iter().take(if round < 3 { 6 } else { 2 }) {
                let input = self.user(*length_bytes, filling);
                list.push(self.control(code, input, self.zeros(*length_bytes)));
            }
            if round == 0 {
                list.extend(self.pointers(code));
            }
            if round == 1 {
                list.extend(self.borders(code, &lengths));
            }
        }
        for length_bytes in lengths::USUAL.into_iter().filter(|l| !lengths.contains(l)) {
            let input = self.user(length_bytes, Filling::Text);
            list.push(self.control(code, input, self.zeros(length_bytes)));
        }
        let typical = lengths.first().copied().unwrap_or(8);
        for method in (0..4).filter(|method| *method != code & 3) {
            let input = self.user(typical, Filling::Marks);
            list.push(self.control(code & !3 | method, input, self.zeros(typical)));
        }
        for is_cancelled in [true, false] {
            let request = Command::DeviceControl {
                file: FILE,
                code,
                input: self.user(typical, Filling::Marks),
                output: self.zeros(typical),
            };
            let about = format!("overlapped control code {code:#010x}");
            list.push(self.overlapped(about, request, is_cancelled));
        }
        list
    }

    /// Bad pointers, for codes whose buffers nobody checks for the driver.
    fn pointers(&self, code: u32) -> Vec<Script> {
        if code & 3 != METHOD_NEITHER {
            return Vec::new();
        }
        let mut list = Vec::new();
        for typical in lengths::typical(self.facts, code) {
            for (_, buffer) in raw_pointers(typical) {
                list.push(self.control(code, buffer.clone(), self.zeros(typical)));
                for filling in [Filling::Marks, Filling::SmallNumbers] {
                    let input = self.user(typical, filling);
                    list.push(self.control(code, input, buffer.clone()));
                }
            }
        }
        list
    }

    /// Lengths at the borders of what is expected, input and output apart: a driver that checks one
    /// of them well may have forgotten the other.
    fn borders(&self, code: u32, expected: &[u32]) -> Vec<Script> {
        let mut list = Vec::new();
        for (index, enough_bytes) in lengths::enough(expected).into_iter().enumerate() {
            // Everything around what is expected beside the likeliest length, little beside others.
            let lengths = match index {
                0 => lengths::around(expected),
                _ => lengths::short(expected),
            };
            for length_bytes in lengths.into_iter().filter(|length| *length != enough_bytes) {
                let input = self.user(length_bytes, Filling::SmallNumbers);
                list.push(self.control(code, input, self.zeros(enough_bytes)));
                let input = self.user(enough_bytes, Filling::SmallNumbers);
                list.push(self.control(code, input, self.zeros(length_bytes)));
            }
        }
        list.push(self.control(code, self.zeros(0), self.zeros(0)));
        list
    }

    /// Codes that no driver knows, one per transfer method.
    fn unknown_codes(&self) -> Vec<Script> {
        let device_type = self.device.device_type << 16;
        let request = |method: u32| {
            self.control(device_type | 0xfffc & !3 | method, self.zeros(8), self.zeros(8))
        };
        (0..4).map(request).collect()
    }

    fn control(&self, code: u32, input: BufferSpec, output: BufferSpec) -> Script {
        let about = format!("control code {code:#010x}");
        self.one(about, Command::DeviceControl { file: FILE, code, input, output })
    }

    /// A control code of the device's type.
    pub(crate) fn any_code(&self) -> u32 {
        self.device.device_type << 16 | ANY_FUNCTION
    }

    pub(crate) fn user(&self, length_bytes: u32, filling: Filling) -> BufferSpec {
        if length_bytes == 0 {
            return BufferSpec::Null { length_bytes };
        }
        BufferSpec::User { length_bytes, content: filling.content(length_bytes, self.marks) }
    }

    pub(crate) fn zeros(&self, length_bytes: u32) -> BufferSpec {
        self.user(length_bytes, Filling::Zeros)
    }
}

/// Pointers that only a driver which looks at them survives.
fn raw_pointers(length_bytes: u32) -> [(&'static str, BufferSpec); 2] {
    [
        ("a null pointer", BufferSpec::Null { length_bytes }),
        ("a kernel address", BufferSpec::Canary { length_bytes }),
    ]
}

#[cfg(test)]
mod tests {
    use system::{BufferSpec, Command, DeviceAccess, DeviceInfo};

    use super::plan;
    use crate::{Base, Behind, Extent, Facts, Form, Known, Learned, MarkSet, Request};

    fn device(flags: u32) -> DeviceInfo {
        DeviceInfo {
            name: r"\Device\Sample".into(),
            links: vec![r"\??\Sample".into()],
            device_type: 0x22,
            flags,
            is_exclusive: false,
            access: DeviceAccess::Default,
        }
    }

    fn requests(flags: u32, code: u32) -> Vec<Command> {
        let facts = Facts { codes: vec![code], ..Facts::default() };
        plan((&facts, &Learned::default()), &[device(flags)], MarkSet::First, Extent::Deep)
            .into_iter()
            .flat_map(|script| script.commands)
            .collect()
    }

    fn is_bad(buffer: &BufferSpec) -> bool {
        matches!(buffer, BufferSpec::Canary { .. } | BufferSpec::Null { length_bytes: 1.. })
    }

    #[test]
    fn only_neither_io_gets_bad_pointers() {
        let is_transfer = |c: &Command| match c {
            Command::Read { buffer, .. } | Command::Write { buffer, .. } => is_bad(buffer),
            _ => false,
        };
        for (flags, expected) in [(0u32, true), (0x4, false), (0x10, false)] {
            let found = requests(flags, 0x22_2000).iter().any(is_transfer);
            assert_eq!(found, expected, "flags {flags:#x}");
        }
        for (sent, expected) in [(0x22_2003u32, true), (0x22_2000, false), (0x22_2001, false)] {
            let is_control = |c: &Command| match c {
                Command::DeviceControl { code, input, output, .. } => {
                    *code == sent && (is_bad(input) || is_bad(output))
                }
                _ => false,
            };
            let found = requests(4, sent).iter().any(is_control);
            assert_eq!(found, expected, "code {sent:#x}");
        }
    }

    #[test]
    fn every_script_ends_with_the_unload_and_closes_what_it_opens() {
        let facts = Facts { codes: vec![0x22_2003, 0x22_2004], ..Facts::default() };
        for script in
            plan((&facts, &Learned::default()), &[device(0)], MarkSet::First, Extent::Deep)
        {
            assert_eq!(script.commands.last(), Some(&Command::Unload), "{}", script.about);
            let each = script.commands.iter().flat_map(Command::parts);
            let each: Vec<&Command> = each.collect();
            let count = |is: fn(&Command) -> bool| each.iter().filter(|c| is(c)).count();
            assert_eq!(
                count(|c| matches!(c, Command::Open { .. } | Command::OpenRelative { .. })),
                count(|c| matches!(c, Command::Close { .. })),
                "{}",
                script.about
            );
        }
    }

    #[test]
    fn mark_sets_differ_in_marks_only() {
        let facts = Facts { codes: vec![0x22_2003], ..Facts::default() };
        let about = |set| -> Vec<String> {
            plan((&facts, &Learned::default()), &[device(0)], set, Extent::Deep)
                .into_iter()
                .map(|s| s.about)
                .collect()
        };
        assert_eq!(about(MarkSet::First), about(MarkSet::Second));
    }

    #[test]
    fn what_is_served_behind_others_is_made_once_and_twice_and_by_two_callers() {
        const FIRST: u32 = 0x22_2000;
        const SECOND: u32 = 0x22_2004;
        let (first, second) = (Request::Control(FIRST), Request::Control(SECOND));
        let facts = Facts { codes: vec![FIRST, SECOND], ..Facts::default() };
        let (base, fields) = (Base::Marks, [((0, 4), 0x4f4c_4548)].into());
        let form = Form { input_bytes: 8, output_bytes: 0, base, fields };
        let behind = |is_served| Behind {
            before: vec![(first, form.clone())],
            form: form.clone(),
            is_served,
        };
        let codes = |behind: Vec<Behind>| -> Vec<Vec<u32>> {
            let known = Known { behind, ..Known::default() };
            let learned = Learned::from([((r"\??\Sample".to_owned(), second), known)]);
            let scripts = plan((&facts, &learned), &[device(4)], MarkSet::First, Extent::Usual);
            let scripts = scripts.iter().filter(|script| script.about.contains(", then"));
            let code = |command: &Command| match command {
                Command::DeviceControl { code, .. } => Some(*code),
                _ => None,
            };
            let parts = |c: &Command| c.parts().into_iter().filter_map(code).collect::<Vec<_>>();
            scripts.map(|s| s.commands.iter().flat_map(parts).collect()).collect()
        };
        let (once, twice) = (vec![FIRST, SECOND], vec![FIRST, SECOND, SECOND]);
        let two_callers = vec![FIRST, FIRST, SECOND, SECOND];
        assert_eq!(codes(vec![behind(true)]), [once.clone(), twice, two_callers]);
        // What is refused there is looked at once.
        assert_eq!(codes(vec![behind(false)]), [once]);
    }
}
