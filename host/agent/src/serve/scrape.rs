//! What pods say of themselves: pages of metrics that their annotations name, as Prometheus reads them.
//!
//! | annotation | says |
//! |---|---|
//! | `prometheus.io/scrape` | `"true"`: there is a page |
//! | `prometheus.io/port` | its port; without it the first that a container declares |
//! | `prometheus.io/path` | its path; without it `/metrics` |
//! | `prometheus.io/scheme` | `http`; `https` is not supported yet |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_metrics::{AGE_MS_MAX, Exposition, Reader};
use futures_util::future::join_all;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;

use crate::clock::Moment;
use crate::container::probes::{HttpTarget, exchange};
use crate::manifest::Pod;

/// How long a page may take, all of it: the server does not wait for a node much longer.
const PAGE_MAX: Duration = Duration::from_secs(5);
/// A page that was read so lately is not asked for again: a rate over less time says little, and several servers may ask.
const AGAIN_MICROS_MIN: i64 = 5_000_000;
/// So many failures in a row are told: one that has just started may not listen yet.
const FAILURES_TOLD: u32 = 2;

type Values = BTreeMap<String, i64>;

/// Reads pages, and remembers what rates need.
#[derive(Default)]
pub(crate) struct Scraper {
    pods: Mutex<BTreeMap<String, Scraped>>,
}

/// What is known of a pod's page.
#[derive(Default)]
struct Scraped {
    /// What it said last, and when.
    last: Option<(i64, Exposition)>,
    /// What is to be told of it.
    values: Values,
    failures: u32,
    /// What was last said to be wrong with the annotations.
    fault: Option<String>,
}

impl Scraper {
    /// What the pods say whose annotations name a page, by uid. What goes wrong is told of the pod, once.
    pub(crate) async fn scrape(
        &self,
        pods: Vec<(Arc<Pod>, IpAddr)>,
        tell: impl Fn(&Pod, String),
    ) -> BTreeMap<String, Values> {
        let named: BTreeSet<String> = pods.iter().map(|(pod, _)| pod.uid().to_owned()).collect();
        self.with(|known| known.retain(|uid, _| named.contains(uid)));
        let tell = &tell;
        let pages = pods.iter().filter_map(|(pod, ip)| {
            let target = target(&pod.metadata.annotations, declared_port(pod), *ip)?;
            Some(async move {
                match target {
                    Ok(target) => self.read(pod, &target, tell).await,
                    Err(fault) => self.set_fault(pod, fault, tell),
                }
                let uid = pod.uid().to_owned();
                let values = self.with(|known| known.get(&uid).map(|scraped| scraped.values.clone()));
                (uid, values.unwrap_or_default())
            })
        });
        join_all(pages).await.into_iter().collect()
    }

    async fn read(&self, pod: &Pod, target: &HttpTarget, tell: &impl Fn(&Pod, String)) {
        let uid = pod.uid();
        let is_recent = |known: &BTreeMap<String, Scraped>| {
            let (at, _) = known.get(uid)?.last.as_ref()?;
            Some(Moment::now().micros().saturating_sub(*at) < AGAIN_MICROS_MIN)
        };
        if self.with(|known| is_recent(known)) == Some(true) {
            return;
        }
        let page = tokio::time::timeout(PAGE_MAX, fetch(target)).await;
        let page = page.unwrap_or_else(|_| Err(format!("it has not answered within {PAGE_MAX:?}")));
        let now = Moment::now().micros();
        let trouble = self.with(|known| {
            let scraped = known.entry(uid.to_owned()).or_default();
            scraped.fault = None;
            match page {
                Ok(exposition) => {
                    scraped.take(exposition, now);
                    None
                }
                Err(why) => {
                    scraped.values.clear();
                    scraped.failures = scraped.failures.saturating_add(1);
                    (scraped.failures == FAILURES_TOLD).then_some(why)
                }
            }
        });
        if let Some(why) = trouble {
            tell(pod, format!("the metrics at {} cannot be read: {why}", target.url()));
        }
    }

    fn set_fault(&self, pod: &Pod, fault: String, tell: &impl Fn(&Pod, String)) {
        let is_new = self.with(|known| {
            let scraped = known.entry(pod.uid().to_owned()).or_default();
            if scraped.fault.as_ref() == Some(&fault) {
                return false;
            }
            *scraped = Scraped { fault: Some(fault.clone()), ..Scraped::default() };
            true
        });
        if is_new {
            tell(pod, fault);
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Scraped>) -> T) -> T {
        look(&mut self.pods.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Scraped {
    fn take(&mut self, exposition: Exposition, now: i64) {
        let earlier = self.last.as_ref().map(|(at, earlier)| (earlier, now.saturating_sub(*at)));
        if earlier.is_some_and(|(_, micros)| micros < AGAIN_MICROS_MIN) {
            // Somebody else asked at the same time.
            return;
        }
        self.values = exposition.values(earlier.filter(|(_, micros)| *micros <= AGE_MS_MAX * 1000));
        self.last = Some((now, exposition));
        self.failures = 0;
    }
}

/// The first port that a container of the pod declares.
fn declared_port(pod: &Pod) -> Option<u16> {
    let mut ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
    ports.next().map(|port| port.container_port)
}

/// Where a pod's page is; `None` when it has none.
fn target(
    annotations: &BTreeMap<String, String>,
    declared_port: Option<u16>,
    ip: IpAddr,
) -> Option<Result<HttpTarget, String>> {
    let annotation = |name: &str| annotations.get(&format!("prometheus.io/{name}")).map(String::as_str);
    if annotation("scrape") != Some("true") {
        return None;
    }
    let port = match annotation("port") {
        Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            format!("annotation prometheus.io/port: {text:?} is no port, write a number from 1 to 65535")
        }),
        None => declared_port.ok_or_else(|| {
            "annotation prometheus.io/port is missing and no container declares a port: add it".to_owned()
        }),
    };
    let checked = match annotation("scheme").unwrap_or("http") {
        "http" => port,
        "https" => Err("annotation prometheus.io/scheme: berth does not read metrics over https yet, serve them over http"
            .to_owned()),
        other => Err(format!("annotation prometheus.io/scheme: {other:?} is neither http nor https")),
    };
    let path = annotation("path").unwrap_or("/metrics");
    let headers = vec![
        (ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4")),
        (USER_AGENT, HeaderValue::from_static(concat!("berth/", env!("CARGO_PKG_VERSION")))),
    ];
    Some(checked.map(|port| HttpTarget::plain(ip, port, path, headers)))
}

/// Reads a page as it comes. A redirection is not followed: it could lead anywhere.
async fn fetch(target: &HttpTarget) -> Result<Exposition, String> {
    let response = exchange(target).await?;
    match response.status() {
        StatusCode::OK => {}
        code if code.is_redirection() => {
            return Err(format!("it answers {code}, and redirections are not followed"));
        }
        code => return Err(format!("it answers {code}")),
    }
    let (mut body, mut reader) = (response.into_body(), Reader::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("its answer breaks off: {error}"))?;
        if let Ok(data) = frame.into_data() {
            reader.push(&data).map_err(|error| error.to_string())?;
        }
    }
    reader.finish().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
