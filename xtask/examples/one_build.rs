//! Nothing: `cargo xtask demo` builds it together with the agent. Where an example is built, Cargo
//! takes the features that tests need, too. So the tests find all libraries of the demo built.

fn main() {}
