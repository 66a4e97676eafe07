//! The declarations of a module before its code: what is known before anything is compiled.
//!
//! A large module may take a minute to compile, but whether its imports exist is known from its first
//! kilobytes. Only sections before the code are read and validated.

use wasmparser::{Parser, Payload, Validator};

use crate::environ::error::CompileError;
use crate::environ::features::FEATURES;
use crate::environ::module_info::{ModuleInfo, name_proposal, read_section};
use crate::environ::value::ExternType;

/// The declarations of a module that come before its code.
pub struct Outline {
    pub(crate) info: ModuleInfo,
}

impl Outline {
    /// Reads the outline of a module.
    ///
    /// # Errors
    /// Returns an error if the module is invalid, or uses something that this engine does not support, as far
    /// as that is known before its code.
    pub fn read(wasm: &[u8]) -> Result<Outline, CompileError> {
        if Parser::is_component(wasm) {
            return Err(CompileError::Invalid { message: "a component".into(), offset: 0 });
        }
        read(wasm).map(|info| Outline { info }).map_err(|error| name_proposal(wasm, error))
    }

    /// Returns the exports: name and type.
    pub fn exports(&self) -> impl Iterator<Item = (&str, ExternType)> {
        self.info.exports.iter().map(|(name, item)| (&**name, self.info.item_type(*item)))
    }

    /// Returns the type of the export with this name.
    pub fn export(&self, name: &str) -> Option<ExternType> {
        self.info.export(name).map(|item| self.info.item_type(item))
    }
}

fn read(wasm: &[u8]) -> Result<ModuleInfo, CompileError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut info = ModuleInfo::default();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let Payload::CodeSectionStart { .. } | Payload::DataSection(_) = payload {
            break;
        }
        validator.payload(&payload)?;
        read_section(&mut info, payload)?;
    }
    Ok(info)
}
