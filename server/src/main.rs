//! zkserver.
fn main() {}
