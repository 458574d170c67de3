//! A pod's shim and nothing else. Berth's own binary contains it too; this one is smaller, and the tests use it.

fn main() {
    berth_runtime::shim_main_if_asked();
    eprintln!("berth-shim is started by berth, once for each pod; it does nothing by itself");
    std::process::exit(2);
}
