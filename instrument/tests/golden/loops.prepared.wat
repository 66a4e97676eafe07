(module $loops
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32)))
  (import "lunatic::metering" "charge" (func (;0;) (type 1) (param i32)))
  (export "sum" (func $sum))
  (func $sum (;1;) (type 0) (param $n i32) (result i32)
    (local $i i32) (local $total i32)
    i32.const 3
    call 0
    block $done
      loop $outer
        i32.const 9
        call 0
        local.get $i
        local.get $n
        i32.ge_u
        br_if $done
        local.get $i
        i32.const 1
        i32.add
        local.set $i
        loop $inner
          i32.const 8
          call 0
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
  (@custom "lunatic.code_start" (after code) "\1f")
  (@custom "lunatic.offsets" (after code) "\02\06\07\0d\08\07\14\07")
  (@custom "lunatic.prep" (after code) "\03\01\0c\09\00")
)
