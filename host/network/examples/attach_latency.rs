//! How long attach and detach take: `cargo run --release -p berth-network --example attach_latency` (as root).

use std::time::{Duration, Instant};

use berth_network::{Network, NetworkConfig, SPARE_COUNT_DEFAULT, destroy};

const ROUNDS: usize = 40;
/// The pause between two pods of the "one by one" case: enough for a spare to be made.
const PAUSE: Duration = Duration::from_millis(60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (name, spare_count, pause) in [
        ("made when asked for", 0, PAUSE),
        ("spares, one by one", SPARE_COUNT_DEFAULT, PAUSE),
        ("spares, all at once", SPARE_COUNT_DEFAULT, Duration::ZERO),
    ] {
        let data_dir = std::env::temp_dir().join(format!("berth-attach-{}", std::process::id()));
        let config = NetworkConfig {
            cluster_id: "be7c".parse()?,
            pod_cidr: "10.213.250.0/24".parse()?,
            api: None,
            data_dir: data_dir.clone(),
            spare_count,
        };
        let opening = Instant::now();
        let network = Network::open(config.clone())?;
        let opened = opening.elapsed();
        let measured = measure(&network, pause);
        drop(network);
        destroy(&config)?;
        std::fs::remove_dir_all(data_dir)?;
        let (attach, detach) = measured?;
        println!("{name}: open {opened:.1?}; attach {}; detach {}", quantiles(attach), quantiles(detach));
    }
    Ok(())
}

fn measure(
    network: &Network,
    pause: Duration,
) -> Result<(Vec<Duration>, Vec<Duration>), berth_network::NetworkError> {
    let timed = |call: &dyn Fn(&str) -> Result<(), berth_network::NetworkError>| {
        let mut times = Vec::new();
        for n in 0..ROUNDS {
            std::thread::sleep(pause);
            let start = Instant::now();
            call(&format!("pod-{n}"))?;
            times.push(start.elapsed());
        }
        Ok(times)
    };
    Ok((timed(&|uid| network.attach(uid).map(drop))?, timed(&|uid| network.detach(uid))?))
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("p50 {:.2?} p95 {:.2?}", times[times.len() / 2], times[times.len() * 95 / 100])
}
