//! How long does a pod take to start? `cargo run --release -p berth-runtime --example start_latency [ROUNDS]`
//!
//! Each round makes a pod with a network namespace of its own and one container of busybox's `sleep` on an overlay,
//! with limits, seccomp and all, and removes it again; rounds are apart from each other as pods are, so that the
//! kernel is as cold as it would be. Needs root and `/bin/busybox`.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_runtime::{
    ContainerSpec, ExecSpec, NetworkNamespace, PodSandboxSpec, Resources, Rootfs, Runtime, RuntimeConfig,
    ShimExecutable,
};

/// Long enough for the kernel's RCU grace periods to end, which make a cgroup's first process dear.
const PAUSE: Duration = Duration::from_millis(150);

fn main() -> Result<(), Box<dyn Error>> {
    berth_runtime::shim_main_if_asked();
    let rounds = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let directory = std::env::temp_dir().join(format!("berth-start-latency-{}", std::process::id()));
    let image = directory.join("image/bin");
    fs::create_dir_all(&image)?;
    fs::copy("/bin/busybox", image.join("sleep"))?;
    fs::copy("/bin/busybox", image.join("true"))?;
    let before = Instant::now();
    let runtime = Runtime::new(RuntimeConfig {
        run_dir: directory.join("run"),
        cgroup_root_name: format!("berth-latency-{}", std::process::id()),
        shim_executable: ShimExecutable::Current,
    })?;
    println!("Runtime::new {:.2} ms", milliseconds(before));
    let measured = measure(&runtime, &directory, rounds);
    runtime.destroy_all()?;
    fs::remove_dir_all(&directory)?;
    for (name, mut times) in measured? {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("{name:<24} p50 {:6.2} ms   p99 {:6.2} ms", at(0.5), at(0.99));
    }
    Ok(())
}

type Times = Vec<(&'static str, Vec<f64>)>;

fn measure(runtime: &Runtime, directory: &Path, rounds: usize) -> Result<Times, Box<dyn Error>> {
    let names = ["create_pod", "start_container", "create + start", "exec of true", "remove"];
    let mut times: Times = names.map(|name| (name, Vec::new())).into();
    for round in 0..rounds {
        std::thread::sleep(PAUSE);
        let spec = container(directory, round)?;
        let mut note = |index: usize, since: Instant| times[index].1.push(milliseconds(since));
        let start = Instant::now();
        let mut sandbox = PodSandboxSpec::new(format!("pod-{round}"), NetworkNamespace::New);
        sandbox.resources.memory_limit_bytes = Some(256 << 20);
        let pod = runtime.create_pod(&sandbox)?;
        note(0, start);
        let created = Instant::now();
        pod.start_container(&spec)?;
        note(1, created);
        note(2, start);
        std::thread::sleep(PAUSE);
        let exec = Instant::now();
        pod.exec(&spec.id, &ExecSpec::new(vec!["/bin/true".into()]))?.wait(None)?;
        note(3, exec);
        let remove = Instant::now();
        pod.remove()?;
        note(4, remove);
    }
    Ok(times)
}

fn container(directory: &Path, round: usize) -> Result<ContainerSpec, Box<dyn Error>> {
    let layers = directory.join(format!("layers/{round}"));
    let (upper, work) = (layers.join("upper"), layers.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let rootfs = Rootfs::Overlay { lowers: vec![directory.join("image")], upper, work };
    let args = vec!["/bin/sleep".into(), "1000".into()];
    let mut spec = ContainerSpec::new(format!("container-{round}"), rootfs, args, layers.join("0.log"));
    spec.resources = Resources {
        cpu_shares: Some(102),
        cpu_quota_us: Some(20_000),
        memory_limit_bytes: Some(256 << 20),
        pids_max: Some(1024),
        ..Resources::default()
    };
    Ok(spec)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
