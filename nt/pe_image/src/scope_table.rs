//! Scope tables: where `__try` begins and ends, and what guards it.
//!
//! This is the handler data of `__C_specific_handler` (`SCOPE_TABLE_AMD64`). Handlers that also
//! check the stack cookie (`__GSHandlerCheck_SEH`) put the same table first.
//!
//! Source: <https://learn.microsoft.com/cpp/build/exception-handling-x64>, and what compilers emit
//! for `__try`.

use crate::unwind::{ReadRva, UnwindError, fill};

/// More scopes than one function has.
const SCOPE_LIMIT: u32 = 4096;

/// What guards a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeHandler {
    /// `__except (filter())`: the filter decides; then execution goes on at the target.
    Filter {
        /// The filter function.
        filter_rva: u32,
        /// The body of `__except`.
        target_rva: u32,
    },
    /// `__except (EXCEPTION_EXECUTE_HANDLER)`: no filter is called.
    Always {
        /// The body of `__except`.
        target_rva: u32,
    },
    /// `__finally`: called while unwinding.
    Finally {
        /// The termination function.
        finally_rva: u32,
    },
}

/// One guarded scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// First guarded byte.
    pub begin_rva: u32,
    /// One past the last guarded byte.
    pub end_rva: u32,
    /// What guards it.
    pub handler: ScopeHandler,
}

/// The scopes of one function, inner ones before those around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeTable {
    /// The scopes in the order of the image, which is the order to try them in.
    pub scopes: Vec<Scope>,
}

impl ScopeTable {
    /// Reads the table at `UnwindInfo::handler_data_rva`.
    pub fn read(reader: &mut impl ReadRva, rva: u32) -> Result<Self, UnwindError> {
        let mut bytes = [0_u8; 4];
        fill(reader, rva, &mut bytes)?;
        let count = u32::from_le_bytes(bytes);
        if count > SCOPE_LIMIT {
            return Err(UnwindError::TooManyScopes { rva, count });
        }
        let scopes = (0..count).map(|index| read_scope(reader, rva.saturating_add(4 + index * 16)));
        Ok(Self { scopes: scopes.collect::<Result<_, _>>()? })
    }
}

fn read_scope(reader: &mut impl ReadRva, rva: u32) -> Result<Scope, UnwindError> {
    let mut field = |index: u32| {
        let mut bytes = [0_u8; 4];
        fill(reader, rva.saturating_add(index * 4), &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    };
    let (begin_rva, end_rva, handler, target_rva) = (field(0)?, field(1)?, field(2)?, field(3)?);
    let handler = match (handler, target_rva) {
        (finally_rva, 0) => ScopeHandler::Finally { finally_rva },
        (1, target_rva) => ScopeHandler::Always { target_rva },
        (filter_rva, target_rva) => ScopeHandler::Filter { filter_rva, target_rva },
    };
    Ok(Scope { begin_rva, end_rva, handler })
}
