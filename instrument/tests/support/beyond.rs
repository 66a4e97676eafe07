//! Modules of proposals that only a large engine has, one for each kind of control flow in them.
//!
//! Each exports `run`, with two numbers as parameters, of which the first is the amount of work, and a tag
//! `e` with a number if exceptions may leave it.

use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, Module,
    TagKind, TagSection, TagType, TypeSection, ValType,
};

/// A module, and the feature that an engine needs for it.
pub(crate) struct Case {
    pub(crate) proposal: &'static str,
    pub(crate) name: &'static str,
    pub(crate) wasm: Vec<u8>,
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let written = WRITTEN.map(|(proposal, name, text)| Case {
        proposal,
        name,
        wasm: wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}")),
    });
    let encoded =
        legacy().map(|(name, code)| Case { proposal: "legacy exceptions", name, wasm: legacy_module(&code) });
    written.into_iter().chain(encoded).collect()
}

const WRITTEN: [(&str, &str, &str); 24] = [
    (
        "exceptions",
        "caught with its number, in a loop, from a call",
        "(module (tag $e (export \"e\") (param i32))
           (func $odd (param i32)
             (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e (i32.mul (local.get 0) (i32.const 3))))))
           (func (export \"run\") (param i32 i32) (result i32)
             (local.set 0 (i32.and (local.get 0) (i32.const 31)))
             (loop $again
               (local.set 1 (i32.add (local.get 1) (block $caught (result i32)
                 (try_table (catch $e $caught) (call $odd (local.get 0)) (local.set 1 (i32.xor (local.get 1) (i32.const 9))))
                 (i32.const 7))))
               (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
               (br_if $again (i32.gt_s (local.get 0) (i32.const 0))))
             (local.get 1)))",
    ),
    (
        "exceptions",
        "caught with a reference, and thrown again out of everything",
        "(module (tag $e (export \"e\") (param i32))
           (func $odd (param i32)
             (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e (i32.add (local.get 0) (i32.const 3))))))
           (func (export \"run\") (param i32 i32) (result i32) (local $x exnref)
             (block $caught (result i32 exnref)
               (try_table (catch_ref $e $caught) (call $odd (local.get 0)))
               (return (i32.add (local.get 1) (i32.const 100))))
             (local.set $x)
             (if (i32.gt_s (i32.const 5)) (then (throw_ref (local.get $x))))
             (i32.add (local.get 1) (i32.const 1))))",
    ),
    (
        "exceptions",
        "catch_all and catch_all_ref, nested, the inner one rethrowing",
        "(module (tag $e (export \"e\") (param i32)) (tag $other)
           (func $either (param i32)
             (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e (local.get 0))))
             (if (i32.and (local.get 0) (i32.const 2)) (then (throw $other))))
           (func (export \"run\") (param i32 i32) (result i32)
             (block $outer
               (try_table (catch_all $outer)
                 (block $inner (result exnref)
                   (try_table (catch_all_ref $inner) (call $either (local.get 0)))
                   (local.set 1 (i32.mul (local.get 1) (i32.const 5)))
                   (return (local.get 1)))
                 (local.set 1 (i32.add (local.get 1) (i32.const 20)))
                 (throw_ref)))
             (i32.mul (i32.add (local.get 1) (i32.const 1)) (i32.const 2))))",
    ),
    (
        "exceptions",
        "out of loops, into the label of a loop around them",
        "(module (tag $e (export \"e\")) (tag $n (param i32))
           (func (export \"run\") (param i32 i32) (result i32) (local $i i32)
             (local.set 0 (i32.and (local.get 0) (i32.const 15)))
             (loop $again
               (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
               (if (i32.lt_s (local.get 0) (i32.const 0)) (then (return (local.get 1))))
               (try_table (catch $e $again)
                 (local.set $i (i32.const 3))
                 (loop $inner
                   (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 3)) (local.get $i)))
                   (if (i32.eq (local.get $i) (i32.and (local.get 0) (i32.const 3))) (then (throw $e)))
                   (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                   (br_if $inner (i32.gt_s (local.get $i) (i32.const -1)))))
               (local.set 1 (i32.xor (local.get 1) (i32.const 77)))
               (br $again))
             (unreachable)))",
    ),
    (
        "exceptions",
        "into the label of a loop with a parameter",
        "(module (tag $e (export \"e\") (param i32))
           (func (export \"run\") (param i32 i32) (result i32)
             (i32.and (local.get 0) (i32.const 15))
             (loop $again (param i32) (result i32)
               (local.tee 0)
               (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 5)) (local.get 0)))
               (if (param i32) (result i32) (i32.gt_s (local.get 0) (i32.const 0))
                 (then (try_table (param i32) (result i32) (catch $e $again)
                   (throw $e (i32.sub (i32.const 1)))))))
             (i32.add (local.get 1))))",
    ),
    (
        "exceptions",
        "thrown deep down, caught far above, over frames with work left",
        "(module (tag $e (export \"e\") (param i32))
           (func $down (param i32 i32) (result i32)
             (if (i32.le_s (local.get 0) (i32.const 0)) (then (throw $e (local.get 1))))
             (i32.add (call $down (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 2)))
                      (i32.mul (local.get 1) (i32.const 3))))
           (func (export \"run\") (param i32 i32) (result i32)
             (block $caught (result i32)
               (try_table (result i32) (catch $e $caught)
                 (call $down (i32.and (local.get 0) (i32.const 31)) (local.get 1))))
             (i32.mul (i32.const 3)) (i32.add (i32.const 4)) (i32.xor (local.get 0))))",
    ),
    (
        "exceptions",
        "long code in the try, behind it, and behind the label",
        "(module (tag $e (export \"e\") (param i32))
           (func $odd (param i32) (result i32)
             (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e (local.get 0)))) (local.get 0))
           (func (export \"run\") (param i32 i32) (result i32)
             (block $end (result i32)
               (block $caught (result i32)
                 (try_table (catch $e $caught)
                   (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 3)) (i32.const 1)))
                   (local.set 1 (i32.add (call $odd (local.get 0)) (local.get 1)))
                   (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 3)) (i32.const 1)))
                   (local.set 1 (i32.add (call $odd (i32.shr_s (local.get 0) (i32.const 1))) (local.get 1)))
                   (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 3)) (i32.const 1))))
                 (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 7)) (i32.const 1)))
                 (br $end (i32.mul (local.get 1) (i32.const 5))))
               (i32.mul (i32.const 3)) (i32.add (i32.const 1)) (i32.mul (i32.const 3)) (i32.add (local.get 1)))
             (i32.mul (i32.const 3)) (i32.add (i32.const 1)) (i32.mul (i32.const 3)) (i32.add (local.get 1))))",
    ),
    (
        "exceptions",
        "left by branches and returns, and never thrown",
        "(module (tag $e (export \"e\"))
           (func (export \"run\") (param i32 i32) (result i32)
             (block $never (block $out
               (try_table (catch_all $never)
                 (br_if $out (i32.eqz (local.get 0)))
                 (if (i32.and (local.get 0) (i32.const 1)) (then (return (i32.add (local.get 1) (i32.const 1)))))
                 (br_table 0 $out 1 (local.get 1))))
               (return (i32.mul (local.get 1) (i32.const 3))))
             (unreachable)))",
    ),
    (
        "exceptions",
        "traps are not caught",
        "(module (tag $e (export \"e\"))
           (func (export \"run\") (param i32 i32) (result i32)
             (block $caught
               (try_table (catch_all $caught)
                 (return (i32.div_s (local.get 1) (i32.and (local.get 0) (i32.const 2))))))
             (i32.const 5)))",
    ),
    (
        "exceptions",
        "tail calls in a try leave it, and what they throw is not caught there",
        "(module (tag $e (export \"e\") (param i32))
           (func $throw (param i32) (result i32)
             (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e (local.get 0)))) (i32.const 3))
           (func $middle (param i32) (result i32)
             (block $caught (result i32)
               (try_table (catch $e $caught) (return_call $throw (local.get 0))) (unreachable))
             (drop) (i32.const 1000))
           (func (export \"run\") (param i32 i32) (result i32)
             (if (i32.gt_s (local.get 0) (i32.const 20)) (then (return_call $middle (i32.const 5))))
             (block $caught (result i32)
               (try_table (result i32) (catch $e $caught) (call $middle (local.get 0))))
             (i32.mul (i32.const 3)) (i32.add (local.get 1))))",
    ),
    (
        "function references",
        "call_ref to one of two, and to none",
        "(module (type $f (func (param i32) (result i32))) (elem declare func $one $two)
           (func $one (type $f) (i32.add (local.get 0) (i32.const 1)))
           (func $two (type $f) (local $i i32)
             (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
             (i32.mul (local.get 0) (local.get $i)))
           (func (export \"run\") (param i32 i32) (result i32) (local $f (ref null $f))
             (if (i32.and (local.get 0) (i32.const 1)) (then (local.set $f (ref.func $one))))
             (if (i32.and (local.get 0) (i32.const 2)) (then (local.set $f (ref.func $two))))
             (i32.add (call_ref $f (local.get 1) (local.get $f)) (call_ref $f (i32.const 3) (local.get $f)))
             (i32.mul (i32.const 3)) (i32.sub (i32.const 1))))",
    ),
    (
        "function references",
        "return_call_ref, round and round",
        "(module (type $f (func (param i32 i32) (result i32))) (elem declare func $even $odd)
           (func $even (type $f)
             (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (local.get 1))))
             (return_call_ref $f (i32.sub (local.get 0) (i32.const 1)) (i32.mul (local.get 1) (i32.const 3)) (ref.func $odd)))
           (func $odd (type $f)
             (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (i32.sub (i32.const 0) (local.get 1)))))
             (return_call_ref $f (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 1)) (ref.func $even)))
           (func (export \"run\") (param i32 i32) (result i32)
             (call $even (i32.and (local.get 0) (i32.const 63)) (local.get 1)) (i32.add (i32.const 1))))",
    ),
    (
        "function references",
        "br_on_null and br_on_non_null, out of loops too",
        "(module (type $f (func (param i32) (result i32))) (table 4 (ref null $f)) (elem (i32.const 1) (ref $f) (ref.func $f) (ref.func $f))
           (func $f (type $f) (i32.add (local.get 0) (i32.const 10)))
           (func (export \"run\") (param i32 i32) (result i32) (local $i i32)
             (block $null
               (loop $l
                 (local.set 1 (call_ref $f (local.get 1)
                   (br_on_null $null (table.get (i32.add (i32.and (local.get 0) (i32.const 1)) (local.get $i))))))
                 (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
               (return (local.get 1)))
             (local.set 1 (i32.mul (local.get 1) (i32.const 3)))
             (block $found (result (ref $f))
               (br_on_non_null $found (table.get (i32.and (local.get 0) (i32.const 3))))
               (return (i32.sub (local.get 1) (i32.const 1))))
             (drop)
             (i32.mul (local.get 1) (i32.const 7))))",
    ),
    (
        "gc",
        "a list of structs, made and summed in loops",
        "(module (type $node (struct (field i32) (field (mut (ref null $node)))))
           (func (export \"run\") (param i32 i32) (result i32) (local $list (ref null $node)) (local $sum i32)
             (local.set 0 (i32.and (local.get 0) (i32.const 31)))
             (loop $make
               (local.set $list (struct.new $node (i32.xor (local.get 0) (local.get 1)) (local.get $list)))
               (br_if $make (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
             (block $end
               (loop $sum
                 (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3))
                   (struct.get $node 0 (br_on_null $end (local.get $list)))))
                 (local.set $list (struct.get $node 1 (local.get $list)))
                 (br $sum)))
             (local.get $sum)))",
    ),
    (
        "gc",
        "an array, filled, read, and read beyond its end",
        "(module (type $bytes (array (mut i8)))
           (func (export \"run\") (param i32 i32) (result i32) (local $a (ref $bytes)) (local $i i32)
             (local.set $a (array.new $bytes (local.get 1) (i32.const 20)))
             (loop $l
               (array.set $bytes (local.get $a) (local.get $i)
                 (i32.add (array.get_u $bytes (local.get $a) (local.get $i)) (local.get $i)))
               (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 2))) (i32.const 19))))
             (i32.add (array.get_s $bytes (local.get $a) (local.get 0)) (array.len (local.get $a)))))",
    ),
    (
        "gc",
        "br_on_cast and br_on_cast_fail in a loop over values of several kinds",
        "(module (type $s (struct (field i32))) (type $t (sub (struct (field i64)))) (type $a (array (mut anyref)))
           (func (export \"run\") (param i32 i32) (result i32) (local $a (ref $a)) (local $i i32) (local $x anyref)
             (local.set $a (array.new_fixed $a 4 (ref.i31 (local.get 0)) (struct.new $s (local.get 1))
               (struct.new $t (i64.const 8)) (ref.null any)))
             (loop $next
               (block $done
                 (block $struct (result (ref $s))
                   (block $number (result (ref i31))
                     (local.set $x (array.get $a (local.get $a) (local.get $i)))
                     (drop (br_on_cast $number anyref (ref i31) (local.get $x)))
                     (drop (br_on_cast $struct anyref (ref $s) (local.get $x)))
                     (drop (block $no (result anyref)
                       (br_on_cast_fail $no anyref (ref $t) (local.get $x))
                       (struct.get $t 0) (i32.wrap_i64) (i32.mul (local.get 1)) (local.set 1)
                       (br $done)))
                     (local.set 1 (i32.sub (local.get 1) (i32.const 9)))
                     (br $done))
                   (i31.get_s) (i32.add (local.get 1)) (i32.mul (i32.const 3)) (local.set 1)
                   (br $done))
                 (struct.get $s 0) (i32.xor (local.get 1)) (i32.add (i32.const 3)) (local.set 1))
               (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
             (local.get 1)))",
    ),
    (
        "gc",
        "casts that hold and casts that trap",
        "(module (type $s (struct (field i32)))
           (func (export \"run\") (param i32 i32) (result i32) (local $x anyref) (local $i i32)
             (local.set $x (struct.new $s (local.get 1)))
             (loop $l
               (local.set $i (i32.add (local.get $i) (struct.get $s 0 (ref.cast (ref $s) (local.get $x)))))
               (if (i32.eq (local.get 0) (i32.const 2)) (then (local.set $x (ref.i31 (i32.const 1)))))
               (br_if $l (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
             (i32.add (local.get $i) (ref.test (ref i31) (local.get $x)))))",
    ),
    (
        "gc",
        "functions in structs",
        "(module (type $f (func (param i32) (result i32))) (type $object (struct (field (ref $f)) (field i32)))
           (elem declare func $double $next)
           (func $double (type $f) (i32.mul (local.get 0) (i32.const 2)))
           (func $next (type $f) (i32.add (local.get 0) (i32.const 1)))
           (func $call (param $o (ref $object)) (param i32) (result i32)
             (return_call_ref $f (i32.add (struct.get $object 1 (local.get $o)) (local.get 1))
               (struct.get $object 0 (local.get $o))))
           (func (export \"run\") (param i32 i32) (result i32)
             (i32.add (call $call (struct.new $object (ref.func $double) (local.get 0)) (local.get 1))
                      (call $call (struct.new $object (ref.func $next) (local.get 1)) (local.get 0)))))",
    ),
    (
        "memory64",
        "a large address, and one beyond the end",
        "(module (memory i64 1 2)
           (func (export \"run\") (param i32 i32) (result i32) (local $at i64)
             (local.set $at (i64.and (i64.extend_i32_u (local.get 0)) (i64.const 0x4001f)))
             (loop $l
               (i32.store (local.get $at) (i32.add (local.get 1) (i32.load offset=4 (local.get $at))))
               (local.set $at (i64.sub (local.get $at) (i64.const 4)))
               (br_if $l (i64.gt_s (local.get $at) (i64.const 0))))
             (memory.fill (i64.const 100) (local.get 1) (i64.const 8))
             (i32.add (i32.load (i64.const 102))
               (i32.add (i32.load (i64.const 4)) (i32.wrap_i64 (memory.grow (i64.const 1)))))))",
    ),
    (
        "threads",
        "atomics in a loop, on memory that is shared, and unaligned",
        "(module (memory 1 1 shared)
           (func (export \"run\") (param i32 i32) (result i32)
             (local.set 0 (i32.and (local.get 0) (i32.const 31)))
             (loop $l
               (drop (i32.atomic.rmw.add (i32.const 8) (local.get 1)))
               (drop (i32.atomic.rmw.cmpxchg (i32.const 12) (i32.const 0) (local.get 0)))
               (atomic.fence)
               (br_if $l (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
             (drop (memory.atomic.notify (i32.const 8) (i32.const 1)))
             (i32.atomic.store (i32.add (i32.const 16) (i32.and (local.get 1) (i32.const 2))) (i32.const 1))
             (i32.xor (i32.atomic.load (i32.const 8)) (i32.atomic.load (i32.const 12)))))",
    ),
    (
        "tail calls",
        "through a table, to a function with a loop",
        "(module (type $t (func (param i32 i32) (result i32))) (table funcref (elem $sum $again))
           (func $sum (type $t)
             (loop $l (local.set 1 (i32.add (local.get 1) (local.get 0)))
               (br_if $l (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
             (local.get 1))
           (func $again (type $t)
             (return_call_indirect (type $t) (i32.and (local.get 0) (i32.const 31)) (local.get 1) (i32.const 0)))
           (func (export \"run\") (param i32 i32) (result i32)
             (return_call_indirect (type $t) (local.get 0) (local.get 1) (i32.and (local.get 1) (i32.const 3)))))",
    ),
    (
        "several memories",
        "copied from one to the other",
        "(module (memory $a 1) (memory $b 1) (data (memory $a) (i32.const 0) \"what is there\")
           (func (export \"run\") (param i32 i32) (result i32)
             (memory.copy $b $a (i32.and (local.get 0) (i32.const 7)) (i32.const 0) (i32.const 13))
             (i32.add (i32.load $b (i32.const 4)) (i32.load $a (i32.shl (local.get 1) (i32.const 12))))))",
    ),
    (
        "wide arithmetic",
        "sums and products of 128 bits",
        "(module (func (export \"run\") (param i32 i32) (result i32)
           (i64.mul_wide_u (i64.extend_i32_s (local.get 0)) (i64.extend_i32_s (local.get 1)))
           (i64.add128 (i64.const -1) (i64.const 3))
           (i64.xor) (i32.wrap_i64)))",
    ),
    (
        "custom page sizes",
        "pages of a byte",
        "(module (memory 10 (pagesize 1))
           (func (export \"run\") (param i32 i32) (result i32)
             (drop (memory.grow (i32.const 3)))
             (i32.store8 (i32.const 12) (local.get 1))
             (i32.add (memory.size) (i32.load8_u (i32.and (local.get 0) (i32.const 15))))))",
    ),
];

/// Legacy exceptions, which the text format does not have any more: the code of `run`. Function 0 throws
/// three times its argument if that is odd.
fn legacy() -> [(&'static str, Vec<Instruction<'static>>); 6] {
    use Instruction as I;
    let number = BlockType::Result(ValType::I32);
    let next_round = |label| {
        [I::LocalGet(0), I::I32Const(1), I::I32Sub, I::LocalTee(0), I::I32Const(0), I::I32GtS, I::BrIf(label)]
    };
    let more = |by| [I::LocalGet(1), I::I32Const(by), I::I32Add, I::LocalSet(1)];
    let twice = [I::LocalGet(1), I::I32Const(2), I::I32Mul, I::LocalSet(1)];
    let odd = [I::LocalGet(0), I::Call(0)];
    [
        (
            "caught with its number, or not thrown",
            [
                &[I::Try(number)][..],
                &odd,
                &[I::I32Const(7), I::Catch(0), I::I32Const(1), I::I32Add, I::End],
                &[I::LocalGet(1), I::I32Add],
            ]
            .concat(),
        ),
        (
            "catch and catch_all in a loop",
            [
                &[I::LocalGet(0), I::I32Const(31), I::I32And, I::LocalSet(0)][..],
                &[I::Loop(BlockType::Empty), I::Try(BlockType::Empty)],
                &odd,
                &more(1),
                &[I::LocalGet(0), I::I32Const(6), I::I32Eq, I::If(BlockType::Empty), I::Throw(1), I::End],
                &[I::Catch(0), I::LocalSet(1), I::CatchAll],
                &twice,
                &[I::End],
                &next_round(0),
                &[I::End, I::LocalGet(1)],
            ]
            .concat(),
        ),
        (
            "delegated to the try around it",
            [
                &[I::Try(number), I::Try(number)][..],
                &odd,
                &[I::LocalGet(1), I::I32Const(2), I::I32Add, I::Delegate(0)],
                &[I::I32Const(3), I::I32Mul, I::Catch(0), I::End, I::LocalGet(1), I::I32Add],
            ]
            .concat(),
        ),
        (
            "delegated past the try around it, to the caller",
            [
                &[I::Try(number), I::Try(number)][..],
                &odd,
                &[I::LocalGet(1), I::I32Const(2), I::I32Add, I::Delegate(1)],
                &[I::CatchAll, I::I32Const(1000), I::End, I::LocalGet(1), I::I32Add],
            ]
            .concat(),
        ),
        (
            "rethrown, and caught further out, or not",
            [
                &[I::Try(BlockType::Empty), I::Try(BlockType::Empty)][..],
                &odd,
                &[I::Catch(0), I::Drop],
                &more(3),
                &[I::Rethrow(0), I::End, I::CatchAll],
                &more(10),
                &[I::LocalGet(0), I::I32Const(6), I::I32GtS, I::If(BlockType::Empty), I::Rethrow(1), I::End],
                &[I::End, I::LocalGet(1)],
            ]
            .concat(),
        ),
        (
            "out of a loop, and from the handler on to the loop around",
            [
                &[I::LocalGet(0), I::I32Const(15), I::I32And, I::LocalSet(0)][..],
                &[I::Loop(BlockType::Empty), I::Try(BlockType::Empty), I::Loop(BlockType::Empty)],
                &odd,
                &more(5),
                &next_round(0),
                &[I::End, I::Catch(0), I::LocalGet(1), I::I32Add, I::LocalSet(1)],
                &next_round(1),
                &[I::End],
                &twice,
                &[I::End, I::LocalGet(1)],
            ]
            .concat(),
        ),
    ]
}

fn legacy_module(run: &[Instruction<'_>]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I32]);
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut tags = TagSection::new();
    for func_type_idx in [0, 2] {
        tags.tag(TagType { kind: TagKind::Exception, func_type_idx });
    }
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 1).export("e", ExportKind::Tag, 0);
    let odd = [
        Instruction::LocalGet(0),
        Instruction::I32Const(1),
        Instruction::I32And,
        Instruction::If(BlockType::Empty),
        Instruction::LocalGet(0),
        Instruction::I32Const(3),
        Instruction::I32Mul,
        Instruction::Throw(0),
        Instruction::End,
    ];
    let mut bodies = CodeSection::new();
    for code in [&odd[..], run] {
        let mut function = Function::new([]);
        for instruction in code {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        bodies.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tags).section(&exports).section(&bodies);
    module.finish()
}
