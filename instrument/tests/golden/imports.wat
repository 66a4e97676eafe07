;; The reserved imports come behind the module's own, and every index behind them moves: of functions in calls,
;; exports, elements and `ref.func`, of globals in code and exports. Sections of others stay as they are.
(module
  (import "host" "log" (func $log (param i32)))
  (import "host" "base" (global $base i32))
  (table $table 2 funcref)
  (global $count (export "count") (mut i32) (global.get $base))
  (elem (table $table) (i32.const 0) func $bump)
  (func $bump (export "bump")
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (call $log (global.get $count))
    (table.set $table (i32.const 1) (ref.func $bump)))
  (@custom "someone.else" "untouched"))
