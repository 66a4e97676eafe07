;; Small loops are written out: one in another four times, an outermost one twice. A branch to the loop goes on in the
;; next copy, and only the last one goes back.
(module
  (func $nested (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $outer
      (local.set $i (local.get $n))
      (loop $inner
        (local.set $sum (i32.add (local.get $sum) (local.get $i)))
        (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func $with_a_result (param $n i32) (result i32)
    (loop $again (result i32)
      (if (i32.lt_s (local.tee $n (i32.sub (local.get $n) (i32.const 7))) (i32.const 0))
        (then (return (local.get $n))))
      (br_table $again 0 (local.get $n)))))
