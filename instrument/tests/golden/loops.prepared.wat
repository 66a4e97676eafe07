(module $loops
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func))
  (import "lunatic::metering" "reductions" (global (;0;) (mut i64)))
  (import "lunatic::metering" "yield" (func (;0;) (type 1)))
  (export "sum" (func $sum))
  (func $sum (;1;) (type 0) (param $n i32) (result i32)
    (local $i i32) (local $total i32)
    global.get 0
    i64.const 3
    i64.sub
    global.set 0
    global.get 0
    i64.const 0
    i64.lt_s
    (@metadata.code.branch_hint "\00")
    if ;; label = @1
      call 0
    end
    block $done
      loop $outer
        global.get 0
        i64.const 9
        i64.sub
        global.set 0
        global.get 0
        i64.const 0
        i64.lt_s
        (@metadata.code.branch_hint "\00")
        if ;; label = @3
          call 0
        end
        local.get $i
        local.get $n
        i32.ge_u
        br_if $done
        local.get $i
        i32.const 1
        i32.add
        local.set $i
        loop $inner
          global.get 0
          i64.const 8
          i64.sub
          global.set 0
          global.get 0
          i64.const 0
          i64.lt_s
          (@metadata.code.branch_hint "\00")
          if ;; label = @4
            call 0
          end
          local.get $total
          local.get $i
          i32.add
          local.set $total
          local.get $total
          i32.const 3
          i32.rem_u
          br_if $inner
        end
        br $outer
      end
    end
    local.get $total
    i32.const 2
    i32.mul
  )
  (@custom "lunatic.prep" (after code) "\02\01\0c\09\00")
)
