//! The properties of the fuzz targets, on about a hundred fixed inputs each.

#[path = "support/property.rs"]
mod property;
mod support;

use arbitrary::Unstructured;

const INPUTS: u64 = 300;

#[test]
fn any_module_can_be_prepared() {
    let mut with_code = 0;
    for seed in 0..INPUTS {
        let bytes = support::noise(seed, 8192);
        let report = property::preparing(&mut Unstructured::new(&bytes)).expect("enough bytes for a module");
        with_code += u64::from(report.loops > 0);
    }
    assert!(with_code > INPUTS / 4, "the generator still makes modules with loops: {with_code}");
}

#[test]
fn an_edited_module_is_refused_or_keeps_its_bounds() {
    let mut accepted = 0;
    for seed in 0..INPUTS {
        let bytes = support::noise(seed, 4096);
        let report = property::editing(&mut Unstructured::new(&bytes)).expect("enough bytes for a module");
        accepted += u64::from(report.is_some());
    }
    assert!((1..INPUTS).contains(&accepted), "the edits still do something, and not always harm: {accepted}");
}

#[test]
fn any_bytes_are_refused_or_accepted() {
    for seed in 0..INPUTS {
        let noise = support::noise(seed, 256);
        property::reading(&noise);
        property::reading(&[b"\0asm\x01\0\0\0", &noise[..]].concat());
    }
}
