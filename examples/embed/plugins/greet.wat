;; Greets the name that the host has, by way of the host.
(module
  (import "app" "name_length" (func $name_length (result i32)))
  (import "app" "read_name" (func $read_name (param i32 i32) (result i32)))
  (import "app" "log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "hello, ")
  (func (export "run") (result i32) (local $length i32)
    (local.set $length (call $name_length))
    (drop (call $read_name (i32.const 7) (local.get $length)))
    (call $log (i32.const 0) (i32.add (i32.const 7) (local.get $length)))
    (local.get $length)))
