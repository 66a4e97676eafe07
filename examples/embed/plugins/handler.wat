;; Handles a request: receives it as a message and answers to the process whose number it was started with.
;; A request for /loop never ends, and one for /trap crashes.
(module
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "write_data" (func $write_data (param i32 i32) (result i32)))
  (import "lunatic::message" "data_size" (func $data_size (result i64)))
  (import "lunatic::message" "read_data" (func $read_data (param i32 i32) (result i32)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "you asked for ")
  (func (export "handle") (param $to i64) (local $size i32)
    (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
    (local.set $size (i32.wrap_i64 (call $data_size)))
    (drop (call $read_data (i32.const 14) (local.get $size)))
    ;; "/loo", "/tra"
    (if (i32.eq (i32.load (i32.const 14)) (i32.const 0x6f6f6c2f)) (then (loop $more (br $more))))
    (if (i32.eq (i32.load (i32.const 14)) (i32.const 0x6172742f)) (then (unreachable)))
    (call $create_data (i64.const 0) (i64.const 0))
    (drop (call $write_data (i32.const 0) (i32.add (i32.const 14) (local.get $size))))
    (drop (call $send (local.get $to)))))
