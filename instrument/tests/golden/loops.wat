;; Each loop pays for its own rounds. The function pays for what is outside of them, on the dearest path: the three
;; operators past $done.
(module $loops
  (func $sum (export "sum") (param $n i32) (result i32)
    (local $i i32) (local $total i32)
    (block $done
      (loop $outer
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (loop $inner
          (local.set $total (i32.add (local.get $total) (local.get $i)))
          (br_if $inner (i32.rem_u (local.get $total) (i32.const 3))))
        (br $outer)))
    (i32.mul (local.get $total) (i32.const 2))))
