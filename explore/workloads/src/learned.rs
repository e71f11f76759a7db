//! What a driver was seen to serve, and with which input.
//!
//! Before anything is judged, a few requests of each kind are made and what the driver compares is
//! looked at. A number of the input, or a length, that is compared with another number takes the
//! value of that number, or one beside it, in the next request; so magic numbers, versions and
//! exact lengths are met that no list of usual values holds. What is learned is a hint about what
//! to try, never a fact about the driver.

use std::collections::{BTreeMap, BTreeSet};

use system::{BufferSpec, Command, Content, DeviceInfo, FieldSpec, FieldValue, FileRef};

use crate::{
    Facts, MarkSet, Script,
    content::Filling,
    lengths,
    plan::{Target, path_of, script},
};

/// A kind of request of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A control code.
    Control(u32),
}

/// How a driver answered a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It did it, or began to.
    Served,
    /// It knows the kind, and refused this one.
    Refused,
    /// It does not know the kind, or never got it.
    #[default]
    Unknown,
}

/// What fills an input where nothing is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// A number of its own in every four bytes.
    Marks,
    /// Nothing but zeros.
    Zeros,
    /// Ones.
    Ones,
    /// Handles of the caller.
    Handles,
    /// The caller's thread id, then small numbers.
    ThreadId,
    /// The caller's process id, then small numbers.
    ProcessId,
    /// Addresses of the caller's memory.
    Pointers,
}

/// A request of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// Length of the input.
    pub input_bytes: u32,
    /// Length of the output.
    pub output_bytes: u32,
    /// What fills the input.
    pub base: Base,
    /// What stands in it besides: offset, width and value.
    pub fields: BTreeMap<(u32, u8), u64>,
}

/// What is known of a kind of request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The best answer.
    pub answer: Answer,
    /// A form that was served, if the usual one was not.
    pub served: Option<Form>,
    /// Forms with learned numbers that led where no other request did.
    pub telling: Vec<Form>,
    /// Further forms that were served, whose learned numbers stand elsewhere.
    pub others: Vec<Form>,
    /// What it comes to behind other requests and not alone, those that are served first.
    pub behind: Vec<Behind>,
}

/// A request behind others on the same file, which led where it does not lead alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The others, in their order.
    pub before: Vec<(Request, Form)>,
    /// Its own form.
    pub form: Form,
    /// Whether it was served; else it was refused somewhere else than alone.
    pub is_served: bool,
}

impl Known {
    /// How it is served behind others, if it was seen to be.
    pub fn served_behind(&self) -> Option<&Behind> {
        self.behind.iter().find(|behind| behind.is_served)
    }
}

/// By path of the device and kind of request what was learned.
pub type Learned = BTreeMap<(String, Request), Known>;

/// Two numbers that a driver compared.
pub type Comparison = (u64, u64);

/// Lengths of a first input and output: roomy, and unlike each other and what drivers compare with.
const ROOMY: (u32, u32) = (104, 136);
/// What is nearer than this to a mark was computed from it: compilers make `x - 1 > 63` of two
/// comparisons with 1 and 64. Marks are farther from each other than twice that.
const NEAR: u64 = 0x4000;
/// Numbers that are changed at once.
const MOST_JOINED: usize = 3;
/// Longer buffers are not tried.
const LONGEST: u64 = 0x1_0000;

/// What inputs are filled with to begin with.
const BASES: [Base; 7] = [
    Base::Marks,
    Base::Zeros,
    Base::Ones,
    Base::Handles,
    Base::ThreadId,
    Base::ProcessId,
    Base::Pointers,
];

/// A kind of request of a device, to be learned.
#[derive(Clone, Copy, Debug)]
pub struct Lesson<'a> {
    target: Target<'a>,
    /// The kind.
    pub request: Request,
}

/// All kinds of request of all devices, the surest first.
pub fn lessons<'a>(
    facts: &'a Facts,
    devices: &'a [DeviceInfo],
    nothing: &'a Learned,
) -> Vec<Lesson<'a>> {
    let mut list = Vec::new();
    for device in devices {
        let Some(path) = path_of(device) else { continue };
        let target = Target::new(path, device, facts, MarkSet::First, &[], nothing);
        let codes = target.codes().into_iter().map(Request::Control);
        let requests = [Request::Read, Request::Write].into_iter().chain(codes);
        list.extend(requests.map(|request| Lesson { target, request }));
    }
    list
}

impl Lesson<'_> {
    /// The device and the kind.
    pub fn key(&self) -> (String, Request) {
        (self.target.path.to_owned(), self.request)
    }

    /// The request as it is made where nothing was learned, and others to begin with.
    pub fn first_forms(&self) -> Vec<Form> {
        let (input, output) = ROOMY;
        let form = |base, input_bytes, output_bytes| {
            let fields = BTreeMap::new();
            let (input_bytes, output_bytes) = match self.request {
                Request::Read => (0, output_bytes),
                Request::Write => (input_bytes, 0),
                Request::Control(_) => (input_bytes, output_bytes),
            };
            Form { input_bytes, output_bytes, base, fields }
        };
        let usual = usual(self.target.facts, self.request);
        if self.request == Request::Read {
            return vec![usual, form(Base::Zeros, input, output)];
        }
        let roomy = BASES.map(|base| form(base, input, output));
        [usual].into_iter().chain(roomy).collect()
    }

    /// Open, the requests before it, the request, close, unload.
    pub fn script(&self, before: &[(Request, Form)], form: &Form) -> Script {
        script(String::new(), self.target.in_a_row(before, [(self.request, form)]))
    }

    /// Whether two kinds belong to one device.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.target.path == other.target.path
    }
}

/// A kind of request, for people.
pub(crate) fn in_words(request: Request) -> String {
    match request {
        Request::Read => "read".to_owned(),
        Request::Write => "write".to_owned(),
        Request::Control(code) => format!("control code {code:#010x}"),
    }
}

/// A request behind others, for people: `control code 1, control code 2, then control code 3`.
pub(crate) fn behind_in_words(request: Request, before: &[(Request, Form)]) -> String {
    let before: Vec<String> = before.iter().map(|(request, _)| in_words(*request)).collect();
    format!("{}, then {}", before.join(", "), in_words(request))
}

/// The length of a request that is tried first.
fn typical(facts: &Facts, request: Request) -> u32 {
    let lengths = match request {
        Request::Read | Request::Write => lengths::of_transfers(facts),
        Request::Control(code) => lengths::of_code(facts, code),
    };
    lengths.first().copied().unwrap_or(8)
}

/// The form of a request where nothing was learned.
fn usual(facts: &Facts, request: Request) -> Form {
    let typical = typical(facts, request);
    let is_read = request == Request::Read;
    let is_write = request == Request::Write;
    let (base, fields) = (Base::Ones, BTreeMap::new());
    let input_bytes = if is_read { 0 } else { typical };
    let output_bytes = if is_write { 0 } else { typical };
    Form { input_bytes, output_bytes, base, fields }
}

/// The form of a request that is most likely served.
pub(crate) fn likeliest(target: &Target<'_>, request: Request) -> Form {
    let known = target.known(request);
    let behind = known.and_then(Known::served_behind).map(|behind| &behind.form);
    let served = known.and_then(|known| known.served.as_ref()).or(behind);
    served.cloned().unwrap_or_else(|| usual(target.facts, request))
}

/// A request of this form.
pub(crate) fn command(
    target: &Target<'_>,
    request: Request,
    form: &Form,
    file: FileRef,
) -> Command {
    match request {
        Request::Read => {
            let buffer = target.zeros(form.output_bytes);
            Command::Read { file, buffer, offset_bytes: 0 }
        }
        Request::Write => Command::Write { file, buffer: input(target, form), offset_bytes: 0 },
        Request::Control(code) => {
            let output = target.zeros(form.output_bytes);
            Command::DeviceControl { file, code, input: input(target, form), output }
        }
    }
}

fn filling(base: Base) -> Filling {
    match base {
        Base::Marks => Filling::Marks,
        Base::Zeros => Filling::Zeros,
        Base::Ones => Filling::SmallNumbers,
        Base::Handles => Filling::Handles,
        Base::ThreadId => Filling::ThreadId,
        Base::ProcessId => Filling::ProcessId,
        Base::Pointers => Filling::UserPointers,
    }
}

fn input(target: &Target<'_>, form: &Form) -> BufferSpec {
    match target.user(form.input_bytes, filling(form.base)) {
        BufferSpec::User { length_bytes, content } if !form.fields.is_empty() => {
            let mut fields = match content {
                Content::Fields(fields) => fields,
                Content::Bytes(_) | Content::Marks(_) => Vec::new(),
            };
            fields.extend(form.fields.iter().map(|(&(offset_bytes, size_bytes), &value)| {
                FieldSpec { offset_bytes, size_bytes, value: FieldValue::Number(value) }
            }));
            BufferSpec::User { length_bytes, content: Content::Fields(fields) }
        }
        spec => spec,
    }
}

/// Marks of a form and their offsets, those in part overwritten among them.
fn marks(form: &Form) -> Vec<(u32, u64)> {
    if form.base != Base::Marks {
        return Vec::new();
    }
    let content = Filling::Marks.content(form.input_bytes, MarkSet::First);
    let Content::Fields(fields) = content else { return Vec::new() };
    let marks = fields.into_iter().filter_map(|field| match field.value {
        FieldValue::Mark(value) if field.size_bytes == 4 => Some((field.offset_bytes, value)),
        _ => None,
    });
    marks.collect()
}

/// A number that the driver computed from a field of the input: the field, and how much more it is.
type Found = ((u32, u8), u64);

/// Where a number of the input stands that was not learned, and in how many bytes.
fn field_of(form: &Form, marks: &[(u32, u64)], value: u64) -> Option<Found> {
    let is_free = |&((at, size), _): &Found| {
        let (start, end) = (at, at + u32::from(size));
        form.fields.keys().all(|&(at, size)| end <= at || at + u32::from(size) <= start)
    };
    let whole = |&(at, low): &(u32, u64)| {
        let next = marks.iter().find(|(other, _)| *other == at + 4).map(|(_, value)| *value);
        if low == value {
            return Some(((at, 4), 0));
        }
        let is_both = at % 8 == 0 && next.is_some_and(|high| value == high << 32 | low);
        is_both.then_some(((at, 8), 0))
    };
    let near = |&(at, mark): &(u32, u64)| {
        let is_near = value.abs_diff(mark) < NEAR;
        is_near.then_some(((at, 4), value.wrapping_sub(mark)))
    };
    let narrow = |&(at, mark): &(u32, u64)| {
        let halves = [(at, 2, mark & 0xffff), (at + 2, 2, mark >> 16)];
        let bytes = (0..4).map(|index| (at + index, 1, mark >> (8 * index) & 0xff));
        let parts = halves.into_iter().chain(bytes);
        let found = parts.filter(|(_, _, part)| *part == value && *part != 0);
        found.map(|(at, size, _)| ((at, size), 0)).find(|found| is_free(found))
    };
    let found = marks.iter().filter_map(whole).find(|found| is_free(found));
    let found = found.or_else(|| marks.iter().filter_map(near).find(|found| is_free(found)));
    found.or_else(|| marks.iter().find_map(narrow))
}

/// What speaks for a form, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// A length, or a number that stands nowhere else, is another one.
    Sure,
    /// The same of a number that an earlier comparison told, as one of its two limits.
    Learned,
    /// Several numbers are others: compilers join conditions without a branch between them.
    Joined,
    /// As the first two, and what nobody compared is another number as well.
    Filled,
    /// What was compared looks like a single byte, as most counts do.
    Byte,
}

/// Forms that turn out otherwise where a form was compared with something, the likeliest first.
///
/// What keeps a request from being served was compared last, and was not equal.
pub fn next_forms(form: &Form, comparisons: &[Comparison]) -> Vec<Form> {
    let marks = marks(form);
    let mut list: Vec<((bool, Likeness), Form)> = Vec::new();
    let mut limits: Vec<(Found, u64)> = Vec::new();
    for &(left, right) in comparisons.iter().rev() {
        let is_equal = left == right;
        for (value, other) in [(left, right), (right, left)] {
            let lengths = lengths_next(form, value, other).into_iter();
            list.extend(lengths.map(|form| ((is_equal, Likeness::Sure), form)));
            let found = field_of(form, &marks, value).map(|found| {
                let ((_, size), _) = found;
                (found, if size == 1 { Likeness::Byte } else { Likeness::Sure })
            });
            let learned = form.fields.iter().filter(|(_, known)| !is_equal && **known == value);
            let learned = learned.map(|(&field, _)| ((field, 0), Likeness::Learned));
            for (found, likeness) in found.into_iter().chain(learned) {
                if !is_equal && likeness != Likeness::Byte {
                    limits.push((found, other));
                }
                for (base, form) in fields_next(form, found, value, other) {
                    let is_filled = base != form.base && likeness != Likeness::Byte;
                    let likeness = if is_filled { Likeness::Filled } else { likeness };
                    list.push(((is_equal, likeness), Form { base, ..form }));
                }
            }
        }
    }
    list.extend(joined(form, &limits).map(|form| ((false, Likeness::Joined), form)));
    list.sort_by_key(|(rank, _)| *rank);
    let mut known = BTreeSet::new();
    let forms = list.into_iter().map(|(_, form)| form);
    forms.filter(|form| known.insert(form.clone())).collect()
}

/// What a number may be to turn a comparison: the other number, or one beside it.
fn around(value: u64, other: u64) -> impl Iterator<Item = u64> {
    let each = [other, other.wrapping_add(1), other.wrapping_sub(1)];
    each.into_iter().filter(move |wanted| *wanted != value)
}

/// Forms of other lengths, if it was a length that was compared.
fn lengths_next(form: &Form, value: u64, other: u64) -> Vec<Form> {
    let mut list = Vec::new();
    let lengths = around(value, other).filter(|wanted| *wanted <= LONGEST);
    for length in lengths.filter_map(|wanted| u32::try_from(wanted).ok()) {
        if value == u64::from(form.input_bytes) && value > 0 {
            list.push(Form { input_bytes: length, ..form.clone() });
        }
        if value == u64::from(form.output_bytes) && value > 0 {
            list.push(Form { output_bytes: length, ..form.clone() });
        }
    }
    list
}

/// Forms of other contents where the field stands that was compared, each to be filled with this.
fn fields_next(form: &Form, found: Found, value: u64, other: u64) -> Vec<(Base, Form)> {
    let mut list = Vec::new();
    for base in [Base::Marks, Base::Zeros, Base::Ones] {
        let each = around(value, other).map(|wanted| (base, with_field(form, found, wanted)));
        list.extend(each);
    }
    list
}

/// The form with a field whose comparison is to be one of this number.
fn with_field(form: &Form, ((at, size), more): Found, wanted: u64) -> Form {
    let bits = 8 * u32::from(size);
    let mut changed = form.clone();
    changed.fields.insert((at, size), wanted.wrapping_sub(more) & (u64::MAX >> (64 - bits)));
    changed
}

/// Forms in which the last two or three numbers that were compared are others at once.
fn joined(form: &Form, limits: &[(Found, u64)]) -> impl Iterator<Item = Form> {
    let mut last: Vec<(Found, u64)> = Vec::new();
    for &(found, other) in limits {
        if last.iter().all(|(known, _)| known.0 != found.0) {
            last.push((found, other));
        }
    }
    let several = (2..=MOST_JOINED).filter_map(move |count| Some(last.get(..count)?.to_vec()));
    several.flat_map(move |last| {
        [0, 1].map(|below| {
            let each = last.iter();
            each.fold(form.clone(), |form, &(found, other)| {
                with_field(&form, found, other.wrapping_sub(below))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Base, Form, field_of, marks, next_forms};

    fn form(base: Base) -> Form {
        Form { input_bytes: 104, output_bytes: 136, base, fields: BTreeMap::new() }
    }

    #[test]
    fn a_number_of_the_input_becomes_what_it_is_compared_with() {
        let whole = form(Base::Marks);
        let (at, mark) = marks(&whole)[2];
        assert_eq!(at, 8);
        let forms = next_forms(&whole, &[(mark, 0x4d41_5055)]);
        let values: Vec<(Base, u64)> = forms.iter().map(|f| (f.base, f.fields[&(8, 4)])).collect();
        assert_eq!(values[0], (Base::Marks, 0x4d41_5055));
        assert_eq!(values[1], (Base::Marks, 0x4d41_5056));
        assert_eq!(values[3], (Base::Zeros, 0x4d41_5055));
        assert!(values.contains(&(Base::Ones, 0x4d41_5054)));
        assert_eq!(forms.len(), 9);
        // What was learned is no mark any longer.
        assert_eq!(field_of(&forms[0], &marks(&forms[0]), mark), None);
        assert_eq!(next_forms(&form(Base::Zeros), &[(0, 7)]), []);
    }

    #[test]
    fn parts_of_a_mark_are_told_by_their_width() {
        let mut whole = form(Base::Marks);
        let list = marks(&whole);
        let (at, mark) = list[1];
        assert_eq!(field_of(&whole, &list, mark), Some(((at, 4), 0)));
        assert_eq!(field_of(&whole, &list, mark & 0xffff), Some(((at, 2), 0)));
        assert_eq!(field_of(&whole, &list, mark & 0xff), Some(((at, 1), 0)));
        let (_, high) = list[3];
        assert_eq!(field_of(&whole, &list, high << 32 | list[2].1), Some(((8, 8), 0)));
        assert_eq!(field_of(&whole, &list, 0), None);
        // A half that was learned leaves the other one.
        whole.fields.insert((at, 2), 3);
        assert_eq!(field_of(&whole, &list, mark), None);
        assert_eq!(field_of(&whole, &list, mark >> 16), Some(((at + 2, 2), 0)));
    }

    #[test]
    fn a_number_that_was_shifted_before_the_comparison_is_shifted_back() {
        let whole = form(Base::Marks);
        let (at, mark) = marks(&whole)[3];
        // lea eax, [x - 65]; cmp eax, -64
        let forms = next_forms(&whole, &[(mark - 65, 0xffff_ffc0)]);
        let values: Vec<u64> = forms.iter().map(|form| form.fields[&(at, 4)]).collect();
        assert_eq!(values, [1, 2, 0, 1, 2, 0, 1, 2, 0]);
        let apart: Vec<u64> = marks(&whole).windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        assert!(apart.iter().all(|apart| *apart > 2 * super::NEAR));
        assert_eq!(next_forms(&whole, &[(mark - super::NEAR, 7)]), []);
    }

    #[test]
    fn a_number_that_was_learned_may_have_another_limit() {
        let mut whole = form(Base::Marks);
        whole.fields.insert((8, 4), 16);
        let forms = next_forms(&whole, &[(16, 16), (16, 1)]);
        let values: Vec<u64> = forms.iter().take(3).map(|form| form.fields[&(8, 4)]).collect();
        assert_eq!(values, [1, 2, 0]);
        let forms = next_forms(&whole, &[(16, 16)]);
        assert!(forms.iter().all(|form| form.fields[&(8, 4)] == 16));
    }

    #[test]
    fn what_was_compared_last_and_was_not_equal_is_changed_first() {
        let whole = form(Base::Marks);
        let list = marks(&whole);
        let mark = |index: usize| list[index].1;
        let byte = mark(1) & 0xff;
        let forms = next_forms(&whole, &[(mark(0), 5), (mark(2), 7), (byte, 3), (104, 104)]);
        let first = |index: usize| forms[index].fields.iter().next();
        assert_eq!(first(0), Some((&(8, 4), &7)));
        assert_eq!(first(3), Some((&(0, 4), &5)));
        let both = BTreeMap::from([((0, 4), 5), ((8, 4), 7)]);
        assert_eq!(forms[6].fields, both);
        assert_eq!(forms[7].fields, BTreeMap::from([((0, 4), 4), ((8, 4), 6)]));
        assert_eq!((forms[8].base, first(8)), (Base::Zeros, Some((&(8, 4), &7))));
        assert_eq!(first(20), Some((&(4, 1), &3)));
        assert_eq!(forms[29].input_bytes, 105);
    }

    #[test]
    fn a_length_is_told_by_its_value() {
        let forms = next_forms(&form(Base::Zeros), &[(104, 7), (4, 136)]);
        let lengths: Vec<(u32, u32)> =
            forms.iter().map(|f| (f.input_bytes, f.output_bytes)).collect();
        assert_eq!(lengths, [(104, 4), (104, 5), (104, 3), (7, 136), (8, 136), (6, 136)]);
        assert_eq!(next_forms(&form(Base::Zeros), &[(104, 1 << 40)]), []);
    }
}
