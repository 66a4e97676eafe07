//! The custom section that marks a prepared module.
//!
//! An `.lwasm` file is an ordinary core module with a custom section `lunatic.prep`. It has five numbers,
//! each an unsigned LEB128 of at most 32 bits:
//!
//! ```text
//! format version · cost-model version · largest charge allowed (the option) · bound · bound after a return
//! ```
//!
//! The section is a statement, not a proof. It says by which rules the file was written, so that a file from
//! another version gets the error "prepare it again" rather than a confusing complaint about its code. What
//! it says about the code is checked against the code by [`crate::verify`].
//!
//! Both versions come first, so that every later format can be told apart from this one.

use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{BinaryReader, Parser, Payload};

use crate::abi::{COST_MODEL_VERSION, FORMAT_VERSION, SECTION};
use crate::error::ManifestError;

/// The content of the custom section of a prepared module. The two versions are this crate's own, otherwise
/// the section could not have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    /// The largest charge that was allowed when the module was prepared.
    pub max_charge: u32,
    /// The most work between two charges of one activation: see [`Report::bound`](crate::Report::bound).
    pub bound: u32,
    /// The most work after a return: see [`Report::return_bound`](crate::Report::return_bound).
    pub return_bound: u32,
}

impl Manifest {
    /// Returns the content of the section.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let Manifest { max_charge, bound, return_bound } = *self;
        for number in [FORMAT_VERSION, COST_MODEL_VERSION, max_charge, bound, return_bound] {
            number.encode(&mut data);
        }
        data
    }

    /// Reads the content of the section.
    pub(crate) fn decode(data: &[u8]) -> Result<Manifest, ManifestError> {
        let mut reader = BinaryReader::new(data, 0);
        let mut number = || reader.read_var_u32().map_err(|_| ManifestError::Malformed);
        let format = number()?;
        if format != FORMAT_VERSION {
            return Err(ManifestError::FormatVersion(format));
        }
        let cost_model = number()?;
        if cost_model != COST_MODEL_VERSION {
            return Err(ManifestError::CostModelVersion(cost_model));
        }
        let manifest = Manifest { max_charge: number()?, bound: number()?, return_bound: number()? };
        if reader.eof() { Ok(manifest) } else { Err(ManifestError::Malformed) }
    }

    /// Appends the section to a module.
    pub(crate) fn append_to(&self, module: &mut Vec<u8>) {
        CustomSection { name: SECTION.into(), data: self.encode().into() }.append_to(module);
    }
}

/// Whether the bytes are a module with the mark of a prepared one.
///
/// This is what the file claims. Whether the claim is true is decided by [`crate::verify`].
#[must_use]
pub fn is_prepared(wasm: &[u8]) -> bool {
    !matches!(inspect(wasm), Err(ManifestError::Missing))
}

/// Reads how a module was prepared, without reading its code.
///
/// # Errors
///
/// Returns [`ManifestError::Missing`] if the bytes have no mark (or are not a module), and another error if
/// this version does not accept the mark.
pub fn inspect(wasm: &[u8]) -> Result<Manifest, ManifestError> {
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::CustomSection(section)) if section.name() == SECTION => {
                return Manifest::decode(section.data());
            }
            // A component is not searched: a module nested in it has its own mark.
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Err(ManifestError::Missing)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn module_with(data: &[u8]) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        module.section(&CustomSection { name: SECTION.into(), data: data.into() });
        module.finish()
    }

    #[test]
    fn a_manifest_round_trips() {
        let manifest = Manifest { max_charge: 10_000, bound: 77, return_bound: 3 };
        let mut module = wasm_encoder::Module::HEADER.to_vec();
        manifest.append_to(&mut module);
        assert_eq!(inspect(&module), Ok(manifest));
    }

    #[test]
    fn other_versions_get_an_error_that_says_to_prepare_again() {
        for (data, expected) in [
            (&[9, 1, 1, 1, 1][..], ManifestError::FormatVersion(9)),
            (&[9][..], ManifestError::FormatVersion(9)),
            (&[3, 7, 1, 1, 1][..], ManifestError::CostModelVersion(7)),
        ] {
            assert_eq!(inspect(&module_with(data)), Err(expected));
            assert!(expected.to_string().contains("prepare it again with lunatic-prep"));
        }
    }

    #[test]
    fn short_long_and_malformed_manifests_are_refused() {
        for data in
            [&[][..], &[3], &[3, 1, 1, 1], &[3, 1, 1, 1, 1, 0], &[3, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(inspect(&module_with(data)), Err(ManifestError::Malformed), "{data:?}");
        }
    }

    #[test]
    fn a_module_without_the_section_is_not_prepared() {
        for bytes in [&b""[..], b"text", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
            assert!(!is_prepared(bytes));
        }
        assert!(is_prepared(&module_with(b"")), "a malformed mark is a mark");
    }

    proptest! {
        #[test]
        fn decoding_is_total(data: Vec<u8>) {
            let _ = Manifest::decode(&data);
            let _ = inspect(&module_with(&data));
        }
    }
}
