//! init of a guest under test.

fn main() {}
