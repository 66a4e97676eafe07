;; More work than one charge may cost is charged in parts: here each is at most 12. The two arms are divided where
;; it suits each of them, and the part before the place where they meet covers what comes after it.
(module
  (memory 1)
  (func $fill (param $at i32) (param $big i32)
    (if (local.get $big)
      (then
        (i32.store offset=0 (local.get $at) (i32.const 1))
        (i32.store offset=4 (local.get $at) (i32.const 2))
        (i32.store offset=8 (local.get $at) (i32.const 3))
        (i32.store offset=12 (local.get $at) (i32.const 4)))
      (else
        (i32.store offset=16 (local.get $at) (i32.const 5))))
    (i32.store offset=20 (local.get $at) (i32.const 6))
    (i32.store offset=24 (local.get $at) (i32.const 7))))
