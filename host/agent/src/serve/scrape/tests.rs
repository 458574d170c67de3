use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| (format!("prometheus.io/{name}"), (*text).to_owned())).collect()
}

#[test]
fn annotations_say_where_a_page_is() {
    let url = |pairs: &[(&str, &str)], declared| {
        target(&annotations(pairs), declared, LOCAL).map(|target| target.map(|target| target.url()))
    };
    let scrape = ("scrape", "true");
    for (pairs, declared, wanted) in [
        (vec![], Some(80), None),
        (vec![("scrape", "false"), ("port", "x")], Some(80), None),
        (vec![scrape], Some(80), Some(Ok("http://127.0.0.1:80/metrics"))),
        (
            vec![scrape, ("port", "9090"), ("path", "stats?a=b")],
            Some(80),
            Some(Ok("http://127.0.0.1:9090/stats?a=b")),
        ),
        (vec![scrape, ("scheme", "http")], Some(80), Some(Ok("http://127.0.0.1:80/metrics"))),
        (
            vec![scrape],
            None,
            Some(Err("annotation prometheus.io/port is missing and no container declares a port: add it")),
        ),
        (
            vec![scrape, ("port", "0")],
            Some(80),
            Some(Err("annotation prometheus.io/port: \"0\" is no port, write a number from 1 to 65535")),
        ),
        (
            vec![scrape, ("scheme", "https")],
            Some(80),
            Some(Err(
                "annotation prometheus.io/scheme: berth does not read metrics over https yet, serve them over http",
            )),
        ),
        (
            vec![scrape, ("scheme", "ftp")],
            Some(80),
            Some(Err("annotation prometheus.io/scheme: \"ftp\" is neither http nor https")),
        ),
    ] {
        let wanted = wanted.map(|wanted| wanted.map(str::to_owned).map_err(str::to_owned));
        assert_eq!(url(&pairs, declared), wanted, "{pairs:?}");
    }
}

/// Serves one answer after the other, each to one connection; the last again and again.
async fn server(answers: Vec<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut at = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers[at.min(answers.len() - 1)].clone();
            at += 1;
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let _length = stream.read(&mut asked).await;
                // Who is told too much goes away meanwhile.
                let _written = stream.write_all(answer.as_bytes()).await;
                if answer.ends_with("...") {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    port
}

fn page(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn pod(port: u16) -> Arc<Pod> {
    let mut pod = Pod::default();
    pod.metadata.uid = "u".to_owned();
    pod.metadata.annotations = annotations(&[("scrape", "true"), ("port", &port.to_string())]);
    Arc::new(pod)
}

/// As if the last page had been read so many microseconds earlier.
fn age(scraper: &Scraper, micros: i64) {
    scraper.with(|known| {
        for (at, _) in known.values_mut().filter_map(|scraped| scraped.last.as_mut()) {
            *at -= micros;
        }
    });
}

#[tokio::test]
async fn counters_become_rates_between_two_pages() {
    let text = |count: u64| page(&format!("open 3\n# TYPE hits_total counter\nhits_total {count}\n"));
    let pod = pod(server(vec![text(0), text(1_000_000), "HTTP/1.1 500 Oops\r\n\r\n".to_owned()]).await);
    let scraper = Scraper::default();
    let scrape = async || {
        let tell = |_: &Pod, why: String| panic!("{why}");
        scraper.scrape(vec![(pod.clone(), LOCAL)], tell).await.remove("u").unwrap()
    };
    let gauges: Values = [("open".to_owned(), 3_000)].into();
    assert_eq!(scrape().await, gauges);
    // Not asked again so soon.
    assert_eq!(scrape().await, gauges);
    age(&scraper, 10_000_000);
    let values = scrape().await;
    let rate = values["hits_total"];
    assert!((90_000_000..=100_000_000).contains(&rate), "{values:?}");
    assert_eq!((values["hits"], values["open"]), (rate, 3_000));
    age(&scraper, 10_000_000);
    assert_eq!(scrape().await, Values::new(), "what could not be read is not known");
    assert_eq!(scraper.scrape(vec![], |_, _| {}).await, BTreeMap::new());
    assert!(scraper.with(|known| known.is_empty()), "a pod that is gone is forgotten");
}

#[tokio::test]
async fn what_goes_wrong_is_told_once() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}...", "a 1\n".repeat(20_000));
    for (answer, why) in [
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "302 Found, and redirections are not followed",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "it answers 404 Not Found"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1", "its answer breaks off"),
        (&page("<html>"), "line 1 of its metrics cannot be read"),
        (&page(&"a".repeat(1 << 20)), "more than 16384 bytes in a line"),
        (&endless, "more than 10000 series"),
        ("nonsense", "malformed HTTP response"),
    ] {
        let pod = pod(server(vec![answer.to_owned()]).await);
        let (scraper, told) = (Scraper::default(), Mutex::new(Vec::new()));
        for _ in 0..4 {
            let tell = |_: &Pod, why: String| told.lock().unwrap().push(why);
            let values = scraper.scrape(vec![(pod.clone(), LOCAL)], tell).await;
            assert_eq!(values["u"], Values::new());
        }
        let told = told.into_inner().unwrap();
        assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_end_in_time_is_given_up() {
    let pod = pod(server(vec!["HTTP/1.1 200 OK\r\n\r\na 1\n...".to_owned()]).await);
    let (scraper, told) = (Scraper::default(), Mutex::new(Vec::new()));
    for _ in 0..2 {
        let tell = |_: &Pod, why: String| told.lock().unwrap().push(why);
        scraper.scrape(vec![(pod.clone(), LOCAL)], tell).await;
    }
    let told = told.into_inner().unwrap();
    assert!(told.len() == 1 && told[0].ends_with("it has not answered within 5s"), "{told:?}");
}
