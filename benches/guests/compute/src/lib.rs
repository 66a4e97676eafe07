//! Kernels whose speed is compared with and without charges. Each takes a size and returns something that depends
//! on all of its work. There is no I/O: the module imports nothing.
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::hint::black_box;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// The C library's, which the libraries below expect.
///
/// # Safety
/// Both must be readable for this number of bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    for at in 0..bytes {
        // SAFETY: the caller says so.
        let (left, right) = unsafe { (*left.add(at), *right.add(at)) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

const SPACE: usize = 1 << 20;
static mut BYTES: [u8; SPACE] = [0; SPACE];

fn bytes() -> &'static mut [u8] {
    // SAFETY: there is one thread, and each kernel asks once.
    unsafe { &mut *(&raw mut BYTES) }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[unsafe(no_mangle)]
pub extern "C" fn fib(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fib(n - 1) + fib(n - 2) }
}

#[unsafe(no_mangle)]
pub extern "C" fn sieve(n: u32) -> u64 {
    let composite = &mut bytes()[..n as usize];
    composite.fill(0);
    let mut primes = 0;
    for candidate in 2..composite.len() {
        if composite[candidate] == 0 {
            primes += 1;
            for multiple in (candidate * candidate..composite.len()).step_by(candidate) {
                composite[multiple] = 1;
            }
        }
    }
    primes
}

#[unsafe(no_mangle)]
pub extern "C" fn mandelbrot(size: u32) -> u64 {
    let mut inside = 0;
    for y in 0..size {
        for x in 0..size {
            let (cr, ci) =
                (f64::from(x) * 3.0 / f64::from(size) - 2.0, f64::from(y) * 2.0 / f64::from(size) - 1.0);
            let (mut zr, mut zi, mut steps) = (0.0, 0.0, 0);
            while steps < 200 && zr * zr + zi * zi < 4.0 {
                (zr, zi) = (zr * zr - zi * zi + cr, 2.0 * zr * zi + ci);
                steps += 1;
            }
            inside += steps;
        }
    }
    inside
}

/// Five bodies that attract each other, as in every collection of benchmarks.
#[unsafe(no_mangle)]
pub extern "C" fn nbody(steps: u32) -> u64 {
    const N: usize = 5;
    let (mut at, mut speed, mut mass) = ([[0.0f64; 3]; N], [[0.0f64; 3]; N], [39.5f64; N]);
    for i in 1..N {
        let i_ = i as f64;
        at[i] = [4.8 * i_, -1.2 * i_, 0.1 * i_];
        speed[i] = [0.6 / i_, 2.8 / i_, -0.02 * i_];
        mass[i] = 0.04 / i_;
    }
    for _ in 0..steps {
        for i in 0..N {
            for j in i + 1..N {
                let distance: [f64; 3] = core::array::from_fn(|k| at[i][k] - at[j][k]);
                let square = distance.iter().map(|d| d * d).sum::<f64>();
                let pull = 0.001 / (square * square * 0.1 + 1.0);
                for k in 0..3 {
                    speed[i][k] -= distance[k] * mass[j] * pull;
                    speed[j][k] += distance[k] * mass[i] * pull;
                }
            }
        }
        for (at, speed) in at.iter_mut().zip(&speed) {
            for k in 0..3 {
                at[k] += 0.001 * speed[k];
            }
        }
    }
    at[0][0].to_bits()
}

#[unsafe(no_mangle)]
pub extern "C" fn matmul(rounds: u32) -> u64 {
    const N: usize = 64;
    let (mut a, mut b, mut c) = ([[0.0f64; N]; N], [[0.0f64; N]; N], [[0.0f64; N]; N]);
    for i in 0..N {
        for j in 0..N {
            a[i][j] = (i + j) as f64;
            b[i][j] = (i * j % 7) as f64;
        }
    }
    for _ in 0..rounds {
        for i in 0..N {
            for j in 0..N {
                let mut sum = 0.0;
                for k in 0..N {
                    sum += a[i][k] * b[k][j];
                }
                c[i][j] += sum;
            }
        }
        black_box(&mut a);
    }
    c[N - 1][N - 1] as u64
}

#[unsafe(no_mangle)]
pub extern "C" fn byte_sum(rounds: u32) -> u64 {
    let data = black_box(bytes());
    let mut sum = 0u64;
    for round in 0..rounds {
        data[round as usize] = 1;
        for &byte in black_box(&*data) {
            sum = sum.wrapping_mul(3) ^ u64::from(byte);
        }
    }
    sum
}

#[unsafe(no_mangle)]
pub extern "C" fn copy(rounds: u32) -> u64 {
    let (from, to) = bytes().split_at_mut(SPACE / 2);
    from[7] = 1;
    for _ in 0..rounds {
        to.copy_from_slice(black_box(from));
    }
    u64::from(to[7])
}

#[unsafe(no_mangle)]
pub extern "C" fn sort(n: u32) -> u64 {
    let mut numbers = [0u32; 1 << 14];
    let mut state = 88172645463325252;
    for _ in 0..n {
        numbers.iter_mut().for_each(|number| *number = random(&mut state) as u32);
        numbers.sort_unstable();
    }
    u64::from(numbers[numbers.len() / 2])
}

#[unsafe(no_mangle)]
pub extern "C" fn hash(n: u32) -> u64 {
    // Open addressing with linear probing: what a hash map does in its inner loop.
    let mut table = [(0u64, 0u64); 1 << 13];
    let mut state = 88172645463325252;
    let mut found = 0;
    for _ in 0..n {
        let key = random(&mut state) % 5000 + 1;
        let mut slot = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51;
        loop {
            let entry = &mut table[slot as usize];
            if entry.0 == key || entry.0 == 0 {
                entry.0 = key;
                entry.1 += 1;
                found += entry.1;
                break;
            }
            slot = (slot + 1) % (1 << 13);
        }
    }
    found
}

/// SHA-256's compression function, the shape of most cryptography.
#[unsafe(no_mangle)]
pub extern "C" fn sha256(blocks: u32) -> u64 {
    let mut hash =
        [0x6a09e667u32, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
    for block in 0..blocks {
        let mut w = [block; 64];
        for i in 16..64 {
            let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
            let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = hash;
        for (i, word) in w.iter().enumerate() {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let first = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(i as u32).wrapping_add(*word);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(s0).wrapping_add(majority));
        }
        for (sum, value) in hash.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.wrapping_add(value);
        }
    }
    u64::from(hash[0])
}

/// Text with some regularity, as text has.
fn text(bytes: usize) -> String {
    const WORDS: [&str; 8] = ["process", "message", "the", "a", "yields", "after", "every", "reduction"];
    let (mut text, mut state) = (String::with_capacity(bytes + 16), 7);
    while text.len() < bytes {
        let number = random(&mut state);
        text.push_str(WORDS[(number % 8) as usize]);
        text.push(if number % 13 == 0 { '\n' } else { ' ' });
    }
    text
}

/// A real program: compresses and decompresses with `miniz_oxide`.
#[unsafe(no_mangle)]
pub extern "C" fn deflate(kilobytes: u32) -> u64 {
    let text = text(kilobytes as usize * 1024);
    let packed = miniz_oxide::deflate::compress_to_vec(text.as_bytes(), 6);
    let unpacked = miniz_oxide::inflate::decompress_to_vec(&packed).unwrap_or_default();
    assert!(unpacked == text.as_bytes());
    (packed.len() as u64) << 32 | unpacked.len() as u64
}

/// A real program: parses and writes with `serde_json`.
#[unsafe(no_mangle)]
pub extern "C" fn json(records: u32) -> u64 {
    let mut source = String::from("[");
    for record in 0..records {
        let comma = if record == 0 { "" } else { "," };
        let half = f64::from(record) / 2.0;
        let _ = write!(
            source,
            r#"{comma}{{"id":{record},"name":"record {record}","tags":["a","b\\n"],"half":{half}}}"#
        );
    }
    source.push(']');
    let value: serde_json::Value = serde_json::from_str(&source).unwrap_or_default();
    let names: Vec<&str> =
        value.as_array().into_iter().flatten().filter_map(|record| record["name"].as_str()).collect();
    let written = serde_json::to_string(&value).unwrap_or_default();
    (names.len() as u64) << 32 | written.len() as u64
}
