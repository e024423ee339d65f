//! `zkbroker`: the broker in the foreground.

fn main() {}
