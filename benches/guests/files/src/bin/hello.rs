//! The smallest command.

fn main() {
    println!("hello");
}
