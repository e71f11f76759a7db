//! Buffers that a test passes to a driver.

use system::{BufferSpec, Content, FieldSpec, FieldValue};
use verifier::counted;

/// A buffer of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    spec: BufferSpec,
}

impl Buffer {
    /// A null pointer and a length of 0.
    pub fn none() -> Self {
        Self { spec: BufferSpec::Null { length_bytes: 0 } }
    }

    /// User memory that holds these bytes.
    pub fn bytes(bytes: &[u8]) -> Self {
        let length_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { spec: BufferSpec::User { length_bytes, content: Content::Bytes(bytes.to_vec()) } }
    }

    /// User memory of this length that holds zeros.
    pub fn zeros(length_bytes: u32) -> Self {
        let content = Content::Fields(Vec::new());
        Self { spec: BufferSpec::User { length_bytes, content } }
    }

    /// A null pointer with this length.
    pub fn null(length_bytes: u32) -> Self {
        Self { spec: BufferSpec::Null { length_bytes } }
    }

    /// A kernel address that user mode may not touch, with this length.
    pub fn kernel_address(length_bytes: u32) -> Self {
        Self { spec: BufferSpec::Canary { length_bytes } }
    }

    /// Puts a number of 1, 2, 4 or 8 bytes at an offset of a buffer made by [`Buffer::zeros`].
    ///
    /// # Panics
    ///
    /// If it does not fit there; so do the other fields.
    #[must_use]
    #[track_caller]
    pub fn number(self, offset_bytes: u32, size_bytes: u8, value: u64) -> Self {
        self.field(FieldSpec { offset_bytes, size_bytes, value: FieldValue::Number(value) })
    }

    /// Puts the thread id of the caller at an offset, 4 bytes.
    #[must_use]
    #[track_caller]
    pub fn thread_id(self, offset_bytes: u32) -> Self {
        let value = FieldValue::CallerThreadId;
        self.field(FieldSpec { offset_bytes, size_bytes: 4, value })
    }

    /// Puts the process id of the caller at an offset, 4 bytes.
    #[must_use]
    #[track_caller]
    pub fn process_id(self, offset_bytes: u32) -> Self {
        let value = FieldValue::CallerProcessId;
        self.field(FieldSpec { offset_bytes, size_bytes: 4, value })
    }

    /// Puts a handle of the caller, to an event, at an offset, 8 bytes.
    #[must_use]
    #[track_caller]
    pub fn event_handle(self, offset_bytes: u32) -> Self {
        let value = FieldValue::CallerHandle;
        self.field(FieldSpec { offset_bytes, size_bytes: 8, value })
    }

    /// Puts the address of a page of the caller's memory at an offset, 8 bytes.
    #[must_use]
    #[track_caller]
    pub fn user_pointer(self, offset_bytes: u32) -> Self {
        let value = FieldValue::UserPointer;
        self.field(FieldSpec { offset_bytes, size_bytes: 8, value })
    }

    /// Why so many bytes cannot be put at an offset, in one sentence.
    pub(crate) fn refuses(&self, offset_bytes: u32, size_bytes: u8) -> Option<String> {
        let length_bytes = match self.spec {
            BufferSpec::User { length_bytes, .. } => length_bytes,
            _ => {
                return Some(
                    "a pointer that leads nowhere has no bytes to put something in".into(),
                );
            }
        };
        let end = u64::from(offset_bytes) + u64::from(size_bytes);
        (end > u64::from(length_bytes)).then(|| {
            let (field, buffer) = (counted(size_bytes, "byte"), counted(length_bytes, "byte"));
            let verb = if size_bytes == 1 { "does" } else { "do" };
            format!("{field} at offset {offset_bytes} {verb} not fit a buffer of {buffer}")
        })
    }

    #[track_caller]
    fn field(mut self, field: FieldSpec) -> Self {
        let refusal = self.refuses(field.offset_bytes, field.size_bytes);
        assert!(refusal.is_none(), "{}", refusal.unwrap_or_default());
        if let BufferSpec::User { length_bytes, content } = &mut self.spec {
            if let Content::Bytes(bytes) = content {
                *content = Content::Fields(as_fields(bytes, *length_bytes));
            }
            if let Content::Fields(fields) = content {
                fields.push(field);
            }
        }
        self
    }

    pub(crate) fn length_bytes(&self) -> u32 {
        match self.spec {
            BufferSpec::Null { length_bytes }
            | BufferSpec::Canary { length_bytes }
            | BufferSpec::User { length_bytes, .. } => length_bytes,
        }
    }

    /// How many fields it holds, or will when one is put over its bytes.
    pub(crate) fn field_count(&self) -> usize {
        match &self.spec {
            BufferSpec::User { content: Content::Fields(fields), .. } => fields.len(),
            BufferSpec::User { content: Content::Bytes(bytes), .. } => bytes.len(),
            _ => 0,
        }
    }

    pub(crate) fn spec(&self) -> BufferSpec {
        self.spec.clone()
    }
}

/// Bytes as fields, so that others can be put over them.
fn as_fields(bytes: &[u8], length_bytes: u32) -> Vec<FieldSpec> {
    let number = |(offset_bytes, &byte): (u32, &u8)| FieldSpec {
        offset_bytes,
        size_bytes: 1,
        value: FieldValue::Number(u64::from(byte)),
    };
    (0..length_bytes).zip(bytes).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn what_does_not_fit_is_refused() {
        let buffer = Buffer::zeros(16);
        assert_eq!(buffer.refuses(12, 4), None);
        let words = "4 bytes at offset 14 do not fit a buffer of 16 bytes";
        assert_eq!(buffer.refuses(14, 4).as_deref(), Some(words));
        assert!(buffer.refuses(u32::MAX, 8).is_some());
        for nowhere in [Buffer::none(), Buffer::null(16), Buffer::kernel_address(16)] {
            let words = "a pointer that leads nowhere has no bytes to put something in";
            assert_eq!(nowhere.refuses(0, 1).as_deref(), Some(words));
        }
    }
}
