//! Writes the store that the pictures of docs/QUERY.md are made from: `cargo run --example week DIR`.

#[expect(clippy::unwrap_used, reason = "it ends where a file cannot be written")]
#[path = "../src/plot/tests/week.rs"]
mod week;

fn main() {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("error: name a directory for the store");
        std::process::exit(2);
    };
    week::write(directory.as_ref());
}
