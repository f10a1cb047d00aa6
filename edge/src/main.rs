//! The program `robustmq-edge`.

fn main() {}
