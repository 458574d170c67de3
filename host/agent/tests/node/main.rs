//! Real containers on this machine, from real API objects. They need root, and the images that `make setup` builds.
//!
//! The program is its own shim, so it has its own `main` instead of the usual test harness.

// A failed step of a test is a failed test.
#![allow(clippy::unwrap_used)]

mod archive;
mod containers;
mod failures;
mod images;
mod lifecycle;
mod network;
mod usage;
mod volumes;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use futures_util::future::LocalBoxFuture;

/// A test by name.
type Test = (&'static str, fn() -> LocalBoxFuture<'static, ()>);

/// Names the tests of a module.
#[macro_export]
macro_rules! tests {
    ($($name:path),* $(,)?) => {
        [$((stringify!($name), (|| Box::pin($name())) as fn() -> LocalBoxFuture<'static, ()>)),*]
    };
}

fn all() -> Vec<Test> {
    tests![
        containers::a_pod_runs_answers_and_goes,
        containers::init_containers_sidecars_and_shared_namespaces,
        containers::environment_and_command,
        containers::limits_are_the_cgroups,
        containers::security_contexts_are_enforced,
        containers::hosts_dns_and_name,
        containers::a_pod_has_so_many_processes_and_no_more,
        containers::a_user_by_name_is_not_root_and_is_told,
        containers::exec_with_input_and_exit_codes,
        volumes::config_secret_and_token_files_follow_their_sources,
        volumes::an_empty_dir_is_its_containers_once_it_is_made,
        volumes::empty_dirs_and_host_paths,
        volumes::volumes_of_the_image_are_the_containers_own_and_go_with_it,
        volumes::a_volume_waits_for_its_source_and_says_so,
        volumes::a_volume_that_is_never_found_is_looked_for_less_and_less_often,
        volumes::a_pod_that_writes_more_than_it_may_is_evicted,
        failures::what_cannot_start_says_why,
        failures::a_sub_path_waits_until_it_stays_in_its_volume,
        failures::what_a_pod_may_not_have_fails_it,
        failures::crashes_are_restarted_with_growing_pauses,
        failures::pods_that_end_are_counted_as_they_ended,
        failures::memory_limits_kill,
        lifecycle::probes_decide_over_readiness_and_restarts,
        lifecycle::http_probes_follow_what_the_server_says,
        lifecycle::hooks_and_grace,
        lifecycle::a_grace_has_its_full_length_whenever_it_begins,
        lifecycle::a_restarted_agent_neither_cuts_nor_renews_a_grace,
        lifecycle::hooks_that_fail_are_told,
        lifecycle::sidecars_end_after_the_containers_they_serve,
        lifecycle::a_restarted_agent_adopts_everything,
        lifecycle::a_lost_sandbox_and_another_image_are_new_instances,
        lifecycle::a_pod_whose_shim_does_not_answer_is_left_alone,
        lifecycle::pods_that_vanish_are_killed,
        network::host_ports_lead_to_the_pod_as_long_as_it_is_there,
        network::a_pod_may_use_the_nodes_network,
        usage::a_node_says_what_its_containers_have_used_and_what_they_say,
        images::unused_images_go_when_the_disk_fills_up,
        images::an_image_of_127_layers_runs_and_shows_them_all,
        images::a_slow_registry_stops_nobody_else_and_its_pulls_end_with_their_pods,
        lifecycle::the_node_registers_and_renews_its_lease,
        lifecycle::what_is_added_to_the_nodes_capacity_can_be_allocated,
    ]
    .to_vec()
}

fn main() -> ExitCode {
    berth_runtime::shim_main_if_asked();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let chosen: Vec<Test> = all().into_iter().filter(|(name, _)| wanted(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    assert!(nix::unistd::geteuid().is_root(), "these tests make containers and must run as root");
    // As administrators of hardened machines have it: what containers see must not depend on it.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("\nrunning {} tests", chosen.len());
    let (begun, mut failed) = (std::time::Instant::now(), 0);
    for (name, test) in &chosen {
        let passed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test()))).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    let (passed, seconds) = (chosen.len() - failed, begun.elapsed().as_secs_f32());
    let left_out = all().len() - chosen.len();
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out; finished in {seconds:.2}s\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
