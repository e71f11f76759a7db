//! The code of a block as a list of pieces with labels, and its bytes.

use std::collections::BTreeSet;

/// A place that branches lead to, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

#[derive(Clone, Debug)]
enum Piece {
    /// Whole instructions, one each.
    Instruction(Vec<u8>),
    /// The rest of an instruction that began in the piece before.
    Rest(Vec<u8>),
    /// Bytes that end in the distance to a label, of 4 bytes, and those behind it.
    Distance {
        head: Vec<u8>,
        to: Label,
        tail: Vec<u8>,
    },
    Place(Label),
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pieces: Vec<Piece>,
    labels: usize,
    /// Places so many bytes behind the end.
    beyond: Vec<(Label, usize)>,
}

/// Assembled code.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) bytes: Vec<u8>,
    /// Where instructions begin.
    pub(crate) starts: BTreeSet<usize>,
}

impl Code {
    pub(crate) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub(crate) fn place(&mut self, label: Label) {
        self.pieces.push(Piece::Place(label));
    }

    /// A place behind the end.
    pub(crate) fn beyond(&mut self, distance_bytes: usize) -> Label {
        let label = self.label();
        self.beyond.push((label, distance_bytes));
        label
    }

    pub(crate) fn instruction(&mut self, bytes: impl Into<Vec<u8>>) {
        self.pieces.push(Piece::Instruction(bytes.into()));
    }

    /// An instruction whose bytes from here on have a label.
    pub(crate) fn split(&mut self, head: &[u8], label: Label, rest: impl Into<Vec<u8>>) {
        self.instruction(head);
        self.place(label);
        self.pieces.push(Piece::Rest(rest.into()));
    }

    /// An instruction that holds the distance to a label, and maybe an immediate behind it.
    pub(crate) fn distance(&mut self, head: &[u8], to: Label, tail: &[u8]) {
        self.pieces.push(Piece::Distance { head: head.into(), to, tail: tail.into() });
    }

    /// The bytes; a label that was never placed is the end.
    pub(crate) fn assemble(&self) -> Assembled {
        let mut at = 0;
        let mut places = vec![usize::MAX; self.labels];
        let mut starts = BTreeSet::new();
        for piece in &self.pieces {
            if matches!(piece, Piece::Instruction(_) | Piece::Distance { .. }) {
                starts.insert(at);
            }
            if let Piece::Place(Label(number)) = piece {
                places[*number] = at;
            }
            at += piece.len();
        }
        let end = at;
        for (Label(number), distance_bytes) in &self.beyond {
            places[*number] = end + distance_bytes;
        }
        let mut bytes = Vec::with_capacity(end);
        for piece in &self.pieces {
            match piece {
                Piece::Instruction(part) | Piece::Rest(part) => bytes.extend(part),
                Piece::Place(_) => {}
                Piece::Distance { head, to: Label(to), tail } => {
                    bytes.extend(head);
                    let behind = bytes.len() + 4 + tail.len();
                    let place = if places[*to] == usize::MAX { end } else { places[*to] };
                    let distance = place as i64 - behind as i64;
                    bytes.extend((distance as i32).to_le_bytes());
                    bytes.extend(tail);
                }
            }
        }
        Assembled { bytes, starts }
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Instruction(bytes) | Self::Rest(bytes) => bytes.len(),
            Self::Distance { head, tail, .. } => head.len() + 4 + tail.len(),
            Self::Place(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn distances_lead_to_their_labels() {
        let mut code = Code::default();
        let (head, end) = (code.label(), code.label());
        code.distance(&[0xe9], end, &[]);
        code.place(head);
        code.instruction([0x90]);
        code.distance(&[0x0f, 0x85], head, &[]);
        code.distance(&[0xc6, 0x05], head, &[7]);
        let beyond = code.beyond(0x10);
        code.distance(&[0xe8], beyond, &[]);
        let assembled = code.assemble();
        let jump_to_end = [0xe9, 19, 0, 0, 0];
        let back = [0x0f, 0x85, 0xf9, 0xff, 0xff, 0xff];
        let store = [0xc6, 0x05, 0xf2, 0xff, 0xff, 0xff, 7];
        let call = [0xe8, 16, 0, 0, 0];
        assert_eq!(assembled.bytes, [&jump_to_end[..], &[0x90], &back, &store, &call].concat());
        assert_eq!(assembled.starts.into_iter().collect::<Vec<_>>(), [0, 5, 6, 12, 19]);
    }
}
