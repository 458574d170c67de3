//! Tests that cannot run here.

use std::io::Write;

/// Tells `make test` that a test did not run for lack of something that `make setup` does not install, and why: a line in the
/// file that `$BERTH_TEST_SKIPS` names. The caller returns.
pub fn skip(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
    if let Some(path) = std::env::var_os("BERTH_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{test}: {why}").unwrap();
    }
}

/// The same for lack of something that `make test` sees to. Where `$CI` is set everything is as it should be, and a test that
/// does not run there would not be missed.
///
/// # Panics
/// Where `$CI` is set.
pub fn skip_unprepared(test: &str, why: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    assert!(!is_ci, "{test} cannot run: {why}");
    skip(test, why);
}
