//! zkcli.
fn main() {}
