(module
  (type (;0;) (func))
  (type (;1;) (func (param i32)))
  (import "lunatic::metering" "charge" (func (;0;) (type 1) (param i32)))
  (func $nothing (;1;) (type 0)
    i32.const 1
    call 0
  )
  (func $choose (;2;) (type 1) (param $x i32)
    i32.const 8
    call 0
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
  (@custom "lunatic.code_start" (after code) "\19")
  (@custom "lunatic.offsets" (after code) "\02\02\05\09\02\02\05\09")
  (@custom "lunatic.prep" (after code) "\03\01\0c\08\03")
)
