//! Traps in functions that are inlined into others. The test knows the lines by the comments at their ends.
#![no_std]

use core::hint::black_box;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[unsafe(no_mangle)]
pub extern "C" fn _start() {
    trap(0);
    black_box(0);
}

#[unsafe(no_mangle)]
pub extern "C" fn trap(kind: u32) -> u32 {
    let before = count(kind);
    let result = outer(kind); // trap
    black_box(before) + black_box(result)
}

/// A loop, and with it a charge that moves all that follows.
#[inline(never)]
fn count(to: u32) -> u32 {
    (0..to + 10).fold(0, |sum, number| black_box(sum + number))
}

#[inline(never)]
fn outer(kind: u32) -> u32 {
    let mut sum = 0;
    for number in 0..black_box(3) {
        sum += black_box(number);
    }
    let first = black_box(sum);
    let second = middle(kind); // outer
    let third = black_box(second) + 1;
    first + third
}

#[inline(always)]
fn middle(kind: u32) -> u32 {
    let before = black_box(kind);
    let after = innermost(before); // middle
    black_box(after + 1)
}

#[inline(always)]
fn innermost(kind: u32) -> u32 {
    let zero = black_box(0_u32);
    match kind {
        0 => core::arch::wasm32::unreachable(), // kind 0
        1 => load(),                            // kind 1
        2 => called(zero),                      // kind 2
        _ => black_box(zero),
    }
}

/// A load outside of any memory.
#[inline(always)]
fn load() -> u32 {
    let address = black_box(0xffff_fff0_u32);
    let loaded: u32;
    // SAFETY: none; that it traps is the purpose, and all that it can do.
    unsafe {
        loaded = *(address as *const u32); // load
    }
    black_box(loaded)
}

#[inline(never)]
fn called(zero: u32) -> u32 {
    let one = black_box(zero) + 1;
    let loaded = load(); // called
    black_box(one) + loaded
}
