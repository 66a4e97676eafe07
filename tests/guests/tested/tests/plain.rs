//! Ordinary tests only: to the runtime, an ordinary program.

#[test]
fn adds() {
    assert_eq!(1 + 1, 2);
}
