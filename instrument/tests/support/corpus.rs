//! Hand-written modules, one for each shape of control flow that charges have to handle.
//!
//! All exports take up to two `i32`s, and end soon for small ones.

/// A module, and how it is prepared.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    /// The largest charge; the limit of the format unless the case needs a smaller one.
    pub(crate) max_charge: u32,
}

const LARGE: u32 = 10_000;

/// All cases.
pub(crate) const CASES: [Case; 19] = [
    Case {
        name: "straight code, with globals, memory and what is free",
        max_charge: LARGE,
        text: "(module (memory 1) (global $g (export \"g\") (mut i64) (i64.const 3)) (global i64 (i64.const 1))
            (func (export \"run\") (param i32) (result i32)
              (nop)
              (i32.store (i32.const 8) (local.get 0))
              (global.set $g (i64.add (global.get $g) (i64.const 1)))
              (drop (local.get 0))
              (i32.add (i32.load (i32.const 8)) (i32.wrap_i64 (global.get $g)))))",
    },
    Case {
        name: "arms of different length, with and without the other arm",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32 i32) (result i32)
              (if (i32.and (local.get 0) (i32.const 1))
                (then (local.set 1 (i32.mul (i32.add (local.get 1) (i32.const 2)) (i32.const 3)))))
              (if (result i32) (i32.and (local.get 0) (i32.const 2))
                (then (local.get 1))
                (else (i32.sub (local.get 1) (i32.add (local.get 0) (i32.const 5)))))
              (i32.add (i32.const 1))))",
    },
    Case {
        name: "loops in a loop, with work on every level",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32) (result i32)
              (local $i i32) (local $j i32) (local $sum i32)
              (local.set $i (i32.and (local.get 0) (i32.const 3)))
              (loop $outer
                (local.set $j (local.get $i))
                (loop $inner
                  (local.set $sum (i32.add (local.get $sum) (local.get $j)))
                  (br_if $inner (i32.gt_s (local.tee $j (i32.sub (local.get $j) (i32.const 1))) (i32.const 0))))
                (local.set $sum (i32.mul (local.get $sum) (i32.const 3)))
                (br_if $outer (i32.gt_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 0))))
              (i32.add (local.get $sum) (i32.const 1))))",
    },
    Case {
        name: "a table of branches to labels with dearer and cheaper code behind them",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32) (result i32) (local $n i32)
              (loop $again
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (block $cheap
                  (block $dear
                    (br_table $cheap $dear $again $cheap
                      (select (i32.const 0) (local.get 0) (i32.gt_s (local.get $n) (i32.const 3)))))
                  (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 5)) (i32.const 2)))))
              (local.get $n)))",
    },
    Case {
        name: "returns from everywhere",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32) (result i32) (local $i i32)
              (if (i32.eqz (local.get 0)) (then (return (i32.const 7))))
              (loop $loop
                (if (i32.gt_u (local.get $i) (i32.const 4)) (then (return (i32.add (local.get $i) (i32.const 2)))))
                (block (br_if 0 (i32.ne (local.get $i) (local.get 0)))
                  (br 2 (i32.mul (local.get $i) (i32.const 11))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $loop))
              (unreachable)))",
    },
    Case {
        name: "several ways back to the same loop",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32) (result i32) (local $i i32) (local $sum i32)
              (local.set $i (i32.and (local.get 0) (i32.const 7)))
              (loop $loop
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (br_if $loop (i32.eq (local.get $i) (i32.const 5)))
                (if (i32.eq (local.get $i) (i32.const 3))
                  (then (local.set $sum (i32.add (local.get $sum) (i32.const 9))) (br $loop)))
                (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 2)) (local.get $i)))
                (block $end (loop $inner (br_if $end (i32.le_s (local.get $i) (i32.const 0))) (br $loop))))
              (local.get $sum)))",
    },
    Case {
        name: "calls with work before, between and after them",
        max_charge: LARGE,
        text: "(module
              (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
              (func $nothing)
              (func $middle (param i32) (result i32)
                (call $nothing)
                (i32.add (call $leaf (local.get 0)) (i32.mul (call $leaf (i32.const 2)) (i32.const 3))))
              (func (export \"run\") (param i32) (result i32) (local $i i32)
                (loop $loop
                  (local.set 0 (call $middle (local.get 0)))
                  (br_if $loop (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
                (i32.sub (call $middle (local.get 0)) (i32.const 4)))
              (func (export \"nothing\") (call $nothing)))",
    },
    Case {
        name: "calls through a table, one of which may trap",
        max_charge: LARGE,
        text: "(module (type $t (func (param i32) (result i32)))
              (table 4 funcref) (elem (i32.const 0) $one $two)
              (func $one (type $t) (i32.add (local.get 0) (i32.const 1)))
              (func $two (type $t) (local $i i32)
                (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
                (i32.mul (local.get 0) (local.get $i)))
              (func (export \"run\") (param i32) (result i32)
                (i32.xor
                  (call_indirect (type $t) (i32.const 5) (i32.and (local.get 0) (i32.const 1)))
                  (call_indirect (type $t) (i32.const 6) (local.get 0)))))",
    },
    Case {
        name: "tail calls, to each other and through a table",
        max_charge: LARGE,
        text: "(module (type $t (func (param i32) (result i32))) (table funcref (elem $even $odd))
              (func $even (type $t)
                (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (i32.const 1))))
                (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
              (func $odd (type $t)
                (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (i32.const 0))))
                (return_call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
              (func (export \"run\") (param i32) (result i32)
                (i32.add (call $even (i32.and (local.get 0) (i32.const 15))) (i32.const 1))))",
    },
    Case {
        name: "recursion, with a long way back after every return",
        max_charge: LARGE,
        text: "(module
              (func $fib (export \"fib\") (param i32) (result i32)
                (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
                  (then (local.get 0))
                  (else (i32.add (call $fib (i32.sub (i32.and (local.get 0) (i32.const 7)) (i32.const 1)))
                                 (call $fib (i32.sub (i32.and (local.get 0) (i32.const 7)) (i32.const 2)))))))
              (func $deep (export \"deep\") (param i32 i32) (result i32)
                (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (local.get 1))))
                (call $deep (i32.sub (i32.and (local.get 0) (i32.const 31)) (i32.const 1)) (local.get 1))
                (i32.mul (i32.const 3)) (i32.add (i32.const 1)) (i32.xor (local.get 0)) (i32.sub (i32.const 9))))",
    },
    Case {
        name: "loops left across levels, with work behind each",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32) (result i32) (local $n i32)
              (block $out
                (loop $a
                  (block $skip
                    (loop $b
                      (loop $c
                        (local.set $n (i32.add (local.get $n) (i32.const 1)))
                        (br_if $out (i32.gt_u (local.get $n) (i32.const 9)))
                        (br_if $a (i32.eq (local.get $n) (local.get 0)))
                        (br_if $skip (i32.eq (local.get $n) (i32.const 4)))
                        (br_if $c (i32.and (local.get $n) (i32.const 1))))
                      (local.set $n (i32.add (local.get $n) (i32.const 2)))
                      (br_if $b (i32.lt_u (local.get $n) (i32.const 3))))
                    (local.set $n (i32.xor (local.get $n) (i32.const 0))))
                  (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br $a))
                (unreachable))
              (i32.mul (i32.add (local.get $n) (i32.const 3)) (i32.const 5))))",
    },
    Case {
        name: "long code, which takes several charges",
        max_charge: 7,
        text: "(module (func (export \"run\") (param i32) (result i32)
              (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1)))
              (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 5)) (i32.const 2)))
              (if (i32.and (local.get 0) (i32.const 4))
                (then (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 7)) (i32.const 3)))
                      (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 9)) (i32.const 4)))))
              (block (br_if 0 (i32.and (local.get 0) (i32.const 1)))
                (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 11)) (i32.const 5))))
              (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 13)) (i32.const 6)))
              (local.get 0)))",
    },
    Case {
        name: "charges of one",
        max_charge: 1,
        text: "(module (func (export \"run\") (param i32) (result i32)
              (loop (br_if 0 (local.tee 0 (i32.shr_u (local.get 0) (i32.const 9)))))
              (i32.const 2)))",
    },
    Case {
        name: "long loops in a loop, of several charges each",
        max_charge: 5,
        text: "(module (func (export \"run\") (param i32) (result i32) (local $i i32) (local $j i32)
              (loop $outer
                (local.set $j (i32.const 2))
                (loop $inner
                  (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1)))
                  (br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
                (local.set 0 (i32.xor (i32.mul (local.get 0) (i32.const 5)) (local.get $i)))
                (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
              (local.get 0)))",
    },
    Case {
        name: "a small loop, which is written out",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32) (result i32) (local $sum i32)
              (local.set 0 (i32.and (local.get 0) (i32.const 31)))
              (loop $l
                (local.set $sum (i32.add (local.get $sum) (local.get 0)))
                (br_if $l (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
              (local.get $sum)))",
    },
    Case {
        name: "traps, early and late",
        max_charge: LARGE,
        text: "(module
              (func (export \"divide\") (param i32) (result i32)
                (i32.div_s (i32.const 100) (local.get 0)) (i32.mul (i32.const 3)) (i32.add (i32.const 1)))
              (func (export \"trap\") (param i32)
                (if (local.get 0) (then (unreachable))) (drop (i32.add (local.get 0) (i32.const 1)))))",
    },
    Case {
        name: "code that can never run",
        max_charge: LARGE,
        text: "(module
              (func (export \"run\") (param i32) (result i32)
                (block (br 0) (loop (br 0)) (drop (i32.const 1)))
                (if (i32.eqz (local.get 0)) (then (return (i32.const 1)) (loop (br_if 0 (i32.const 1)))))
                (return (i32.const 3))
                (i32.add (i32.const 2)))
              (func (export \"trap\") (unreachable) (loop (br 0))))",
    },
    Case {
        name: "blocks and loops with parameters and results",
        max_charge: LARGE,
        text: "(module (func (export \"run\") (param i32) (result i32)
              (i32.const 4) (i32.and (local.get 0) (i32.const 7))
              (loop $l (param i32 i32) (result i32)
                (local.set 0)
                (i32.mul (i32.const 3))
                (block (param i32) (result i32 i32)
                  (local.get 0) (br_if 0 (i32.eqz (local.get 0))) (i32.sub (i32.const 1)))
                (br_if $l (i32.gt_s (local.get 0) (i32.const 1)))
                (i32.add))
              (if (param i32) (result i32) (local.get 0) (then (i32.add (i32.const 1))) (else (i32.eqz)))))",
    },
    // If a charge moved from behind the label to before it, it would be missing on the path that skips it.
    Case {
        name: "every way to skip a charge",
        max_charge: 7,
        text: "(module
            (func (export \"default\") (param i32) (result i32)
              (block $end
                (block $on (br_table $on $on $end (local.get 0)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3))))
              (local.set 0 (i32.mul (local.get 0) (i32.const 3))) (local.get 0))
            (func (export \"target\") (param i32) (result i32)
              (block $end
                (block $on (br_table $end $on (local.get 0)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3))))
              (local.set 0 (i32.mul (local.get 0) (i32.const 3))) (local.get 0))
            (func (export \"branch\") (param i32) (result i32)
              (block $end
                (if (local.get 0) (then (br $end)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3))))
              (local.set 0 (i32.mul (local.get 0) (i32.const 3))) (local.get 0))
            (func (export \"arms\") (param i32) (result i32)
              (if (local.get 0) (then
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))) (else (nop)))
              (if (local.get 0) (then
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))))
              (local.set 0 (i32.mul (local.get 0) (i32.const 3))) (local.get 0))
            (func (export \"loops\") (param i32) (result i32)
              (block $end
                (loop (loop (br_if $end (local.get 0))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3)))))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3))))
              (local.set 0 (i32.mul (local.get 0) (i32.const 3))) (local.get 0)))",
    },
];
