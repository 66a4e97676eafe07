//! Vectors where the specification's tests do not look: at the borders, across a yield, at the edges of every
//! kind of memory. And relaxed operators do what this engine says they do.

mod metered;

use lunatic_jit::{
    Caller, CompileOptions, Engine, EngineConfig, Instance, Linker, MemoryLayout, Module, Store, StoreLimits,
    TrapKind, Value,
};
use metered::{CHARGE, METERING};

/// All bytes differ.
const DISTINCT: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;

struct Guest {
    module: Module,
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(body: &str, linker: &Linker<()>, options: CompileOptions) -> Guest {
        let engine = Engine::new(EngineConfig::default()).unwrap();
        let wat = format!("(module {METERING} {body})").replace("CHARGE", CHARGE);
        let module = Module::compile_with(&engine, &wat::parse_str(wat).unwrap(), options).unwrap();
        let mut store = Store::new(&engine, (), StoreLimits::default());
        let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
        Guest { module, store, instance }
    }

    fn call(&mut self, name: &str, args: &[Value], slice: u64) -> Vec<Value> {
        let function = self.module.exported_function(name).unwrap();
        self.store.call_in_slices(self.instance, function, args, slice).unwrap()
    }
}

fn guest(body: &str) -> Guest {
    Guest::new(body, &Linker::new(), CompileOptions::default())
}

#[test]
fn host_functions_take_and_return_vectors() {
    let mut linker = Linker::<()>::new();
    linker.func("h", "turn", |_: &mut Caller<'_, ()>, first: u32, vector: u128, last: u64| -> u128 {
        vector.swap_bytes() ^ u128::from(first) ^ u128::from(last) << 64
    });
    let body = r#"
        (import "h" "turn" (func $turn (param i32 v128 i64) (result v128)))
        (global $kept (mut v128) (v128.const i64x2 0 0))
        (global (export "kept") v128 (v128.const i64x2 1 2))
        (func (export "run") (param v128) (result v128 i32 v128)
            CHARGE
            (global.set $kept (call $turn (i32.const 1) (local.get 0) (i64.const 2)))
            (global.get $kept) (i32.const 5) (local.get 0))"#;
    let mut guest = Guest::new(body, &linker, CompileOptions::default());
    let turned = DISTINCT.swap_bytes() ^ 1 ^ 2 << 64;
    let expected = [Value::V128(turned), Value::I32(5), Value::V128(DISTINCT)];
    assert_eq!(guest.call("run", &[Value::V128(DISTINCT)], 0), expected);
    let kept = guest.store.export(guest.instance, "kept").unwrap();
    assert_eq!(guest.store.global(kept), Some(Value::V128(2 << 64 | 1)));
}

#[test]
fn a_yield_preserves_all_bits_of_vectors() {
    // More vectors than there are registers, all live across a yield, in a loop whose result depends on each.
    const COUNT: usize = 40;
    let locals = (0..COUNT).map(|i| format!("(local $v{i} v128)")).collect::<String>();
    let start = (0..COUNT)
        .map(|i| format!("(local.set $v{i} (v128.const i32x4 {} {} {} {}))", i, i + 1, !i as u32, i * 77))
        .collect::<String>();
    let step = (0..COUNT).map(|i| {
        let other = (i + 7) % COUNT;
        format!("(local.set $v{i} (v128.xor (i32x4.mul (local.get $v{i}) (local.get $v{other})) (i64x2.splat (local.get $n))))")
    });
    let step = step.collect::<String>();
    let sum = (0..COUNT).map(|i| format!("(i8x16.add (local.get $v{i}))")).collect::<String>();
    let body = format!(
        r#"(func (export "mix") (param $n i64) (result v128) {locals} {start}
            (loop $again CHARGE {step}
                (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
            (v128.const i64x2 0 0) {sum})"#
    );
    let mut guest = guest(&body);
    let args = [Value::I64(500)];
    let expected = guest.call("mix", &args, i64::MAX as u64);
    assert_ne!(expected, guest.call("mix", &[Value::I64(499)], i64::MAX as u64));
    for slice in [0, 35] {
        assert_eq!(guest.call("mix", &args, slice), expected, "slices of {slice}");
    }
}

/// Every vector access: its operator, its size in bytes, and whether it stores.
const ACCESSES: [(&str, u32, bool); 22] = [
    ("v128.load", 16, false),
    ("v128.store", 16, true),
    ("v128.load8x8_s", 8, false),
    ("v128.load8x8_u", 8, false),
    ("v128.load16x4_s", 8, false),
    ("v128.load16x4_u", 8, false),
    ("v128.load32x2_s", 8, false),
    ("v128.load32x2_u", 8, false),
    ("v128.load8_splat", 1, false),
    ("v128.load16_splat", 2, false),
    ("v128.load32_splat", 4, false),
    ("v128.load64_splat", 8, false),
    ("v128.load32_zero", 4, false),
    ("v128.load64_zero", 8, false),
    ("v128.load8_lane", 1, false),
    ("v128.load16_lane", 2, false),
    ("v128.load32_lane", 4, false),
    ("v128.load64_lane", 8, false),
    ("v128.store8_lane", 1, true),
    ("v128.store16_lane", 2, true),
    ("v128.store32_lane", 4, true),
    ("v128.store64_lane", 8, true),
];

fn access(operator: &str, stores: bool, offset: u64) -> String {
    let lane = if operator.ends_with("_lane") { " 1" } else { "" };
    let vector = if stores || !lane.is_empty() { "(v128.const i64x2 -1 -1)" } else { "" };
    let access = format!("({operator} offset={offset}{lane} (local.get 0) {vector})");
    if stores { access } else { format!("(drop (v128.any_true {access}))") }
}

#[test]
fn vector_accesses_are_checked_in_every_memory_layout() {
    let mut body = String::from(r#"(memory 1 1)"#);
    for (operator, _, stores) in ACCESSES {
        for offset in [0, 65_000, 0xffff_ffff] {
            let access = access(operator, stores, offset);
            body += &format!(r#"(func (export "{operator} {offset}") (param i32) {access})"#);
        }
    }
    let layouts = [MemoryLayout::Pooled, MemoryLayout::Reserved];
    for options in layouts
        .into_iter()
        .flat_map(|memory| [false, true].map(|untrusted| CompileOptions { memory, untrusted }))
    {
        let mut guest = Guest::new(&body, &Linker::new(), options);
        for (operator, bytes, _) in ACCESSES {
            for (offset, index, inside) in [
                (0, 65_536 - bytes, true),
                (0, 65_536 - bytes + 1, false),
                (0, u32::MAX, false),
                (0, u32::MAX - bytes, false),
                (65_000, 536 - bytes, true),
                (65_000, 536 - bytes + 1, false),
                (65_000, u32::MAX - 64_999, false),
                (0xffff_ffff_u32, 0, false),
                (0xffff_ffff, 1, false),
                (0xffff_ffff, u32::MAX, false),
            ] {
                let function = guest.module.exported_function(&format!("{operator} {offset}")).unwrap();
                let result = guest.store.call(guest.instance, function, &[Value::I32(index as i32)]);
                let place = format!("{operator} offset={offset} at {index}, {options:?}");
                match result {
                    Ok(_) => assert!(inside, "{place}: it did not trap"),
                    Err(trap) => {
                        assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds), "{place}: {trap}");
                        assert!(!inside, "{place}: {trap}");
                    }
                }
            }
        }
    }
}

/// Relaxed operators, and the strict expression over `$a`, `$b` and `$c` that each is equivalent to here.
const RELAXED: [(&str, &str, usize); 20] = [
    ("i8x16.relaxed_swizzle", "(i8x16.swizzle A B)", 2),
    ("i32x4.relaxed_trunc_f32x4_s", "(i32x4.trunc_sat_f32x4_s A)", 1),
    ("i32x4.relaxed_trunc_f32x4_u", "(i32x4.trunc_sat_f32x4_u A)", 1),
    ("i32x4.relaxed_trunc_f64x2_s_zero", "(i32x4.trunc_sat_f64x2_s_zero A)", 1),
    ("i32x4.relaxed_trunc_f64x2_u_zero", "(i32x4.trunc_sat_f64x2_u_zero A)", 1),
    ("f32x4.relaxed_madd", "(f32x4.add (f32x4.mul A B) C)", 3),
    ("f32x4.relaxed_nmadd", "(f32x4.add (f32x4.mul (f32x4.neg A) B) C)", 3),
    ("f64x2.relaxed_madd", "(f64x2.add (f64x2.mul A B) C)", 3),
    ("f64x2.relaxed_nmadd", "(f64x2.add (f64x2.mul (f64x2.neg A) B) C)", 3),
    ("i8x16.relaxed_laneselect", "(v128.bitselect A B C)", 3),
    ("i16x8.relaxed_laneselect", "(v128.bitselect A B C)", 3),
    ("i32x4.relaxed_laneselect", "(v128.bitselect A B C)", 3),
    ("i64x2.relaxed_laneselect", "(v128.bitselect A B C)", 3),
    ("f32x4.relaxed_min", "(f32x4.min A B)", 2),
    ("f32x4.relaxed_max", "(f32x4.max A B)", 2),
    ("f64x2.relaxed_min", "(f64x2.min A B)", 2),
    ("f64x2.relaxed_max", "(f64x2.max A B)", 2),
    ("i16x8.relaxed_q15mulr_s", "(i16x8.q15mulr_sat_s A B)", 2),
    (
        "i16x8.relaxed_dot_i8x16_i7x16_s",
        // The even lanes and the odd ones, each sign-extended in place.
        "(i16x8.add
            (i16x8.mul (i16x8.shr_s (i16x8.shl A (i32.const 8)) (i32.const 8))
                       (i16x8.shr_s (i16x8.shl B (i32.const 8)) (i32.const 8)))
            (i16x8.mul (i16x8.shr_s A (i32.const 8)) (i16x8.shr_s B (i32.const 8))))",
        2,
    ),
    (
        "i32x4.relaxed_dot_i8x16_i7x16_add_s",
        "(i32x4.add C (i32x4.extadd_pairwise_i16x8_s (i16x8.relaxed_dot_i8x16_i7x16_s A B)))",
        3,
    ),
];

/// Vectors that a relaxed operator could treat differently: NaN, infinities, both zeros, numbers out of
/// range, lowest numbers, indices out of range; and random ones.
fn interesting() -> Vec<u128> {
    let floats =
        |lanes: [f32; 4]| lanes.iter().rev().fold(0, |all, lane| all << 32 | u128::from(lane.to_bits()));
    let doubles =
        |lanes: [f64; 2]| lanes.iter().rev().fold(0, |all, lane| all << 64 | u128::from(lane.to_bits()));
    let mut all = vec![
        DISTINCT,
        0,
        u128::MAX,
        u128::from_ne_bytes([0x80; 16]),
        u128::from_ne_bytes([0x7f; 16]),
        floats([f32::NAN, -0.0, 0.0, f32::INFINITY]),
        floats([-1.5, 3e9, -3e9, 5e9]),
        // Whether the intermediate result is rounded makes a difference for a product and a sum of these.
        floats([1.0 + f32::EPSILON, 1.0 - f32::EPSILON, 16_777_217.0, 0.1]),
        doubles([f64::NAN, -0.0]),
        doubles([-3e9, 5e9]),
        doubles([1.0 + f64::EPSILON, 1.0 - f64::EPSILON]),
        doubles([f64::NEG_INFINITY, 0.0]),
    ];
    let mut state = 1u128;
    all.extend((0..20).map(|_| {
        state =
            state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(0x5851_f42d_4c95_7f2d);
        state.rotate_right(37)
    }));
    all
}

#[test]
fn relaxed_operators_do_what_their_strict_counterparts_do() {
    let mut body = String::new();
    for (operator, strict, operands) in RELAXED {
        let params = "(param v128 v128 v128) (result v128)";
        let args = ["A", "B", "C"][..operands].join(" ");
        let mut define = |name: &str, expression: &str| {
            let expression = expression
                .replace('A', "(local.get 0)")
                .replace('B', "(local.get 1)")
                .replace('C', "(local.get 2)");
            body += &format!(r#"(func (export "{name}") {params} {expression})"#);
        };
        define(operator, &format!("({operator} {args})"));
        define(&format!("strict {operator}"), strict);
    }
    let mut guest = guest(&body);
    let vectors = interesting();
    for (operator, _, operands) in RELAXED {
        let thirds = if operands == 3 { &vectors[..] } else { &vectors[..1] };
        for (&a, &b) in vectors.iter().flat_map(|a| vectors.iter().map(move |b| (a, b))) {
            for &c in thirds.iter().step_by(3) {
                let args = [a, b, c].map(Value::V128);
                let relaxed = guest.call(operator, &args, u64::MAX);
                let strict = guest.call(&format!("strict {operator}"), &args, u64::MAX);
                assert_eq!(relaxed, strict, "{operator} of {a:x} {b:x} {c:x}");
            }
        }
    }
}
