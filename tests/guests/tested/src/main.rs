//! A program that `cargo run` runs: it says what it was given.

fn main() {
    println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>());
}
