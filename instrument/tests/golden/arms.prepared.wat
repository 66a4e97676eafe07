(module
  (type (;0;) (func))
  (type (;1;) (func (param i32)))
  (import "lunatic::metering" "reductions" (global (;0;) (mut i64)))
  (import "lunatic::metering" "yield" (func (;0;) (type 0)))
  (func $nothing (;1;) (type 0)
    global.get 0
    i64.const 1
    i64.sub
    global.set 0
    global.get 0
    i64.const 0
    i64.lt_s
    (@metadata.code.branch_hint "\00")
    if ;; label = @1
      call 0
    end
  )
  (func $choose (;2;) (type 1) (param $x i32)
    global.get 0
    i64.const 8
    i64.sub
    global.set 0
    global.get 0
    i64.const 0
    i64.lt_s
    (@metadata.code.branch_hint "\00")
    if ;; label = @1
      call 0
    end
    local.get $x
    if ;; label = @1
      call $nothing
      call $nothing
      call $nothing
    else
      call $nothing
    end
    local.get $x
    if ;; label = @1
      return
    end
    call $nothing
  )
  (@custom "lunatic.prep" (after code) "\02\01\0c\08\03")
)
