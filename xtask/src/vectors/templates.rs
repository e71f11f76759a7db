//! The encodings of every instruction that the generator may use, found by decoding all opcodes.

use std::collections::BTreeMap;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};

use super::allow;

/// An encoding up to its operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    /// 0, 0x66, 0xf2 or 0xf3.
    pub prefix: u8,
    /// REX.W.
    pub wide: bool,
    /// 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A.
    pub map: u8,
    /// Opcode in its map.
    pub opcode: u8,
    /// modrm.reg.
    pub reg: u8,
    /// modrm.rm of a register form, or `None` for memory (the forms are made at random).
    pub rm: Option<u8>,
}

/// All encodings, by instruction.
#[derive(Debug)]
pub(crate) struct Templates {
    /// Each instruction with its encodings, in a fixed order.
    pub list: Vec<(Code, Vec<Template>)>,
}

impl Templates {
    /// Finds the encodings of all allowed instructions that `is_supported` accepts.
    pub(crate) fn find(is_supported: impl Fn(&Instruction) -> bool) -> Self {
        let mut found: BTreeMap<usize, (Code, Vec<Template>)> = BTreeMap::new();
        for template in Template::all() {
            let bytes = template.bytes();
            let mut decoder = Decoder::new(64, &bytes, DecoderOptions::NONE);
            let instruction = decoder.decode();
            let code = instruction.code();
            if code == Code::INVALID
                || !allow::is_allowed(&instruction)
                || !is_supported(&instruction)
            {
                continue;
            }
            found.entry(code as usize).or_insert_with(|| (code, Vec::new())).1.push(template);
        }
        Self { list: found.into_values().collect() }
    }

    /// The same for instructions whose mnemonic starts so.
    pub(crate) fn find_named(
        is_supported: impl Fn(&Instruction) -> bool,
        start: &str,
    ) -> anyhow::Result<Self> {
        let mut templates = Self::find(is_supported);
        templates
            .list
            .retain(|(code, _)| format!("{:?}", code.mnemonic()).to_lowercase().starts_with(start));
        anyhow::ensure!(!templates.list.is_empty(), "no instruction starts with `{start}`");
        Ok(templates)
    }
}

impl Template {
    fn all() -> impl Iterator<Item = Self> {
        let forms = (0..8).flat_map(|reg| {
            std::iter::once((reg, None)).chain((0..8).map(move |rm| (reg, Some(rm))))
        });
        let forms: Vec<(u8, Option<u8>)> = forms.collect();
        let opcodes = (0..4_u8).flat_map(|map| (0..=255_u8).map(move |opcode| (map, opcode)));
        opcodes.filter(|(map, opcode)| !is_prefix(*map, *opcode)).flat_map(move |(map, opcode)| {
            let forms = forms.clone();
            [0, 0x66, 0xf2, 0xf3].into_iter().flat_map(move |prefix| {
                let forms = forms.clone();
                [false, true].into_iter().flat_map(move |wide| {
                    let forms = forms.clone();
                    forms.into_iter().map(move |(reg, rm)| Self {
                        prefix,
                        wide,
                        map,
                        opcode,
                        reg,
                        rm,
                    })
                })
            })
        })
    }

    /// The bytes with the simplest operands, zero-padded.
    fn bytes(self) -> [u8; 15] {
        let mut bytes = [0; 15];
        let mut head = Vec::with_capacity(8);
        self.push_opcode(&mut head, u8::from(self.wide) << 3);
        head.push(self.rm.map_or(0, |rm| 0xc0 | rm) | self.reg << 3);
        for (to, from) in bytes.iter_mut().zip(head) {
            *to = from;
        }
        bytes
    }

    /// Appends prefix, REX (if `rex` has a bit) and opcode.
    pub(crate) fn push_opcode(self, to: &mut Vec<u8>, rex: u8) {
        if self.prefix != 0 {
            to.push(self.prefix);
        }
        if rex != 0 {
            to.push(0x40 | rex);
        }
        match self.map {
            1 => to.push(0x0f),
            2 => to.extend([0x0f, 0x38]),
            3 => to.extend([0x0f, 0x3a]),
            _ => {}
        }
        to.push(self.opcode);
    }
}

fn is_prefix(map: u8, opcode: u8) -> bool {
    match map {
        0 => matches!(
            opcode,
            0x0f | 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x62 | 0x64..=0x67 | 0xc4 | 0xc5
                | 0xf0 | 0xf2 | 0xf3
        ),
        1 => matches!(opcode, 0x0f | 0x38 | 0x3a),
        _ => false,
    }
}
