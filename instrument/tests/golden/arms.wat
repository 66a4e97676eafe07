;; The dearer arm of an `if` counts, and a function without work still costs one. An `if` without `else` stays so.
(module
  (func $nothing)
  (func $choose (param $x i32)
    (if (local.get $x)
      (then (call $nothing) (call $nothing) (call $nothing))
      (else (call $nothing)))
    (if (local.get $x) (then (return)))
    (call $nothing)))
