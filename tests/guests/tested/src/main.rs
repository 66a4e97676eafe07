//! A program for `cargo run`: it prints its arguments.

fn main() {
    println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>());
}
