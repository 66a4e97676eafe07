(module
  (type (;0;) (func (param i32 i32)))
  (type (;1;) (func (param i32)))
  (import "lunatic::metering" "charge" (func (;0;) (type 1) (param i32)))
  (memory (;0;) 1)
  (func $fill (;1;) (type 0) (param $at i32) (param $big i32)
    i32.const 11
    call 0
    local.get $big
    if ;; label = @1
      local.get $at
      i32.const 1
      i32.store
      local.get $at
      i32.const 2
      i32.store offset=4
      i32.const 12
      call 0
      local.get $at
      i32.const 3
      i32.store offset=8
      local.get $at
      i32.const 4
      i32.store offset=12
    else
      local.get $at
      i32.const 5
      i32.store offset=16
    end
    local.get $at
    i32.const 6
    i32.store offset=20
    local.get $at
    i32.const 7
    i32.store offset=24
  )
  (@custom "lunatic.code_start" (after code) "\1b")
  (@custom "lunatic.offsets" (after code) "\02\02\05\09\16\07")
  (@custom "lunatic.prep" (after code) "\03\01\0c\0c\00")
)
