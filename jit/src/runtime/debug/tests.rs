//! Hand-made debug sections: valid, damaged and hostile ones.

use std::time::Instant;

use gimli::constants;
use lunatic_instrument::abi::DEBUG_SECTIONS;

use super::{DebugInfo, Source};

/// Names and contents.
type Sections = Vec<(&'static str, Vec<u8>)>;

/// Where the code section begins in these modules, and the address in it that is looked up.
const CODE_START: u32 = 100;
const PLACE: u32 = 24;

/// Returns sections as [`extract`] does.
fn stored(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = CODE_START.to_le_bytes().to_vec();
    for (name, content) in sections {
        let number = DEBUG_SECTIONS.iter().position(|section| section == name).expect("one that is kept");
        bytes.push(number as u8);
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(content);
    }
    bytes
}

/// `inner`, of line 3, inlined at line 11:7 of `outer`, which has the addresses 10 to 40.
fn good() -> Sections {
    let outer_lines = [
        // From address 10, line 10, column 1.
        &[0, 5, 2, 10, 0, 0, 0, 3, 9, 5, 1, 1][..],
        // From address 20, line 3, column 5.
        &[2, 10, 3, 0x79, 5, 5, 1],
        // From address 30, line 12, no column, to address 40.
        &[2, 10, 3, 9, 5, 0, 1, 2, 10, 0, 1, 1],
    ];
    let entries = [
        // The unit: addresses, lines and directory.
        &[6, 10, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0][..],
        b"/src\0",
        // The inlined function, wherever it is inlined.
        &[7],
        b"plain name\0_ZN3app5inner17h0123456789abcdefE\0",
        &[8, 10, 0, 0, 0, 30, 0, 0, 0],
        b"outer\0",
        // What it is, its addresses, and where: file 1, line 11, column 7.
        &[9, 29, 0, 0, 0, 20, 0, 0, 0, 10, 0, 0, 0, 1, 11, 7],
        &[0, 0],
    ];
    vec![
        ("debug_info", unit(&entries.concat())),
        ("debug_abbrev", abbreviations()),
        ("debug_line", line_program(b"main.rs\0\0\0\0", &outer_lines.concat())),
    ]
}

/// A unit header, version 4, followed by entries. The abbreviations are the first in their section.
fn unit(entries: &[u8]) -> Vec<u8> {
    let mut unit = (entries.len() as u32 + 7).to_le_bytes().to_vec();
    unit.extend([4, 0, 0, 0, 0, 0, 4]);
    unit.extend(entries);
    unit
}

/// 1, a unit, and 2, a function, with their addresses (and its lines); 3, an inlined function with a list of ranges;
/// 4, a unit with lines alone; 5, an inlined function with nothing at all; 6 to 9, as [`good`] needs them. All but 4, 7
/// and 9 have children.
fn abbreviations() -> Vec<u8> {
    use constants::*;
    let addresses = [(DW_AT_low_pc, DW_FORM_addr), (DW_AT_high_pc, DW_FORM_data4)];
    let lists = [
        (1, DW_TAG_compile_unit, true, addresses.to_vec()),
        (2, DW_TAG_subprogram, true, addresses.to_vec()),
        (3, DW_TAG_inlined_subroutine, true, vec![(DW_AT_ranges, DW_FORM_sec_offset)]),
        (
            4,
            DW_TAG_compile_unit,
            false,
            vec![(DW_AT_comp_dir, DW_FORM_strp), (DW_AT_stmt_list, DW_FORM_sec_offset)],
        ),
        (5, DW_TAG_inlined_subroutine, true, Vec::new()),
        (
            6,
            DW_TAG_compile_unit,
            true,
            [&addresses[..], &[(DW_AT_stmt_list, DW_FORM_sec_offset), (DW_AT_comp_dir, DW_FORM_string)]]
                .concat(),
        ),
        (
            7,
            DW_TAG_subprogram,
            false,
            vec![(DW_AT_name, DW_FORM_string), (DW_AT_linkage_name, DW_FORM_string)],
        ),
        (8, DW_TAG_subprogram, true, [&addresses[..], &[(DW_AT_name, DW_FORM_string)]].concat()),
        (
            9,
            DW_TAG_inlined_subroutine,
            false,
            [
                &[(DW_AT_abstract_origin, DW_FORM_ref4)],
                &addresses[..],
                &[
                    (DW_AT_call_file, DW_FORM_data1),
                    (DW_AT_call_line, DW_FORM_data1),
                    (DW_AT_call_column, DW_FORM_data1),
                ],
            ]
            .concat(),
        ),
    ];
    let mut bytes = Vec::new();
    for (code, tag, children, attributes) in lists {
        bytes.extend([code, tag.0 as u8, u8::from(children)]);
        bytes.extend(attributes.iter().flat_map(|(name, form)| [name.0 as u8, form.0 as u8]));
        bytes.extend([0, 0]);
    }
    bytes.push(0);
    bytes
}

/// A line program, version 4, with these files (name, and three zeros each) and instructions.
fn line_program(files: &[u8], instructions: &[u8]) -> Vec<u8> {
    let mut header = vec![1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    // No directories.
    header.push(0);
    header.extend(files);
    header.push(0);
    let length = 2 + 4 + header.len() + instructions.len();
    let mut program = (length as u32).to_le_bytes().to_vec();
    program.extend([4, 0]);
    program.extend((header.len() as u32).to_le_bytes());
    program.extend(header);
    program.extend(instructions);
    program
}

fn sources(stored: Vec<u8>, address: u32) -> Vec<String> {
    let info = DebugInfo::in_memory(stored).expect("there are some");
    let sources = info.sources(CODE_START + address);
    sources.iter().map(|source| format!("{}{source}", source.function.as_deref().unwrap_or("?"))).collect()
}

#[test]
fn inlined_functions_are_distinguished() {
    let stored = stored(&good());
    let found = sources(stored.clone(), PLACE);
    assert_eq!(found, ["app::inner at /src/main.rs:3:5", "outer at /src/main.rs:11:7"]);
    assert_eq!(sources(stored.clone(), 19), ["outer at /src/main.rs:10:1"]);
    // A line without a known column.
    assert_eq!(sources(stored.clone(), 30), ["outer at /src/main.rs:12"]);
    assert!(sources(stored.clone(), 9).is_empty() && sources(stored, 40).is_empty());
}

#[test]
fn an_offset_before_the_code_has_no_source() {
    let info = DebugInfo::in_memory(stored(&good())).expect("there are some");
    assert!(info.sources(CODE_START - 1).is_empty() && info.sources(u32::MAX).is_empty());
}

#[test]
fn damaged_sections_give_no_or_partial_sources() {
    let mut useful = 0;
    let whole = good();
    for number in 0..whole.len() {
        for length in 0..whole[number].1.len() {
            let mut cut = whole.clone();
            cut[number].1.truncate(length);
            useful += usize::from(!sources(stored(&cut), PLACE).is_empty());
        }
        // Every bit, and then some bytes at a time.
        for bit in 0..8 * whole[number].1.len() {
            let mut flipped = whole.clone();
            flipped[number].1[bit / 8] ^= 1 << (bit % 8);
            useful += usize::from(!sources(stored(&flipped), PLACE).is_empty());
        }
    }
    let mut state = 1_u64;
    for _ in 0..10_000 {
        let mut noisy = whole.clone();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (state >> 16) as usize;
            let section = &mut noisy[random % whole.len()].1;
            let at = (random >> 8) % section.len();
            section[at] = (state >> 56) as u8;
        }
        useful += usize::from(!sources(stored(&noisy), PLACE).is_empty());
    }
    assert!(useful > 1_000, "what is whole is still used: {useful}");
    // Damage to the frames around the sections too.
    let stored = stored(&good());
    for length in 1..stored.len() {
        let _ = sources(stored[..length].to_vec(), PLACE);
    }
}

/// A unit with a function, both with the addresses 0 to 100.
fn function() -> Vec<u8> {
    [[1, 0, 0, 0, 0, 100, 0, 0, 0], [2, 0, 0, 0, 0, 100, 0, 0, 0]].concat()
}

/// Looks up two addresses in hostile sections, and returns what was found for the first.
fn endure(sections: &[(&str, Vec<u8>)]) -> Vec<Source> {
    let began = Instant::now();
    let info = DebugInfo::in_memory(stored(sections)).expect("there are some");
    let found = info.sources(CODE_START + PLACE);
    let again = info.sources(CODE_START + PLACE + 1);
    assert!(again.len() <= 32, "{}", again.len());
    // Steps are counted. This is for work that they do not count, on a slow machine in a debug build.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    found.to_vec()
}

#[test]
fn deeply_nested_functions_do_not_overflow_the_stack() {
    let entries = [function(), vec![5; 3_000_000]].concat();
    let sections = [("debug_info", unit(&entries)), ("debug_abbrev", abbreviations())];
    assert!(endure(&sections).is_empty());
    // A reasonable number is followed, and not all of it shown.
    let ranges = [[20, 0, 0, 0, 30, 0, 0, 0], [0; 8]].concat();
    let entries = [function(), [3, 0, 0, 0, 0].repeat(50)].concat();
    // An end for each of the entries with children.
    let entries = [entries, vec![0; 52]].concat();
    let sections =
        [("debug_info", unit(&entries)), ("debug_abbrev", abbreviations()), ("debug_ranges", ranges)];
    assert_eq!(endure(&sections).len(), 32);
}

#[test]
fn shared_range_lists_are_read_within_the_budget() {
    // Each of a hundred thousand functions has a hundred thousand ranges.
    let count = 100_000;
    let ranges = [[1, 0, 0, 0, 2, 0, 0, 0].repeat(count), vec![0; 8]].concat();
    let entries = [function(), [3, 0, 0, 0, 0, 0].repeat(count)].concat();
    let sections =
        [("debug_info", unit(&entries)), ("debug_abbrev", abbreviations()), ("debug_ranges", ranges)];
    assert!(endure(&sections).is_empty());
}

#[test]
fn shared_line_programs_and_strings_are_read_within_the_budget() {
    let units = unit(&[4, 0, 0, 0, 0, 0, 0, 0, 0]).repeat(20_000);
    // Special opcodes: a row each.
    let rows = [vec![0, 5, 2, 0, 0, 0, 0], vec![0x83; 100_000], vec![0, 1, 1]].concat();
    let lines = line_program(&[], &rows);
    let sections = [
        ("debug_info", units),
        ("debug_abbrev", abbreviations()),
        ("debug_line", lines),
        ("debug_str", b"x\0".to_vec()),
    ];
    endure(&sections);
    // Every file is in a directory with a name of a megabyte.
    let lines = line_program(&b"f\0\0\0\0".repeat(100_000), &rows[..10]);
    let sections = [
        ("debug_info", unit(&[4, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("debug_abbrev", abbreviations()),
        ("debug_line", lines),
        ("debug_str", [vec![b'x'; 1 << 20], vec![0]].concat()),
    ];
    assert!(endure(&sections).is_empty());
}

#[test]
fn long_names_and_chains_are_truncated() {
    let mut sections = good();
    let name = b"outer";
    // In version 4, strings are stored where they are used, so the name goes where there is room.
    let info = &mut sections.iter_mut().find(|section| section.0 == "debug_info").expect("written").1;
    let at = info.windows(name.len()).position(|window| window == name).expect("written");
    info.splice(at..at + name.len(), vec![b'o'; 100_000]);
    let length = info.len() as u32 - 4;
    info[..4].copy_from_slice(&length.to_le_bytes());
    let found = sources(stored(&sections), 12);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("ooo") && found[0].contains('…') && found[0].len() < 2_000, "{}", found[0]);
}
