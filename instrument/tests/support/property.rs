//! Properties that hold for every input, as functions of arbitrary bytes: each is a fuzz target, and a smoke
//! test.
//!
//! The fuzz targets include this file by its path, so that the two cannot diverge. It uses nothing else of
//! these tests.
#![allow(dead_code, reason = "a fuzz target is one of these properties")]

use arbitrary::{Arbitrary, Result, Unstructured};
use wasm_smith::{Config, Module};
use wasmparser::{Parser, Validator};

use lunatic_instrument::abi::{MAX_RETURN, SECTION};
use lunatic_instrument::{FEATURES, Options, Prepared, Report, inspect, is_prepared, prepare, verify};

/// All proposals of [`FEATURES`] that the generator supports.
pub(crate) fn config() -> Config {
    Config {
        compact_imports_enabled: false,
        custom_page_sizes_enabled: true,
        exceptions_enabled: true,
        gc_enabled: true,
        memory64_enabled: true,
        threads_enabled: true,
        wide_arithmetic_enabled: true,
        generate_custom_sections: true,
        min_funcs: 5,
        max_memories: 3,
        max_tables: 3,
        ..Config::default()
    }
}

/// For any valid module and any options: the result is valid, verifies, keeps its declared bounds, is the
/// same when the module is prepared again, and does not change when it is prepared itself.
pub(crate) fn preparing(input: &mut Unstructured<'_>) -> Result<Report> {
    let options = options(input)?;
    let wasm = Module::new(config(), input)?.to_bytes();
    let prepared = match prepare(&wasm, &options) {
        Ok(prepared) => prepared,
        Err(error) => panic!("a valid module is refused: {error}"),
    };
    let report = accepted(&prepared.bytes);
    assert!(report.bound <= options.max_charge.max(1));
    assert!(report.charges >= report.functions + report.loops);
    let Prepared { bytes, stats } = &prepared;
    assert_eq!((stats.bound, stats.return_bound), (report.bound, report.return_bound));
    assert_eq!(stats.size_after, bytes.len());
    assert_eq!(prepare(&wasm, &options).expect("as before"), prepared);
    Ok(report)
}

/// Arbitrary bytes are refused or accepted, without a panic.
pub(crate) fn reading(bytes: &[u8]) {
    if verify(bytes).is_ok() {
        accepted(bytes);
    }
    let _ = inspect(bytes);
    let _ = prepare(bytes, &Options::default());
}

/// A prepared module that was edited, with any manifest, is refused, or is a valid module that still keeps
/// its declared bounds. Returns which.
pub(crate) fn editing(input: &mut Unstructured<'_>) -> Result<Option<Report>> {
    let manifest = <Option<Vec<u8>>>::arbitrary(input)?;
    let mut edits = vec![Edit::arbitrary(input)?];
    while edits.len() < MAX_EDITS && input.arbitrary()? {
        edits.push(Edit::arbitrary(input)?);
    }
    let options = options(input)?;
    let wasm = Module::new(config(), input)?.to_bytes();
    let mut bytes = prepare(&wasm, &options).expect("a valid module").bytes;
    if let Some(manifest) = manifest {
        bytes = with_manifest(&bytes, &manifest);
    }
    for edit in edits {
        edit.apply(&mut bytes);
    }
    let is_accepted = verify(&bytes).is_ok();
    reading(&bytes);
    Ok(is_accepted.then(|| accepted(&bytes)))
}

const MAX_EDITS: usize = 4;

/// Checks an accepted module.
fn accepted(bytes: &[u8]) -> Report {
    let report = verify(bytes).unwrap_or_else(|error| panic!("it does not verify: {error}"));
    Validator::new_with_features(FEATURES).validate_all(bytes).expect("what verifies is valid");
    assert!(is_prepared(bytes));
    assert_eq!(inspect(bytes), Ok(report.manifest));
    assert!(report.bound <= report.manifest.bound);
    assert!(report.return_bound <= report.manifest.return_bound.min(MAX_RETURN));
    let again = prepare(bytes, &Options::default()).expect("what verifies is prepared");
    assert_eq!(again.bytes, bytes, "what is prepared is left as it is");
    report
}

fn options(input: &mut Unstructured<'_>) -> Result<Options> {
    let mut options = Options::default();
    // Small ones split every path; all others make no difference to most modules.
    options.max_charge =
        if input.arbitrary()? { u8::arbitrary(input)?.into() } else { u16::arbitrary(input)?.into() };
    options.unroll = input.arbitrary()?;
    Ok(options)
}

/// A change to a file. Positions are numbers that are taken modulo what there is.
#[derive(Debug, Arbitrary)]
enum Edit {
    Set(u32, u8),
    /// One more or one less: the constants of charges, indices, lengths.
    Nudge(u32, bool),
    Insert(u32, u8),
    Remove(u32, u8),
    Truncate(u32),
    /// The section of this number is moved before another one, removed, or written twice.
    Move(u8, u8),
    Drop(u8),
    Repeat(u8),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: u32| (at as usize).checked_rem(bytes.len());
        match *self {
            Edit::Set(at, value) => place(at).into_iter().for_each(|at| bytes[at] = value),
            Edit::Nudge(at, up) => {
                place(at)
                    .into_iter()
                    .for_each(|at| bytes[at] = bytes[at].wrapping_add(if up { 1 } else { 255 }));
            }
            Edit::Insert(at, value) => place(at).into_iter().for_each(|at| bytes.insert(at, value)),
            Edit::Remove(at, length) => {
                if let Some(at) = place(at) {
                    bytes.drain(at..bytes.len().min(at + usize::from(length % 16)));
                }
            }
            Edit::Truncate(at) => place(at).into_iter().for_each(|at| bytes.truncate(at)),
            Edit::Move(from, to) => with_sections(bytes, |sections| {
                let section = sections.remove(usize::from(from) % sections.len());
                sections.insert(usize::from(to) % (sections.len() + 1), section);
            }),
            Edit::Drop(which) => with_sections(bytes, |sections| {
                sections.remove(usize::from(which) % sections.len());
            }),
            Edit::Repeat(which) => with_sections(bytes, |sections| {
                let section = sections[usize::from(which) % sections.len()].clone();
                sections.push(section);
            }),
        }
    }
}

/// Edits a module as a list of sections, if it is one.
fn with_sections(bytes: &mut Vec<u8>, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let Some(mut sections) = sections(bytes) else { return };
    edit(&mut sections);
    bytes.truncate(HEADER_LENGTH);
    bytes.extend(sections.concat());
}

const HEADER_LENGTH: usize = 8;

/// Returns the sections of a module, with their ids and lengths; `None` if they cannot be found.
fn sections(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut ends = vec![HEADER_LENGTH];
    for payload in Parser::new(0).parse_all(bytes) {
        ends.extend(payload.ok()?.as_section().map(|(_, range)| range.end as usize));
    }
    let sections: Vec<_> = ends.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect();
    (!sections.is_empty()).then_some(sections)
}

/// Replaces the content of the section that marks a prepared module.
fn with_manifest(bytes: &[u8], manifest: &[u8]) -> Vec<u8> {
    let mut sections = sections(bytes).expect("a prepared module has sections");
    let mark = sections.pop().expect("the mark comes last");
    assert!(mark.windows(SECTION.len()).any(|name| name == SECTION.as_bytes()));
    let name = [&[SECTION.len() as u8], SECTION.as_bytes()].concat();
    let length = name.len() + manifest.len();
    // Padded to two bytes, as every length of a section may be.
    sections.push([&[0, length as u8 | 0x80, (length >> 7) as u8 & 0x7f], &name[..], manifest].concat());
    [bytes[..HEADER_LENGTH].to_vec(), sections.concat()].concat()
}
