(module
  (type (;0;) (func (param i32)))
  (type (;1;) (func))
  (import "host" "log" (func $log (;0;) (type 0) (param i32)))
  (import "host" "base" (global $base (;0;) i32))
  (import "lunatic::metering" "charge" (func (;1;) (type 0) (param i32)))
  (table $table (;0;) 2 funcref)
  (global $count (;1;) (mut i32) global.get $base)
  (export "count" (global $count))
  (export "bump" (func $bump))
  (elem (;0;) (table $table) (i32.const 0) func $bump)
  (func $bump (;2;) (type 1)
    i32.const 9
    call 1
    global.get $count
    i32.const 1
    i32.add
    global.set $count
    global.get $count
    call $log
    i32.const 1
    ref.func $bump
    table.set $table
  )
  (@custom "someone.else" (after code) "untouched")
  (@custom "lunatic.code_start" (after code) "^")
  (@custom "lunatic.offsets" (after code) "\02\02\05\09")
  (@custom "lunatic.prep" (after code) "\03\01\0c\09\00")
)
