//! Migrations are compiled in, so a changed one must recompile the crate.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
