//! Modules of proposals that the interpreter of the other tests lacks, on V8: prepared, they behave the same,
//! and all of their work is paid for, whichever way an exception takes.
//!
//! The engine is the `node` on the path, or what `NODE` names. Without one, the test is skipped, which fails
//! if `CI` is set. An old one is tested with what it supports, and the rest is reported.

#[path = "support/beyond.rs"]
mod beyond;
#[path = "support/property.rs"]
mod property;
#[path = "../../tests/src/skip.rs"]
mod skipping;
mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{Operator, ValType, Validator};

use lunatic_instrument::{FEATURES, Report, verify};
use support::listing::Listing;
use support::oracle::{Claim, counted_copy};
use support::prepared;

const ARGUMENTS: [[i32; 2]; 9] =
    [[0, 0], [1, 5], [2, -1], [3, 1], [6, 2], [7, 3], [30, 100], [31, 7], [-1, 9]];

/// The default for the largest charge, and small ones, with which every path is paid for in parts.
const MAX_CHARGES: [u32; 3] = [10_000, 7, 1];

/// The slice that `node.mjs` uses in the runs with many yields.
const SMALL_SLICE: i64 = 7;

const RANDOM_MODULES: u64 = 200;

#[test]
fn modules_of_every_proposal_behave_the_same_when_prepared() {
    let fixed: Vec<_> = MAX_CHARGES
        .iter()
        .flat_map(|max_charge| beyond::cases().into_iter().map(move |case| (case, *max_charge)))
        .collect();
    let mut jobs: Vec<_> =
        fixed.iter().map(|(case, max_charge)| fixed_job(&case.wasm, *max_charge)).collect();
    jobs.extend((0..RANDOM_MODULES).filter_map(random_job));
    let Some(output) = node(&format!("[{}]", jobs.join(","))) else { return };

    let mut seen = Seen::default();
    let mut skipped: Vec<_> = Vec::new();
    for line in output.lines() {
        let (job, line) = line.split_once('\t').expect("lines begin with a number");
        let job: usize = job.parse().expect("a number");
        let case = fixed.get(job);
        let name = case.map_or_else(
            || format!("random job {}", job - fixed.len()),
            |(case, max_charge)| format!("{}: {}, charges of at most {max_charge}", case.proposal, case.name),
        );
        if line == "unknown" {
            skipped.extend(case.map(|(case, _)| case.proposal));
            seen.unknown += usize::from(case.is_none());
            continue;
        }
        seen.run(&name, line, case.is_some());
    }
    skipped.sort_unstable();
    skipped.dedup();
    if !skipped.is_empty() {
        eprintln!("skipped, because this engine does not know it: {}", skipped.join(", "));
    }
    eprintln!("{seen:?}");
    assert!(seen.fixed > 0, "every engine knows some of the modules");
}

/// The number of runs of each kind.
#[derive(Debug, Default)]
struct Seen {
    fixed: usize,
    random: usize,
    /// Random modules that the engine does not support.
    unknown: usize,
    /// Random modules that do not end, of which only the work is watched.
    endless: usize,
    /// Runs that use up the stack, whose frames are larger in a prepared module.
    overflow: usize,
    /// The work that was watched.
    work: u64,
}

impl Seen {
    /// Takes the report of `node.mjs` on one run.
    fn run(&mut self, name: &str, line: &str, is_fixed: bool) {
        let fields: Vec<_> = line.split('\t').collect();
        let (how, work, objections) = (fields[0], fields[1], fields[2]);
        assert_eq!(objections, "", "{name}: the verifier's claim is not true: {line}");
        let work: u64 = work.parse().expect("a number");
        self.work += work;
        match (how, is_fixed) {
            ("ended", _) => {
                *(if is_fixed { &mut self.fixed } else { &mut self.random }) += 1;
            }
            ("endless", false) => return self.endless += 1,
            ("overflow", false) => return self.overflow += 1,
            _ => panic!("{name}: {line}"),
        }
        let [expected, metered, sliced] = [fields[3], fields[4], fields[5]];
        assert_eq!(metered, expected, "{name}: it does something else");
        assert_eq!(sliced, expected, "{name}: it does something else where it yields");
        let [charged, charged_in_slices, yields] =
            [fields[6], fields[7], fields[8]].map(|number| number.parse::<i64>().expect("a number"));
        assert_eq!(charged, charged_in_slices, "{name}: a yield costs something");
        assert!(charged >= work as i64, "{name}: {work} done, {charged} charged");
        assert!(!is_fixed || charged > 0, "{name}: {line}");
        assert_eq!(yields > 0, charged > SMALL_SLICE, "{name}: {yields} yields for {charged}");
    }
}

/// Runs a list of jobs in the engine, and returns the reports. `None` if there is no engine.
fn node(jobs: &str) -> Option<String> {
    let program = std::env::var_os("NODE").unwrap_or_else(|| "node".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/node.mjs");
    let spawned = Command::new(program)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        skipping::skip("there is no `node`");
        return None;
    };
    // It reads everything before it writes anything. If it fails, its exit status says so.
    let _ = child.stdin.take().expect("it is piped").write_all(jobs.as_bytes());
    let output = child.wait_with_output().expect("a child can be waited for");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
    Some(String::from_utf8(output.stdout).expect("it writes text"))
}

/// A module, with every pair of arguments in an instance of its own.
fn fixed_job(wasm: &[u8], max_charge: u32) -> String {
    let calls: Vec<_> = ARGUMENTS
        .iter()
        .map(|[first, second]| {
            format!("[{}]", call("run", &[format!("i32:{first}"), format!("i32:{second}")]))
        })
        .collect();
    job(wasm, max_charge, &[], &calls)
}

/// A random module whose exports are called one after the other; `None` if nothing can be called, or if it
/// imports what cannot be supplied.
fn random_job(seed: u64) -> Option<String> {
    let bytes = support::noise(seed, 8192);
    let module =
        Module::new(config(seed), &mut Unstructured::new(&bytes)).expect("enough bytes for a module");
    let wasm = module.to_bytes();
    if is_unbounded(&wasm) {
        return None;
    }
    let types = Validator::new_with_features(FEATURES).validate_all(&wasm).expect("it is valid");
    let types = types.as_ref();
    let imports = types.core_imports()?.map(|(module, name, ty)| import(types, module, name, ty));
    let imports: Option<Vec<_>> = imports.collect();
    let calls = types.core_exports()?.filter_map(|(name, ty)| {
        let EntityType::Func(id) = ty else { return None };
        let parameters = types[id].unwrap_func().params().iter().enumerate();
        let arguments: Option<Vec<_>> = parameters
            .map(|(index, ty)| Some(format!("{}:{}", kind(*ty)?, seed as usize % 50 + index)))
            .collect();
        Some(call(name, &arguments?))
    });
    let calls: Vec<_> = calls.collect();
    if calls.is_empty() {
        return None;
    }
    let calls = format!("[{}]", calls.join(","));
    let max_charge = if seed.is_multiple_of(3) { 8 } else { 10_000 };
    Some(job(&wasm, max_charge, &imports?, &[calls]))
}

/// As for the smoke test, without what no version of the engine supports, and such that many modules run
/// something: small, and seldom failing before that. Equal results have to be recognisable as equal.
fn config(seed: u64) -> Config {
    const PAGE: u64 = 1 << 16;
    Config {
        allow_start_export: false,
        canonicalize_nans: true,
        custom_page_sizes_enabled: false,
        disallow_traps: seed.is_multiple_of(2),
        export_everything: true,
        generate_custom_sections: false,
        limit_arrays_in_const_exprs: true,
        max_data_segments: 0,
        max_imports: 2,
        max_memory32_bytes: 16 * PAGE,
        max_memory64_bytes: u128::from(16 * PAGE),
        memory_max_size_required: true,
        max_table_elements: 1_000,
        table_max_size_required: true,
        relaxed_simd_enabled: false,
        simd_enabled: false,
        wide_arithmetic_enabled: false,
        ..property::config()
    }
}

/// Whether a module may wait for another thread, which does not exist, or use up all memory with few
/// operators.
fn is_unbounded(wasm: &[u8]) -> bool {
    Listing::of(wasm).bodies.iter().flat_map(|body| &body.operators).any(|operator| {
        matches!(
            operator,
            Operator::MemoryAtomicWait32 { .. }
                | Operator::MemoryAtomicWait64 { .. }
                | Operator::ArrayNew { .. }
                | Operator::ArrayNewDefault { .. }
        )
    })
}

/// Encodes a job for `node.mjs`. Names and bytes are in hexadecimal, so nothing has to be escaped.
fn job(wasm: &[u8], max_charge: u32, imports: &[String], runs: &[String]) -> String {
    let prepared = prepared(wasm, max_charge);
    let report: Report = verify(&prepared).expect("what was prepared verifies");
    let Claim { at_once, after_a_return } = Claim::of(&report);
    let counted = counted_copy(&Listing::of(&prepared));
    format!(
        r#"{{"original":"{}","prepared":"{}","counted":"{}","atOnce":{at_once},"afterAReturn":{after_a_return},"imports":[{}],"runs":[{}]}}"#,
        hex(wasm),
        hex(&prepared),
        hex(&counted),
        imports.join(","),
        runs.join(","),
    )
}

fn call(export: &str, arguments: &[String]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|argument| format!("\"{argument}\"")).collect();
    format!(r#"{{"export":"{}","arguments":[{}]}}"#, hex(export.as_bytes()), arguments.join(","))
}

/// Describes what to import under a name; `None` if it cannot be created from outside.
fn import(types: TypesRef<'_>, module: &str, name: &str, ty: EntityType) -> Option<String> {
    let list = |types: &[ValType], kind: fn(ValType) -> Option<&'static str>| {
        let kinds: Option<Vec<_>> = types.iter().map(|ty| Some(format!("\"{}\"", kind(*ty)?))).collect();
        Some(kinds?.join(","))
    };
    let item = match ty {
        EntityType::Func(id) | EntityType::FuncExact(id) => {
            format!(r#""kind":"function","results":[{}]"#, list(types[id].unwrap_func().results(), kind)?)
        }
        EntityType::Global(ty) if !ty.shared => {
            let content = number(ty.content_type)?;
            format!(r#""kind":"global","type":"{content}","mutable":{}"#, ty.mutable)
        }
        EntityType::Memory(ty) => format!(
            r#""kind":"memory","minimum":{},"maximum":{},"shared":{},"is64":{}"#,
            ty.initial,
            ty.maximum.map_or("null".to_owned(), |maximum| maximum.to_string()),
            ty.shared,
            ty.memory64
        ),
        EntityType::Tag(id) => {
            format!(r#""kind":"tag","parameters":[{}]"#, list(types[id].unwrap_func().params(), number)?)
        }
        EntityType::Global(_) | EntityType::Table(_) => return None,
    };
    Some(format!(r#"{{"module":"{}","name":"{}",{item}}}"#, hex(module.as_bytes()), hex(name.as_bytes())))
}

/// The JavaScript counterpart of a type, if there is one.
fn kind(ty: ValType) -> Option<&'static str> {
    match ty {
        ValType::Ref(ty) => ty.is_nullable().then_some("ref"),
        other => number(other),
    }
}

fn number(ty: ValType) -> Option<&'static str> {
    match ty {
        ValType::I32 => Some("i32"),
        ValType::I64 => Some("i64"),
        ValType::F32 => Some("f32"),
        ValType::F64 => Some("f64"),
        ValType::V128 | ValType::Ref(_) => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
