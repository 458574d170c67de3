//! The compiler's process and nothing else. Berth's own binary contains it too; this one is smaller, and the tests use it.

fn main() {
    berth_policy::compile_main_if_asked();
    eprintln!("berth-compile is started by berth, once for each component; it does nothing by itself");
    std::process::exit(2);
}
