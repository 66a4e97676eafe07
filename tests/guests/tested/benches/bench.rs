//! A benchmark with a main function of its own, as those of the usual crates are.

fn main() {
    println!("measured: {:?}", std::env::args().skip(1).collect::<Vec<_>>());
}
