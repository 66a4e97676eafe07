(module $loops
  (type (;0;) (func))
  (type (;1;) (func (param i32) (result i32)))
  (import "lunatic::metering" "reductions" (global (;0;) (mut i64)))
  (import "lunatic::metering" "yield" (func (;0;) (type 0)))
  (export "sum" (func $sum))
  (func $sum (;1;) (type 1) (param i32) (result i32)
    (local i32 i32)
    global.get 0
    i64.const 3
    i64.sub
    global.set 0
    global.get 0
    i64.const 0
    i64.lt_s
    if ;; label = @1
      call 0
    end
    block ;; label = @1
      loop ;; label = @2
        global.get 0
        i64.const 9
        i64.sub
        global.set 0
        global.get 0
        i64.const 0
        i64.lt_s
        if ;; label = @3
          call 0
        end
        local.get 1
        local.get 0
        i32.ge_u
        br_if 1 (;@1;)
        local.get 1
        i32.const 1
        i32.add
        local.set 1
        loop ;; label = @3
          global.get 0
          i64.const 8
          i64.sub
          global.set 0
          global.get 0
          i64.const 0
          i64.lt_s
          if ;; label = @4
            call 0
          end
          local.get 2
          local.get 1
          i32.add
          local.set 2
          local.get 2
          i32.const 3
          i32.rem_u
          br_if 0 (;@3;)
        end
        br 0 (;@2;)
      end
    end
    local.get 2
    i32.const 2
    i32.mul
  )
  (@producers
    (processed-by "walrus" "0.28.0")
  )
  (@custom "lunatic.prep" (after code) "\01\01\0c\09")
)
