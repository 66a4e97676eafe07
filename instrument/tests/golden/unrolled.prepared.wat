(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32)))
  (import "lunatic::metering" "charge" (func (;0;) (type 1) (param i32)))
  (func $nested (;1;) (type 0) (param $n i32) (result i32)
    (local $i i32) (local $sum i32)
    i32.const 1
    call 0
    loop $outer
      i32.const 7
      call 0
      local.get $n
      local.set $i
      block ;; label = @2
        loop $inner
          i32.const 36
          call 0
          block ;; label = @4
            local.get $sum
            local.get $i
            i32.add
            local.set $sum
            local.get $i
            i32.const 1
            i32.sub
            local.tee $i
            br_if 0 (;@4;)
            br 2 (;@2;)
          end
          block ;; label = @4
            local.get $sum
            local.get $i
            i32.add
            local.set $sum
            local.get $i
            i32.const 1
            i32.sub
            local.tee $i
            br_if 0 (;@4;)
            br 2 (;@2;)
          end
          block ;; label = @4
            local.get $sum
            local.get $i
            i32.add
            local.set $sum
            local.get $i
            i32.const 1
            i32.sub
            local.tee $i
            br_if 0 (;@4;)
            br 2 (;@2;)
          end
          local.get $sum
          local.get $i
          i32.add
          local.set $sum
          local.get $i
          i32.const 1
          i32.sub
          local.tee $i
          br_if $inner
        end
      end
      local.get $n
      i32.const 1
      i32.sub
      local.tee $n
      br_if $outer
    end
    local.get $sum
  )
  (func $with_a_result (;2;) (type 0) (param $n i32) (result i32)
    i32.const 1
    call 0
    block (result i32) ;; label = @1
      loop $again (result i32)
        i32.const 18
        call 0
        block ;; label = @3
          local.get $n
          i32.const 7
          i32.sub
          local.tee $n
          i32.const 0
          i32.lt_s
          if ;; label = @4
            local.get $n
            return
          end
          local.get $n
          br_table 0 (;@3;) 0 (;@3;)
        end
        local.get $n
        i32.const 7
        i32.sub
        local.tee $n
        i32.const 0
        i32.lt_s
        if ;; label = @3
          local.get $n
          return
        end
        local.get $n
        br_table $again $again
      end
    end
  )
  (@custom "lunatic.code_start" (after code) "\17")
  (@custom "lunatic.offsets" (after code) "\02\06\07\0d\06\07\06\03\08\0b\0e\00\07)\0e\00\07)\0e\00\05%\12\01\0e\02\07\0d\08\0b\12\00\05-\18\01")
  (@custom "lunatic.prep" (after code) "\03\01\e8\07*\00")
)
