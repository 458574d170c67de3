use std::collections::BTreeMap;

use super::*;

fn read(text: &str) -> Result<Exposition, ExpositionError> {
    let mut reader = Reader::default();
    reader.push(text.as_bytes())?;
    reader.finish()
}

fn pairs(values: &BTreeMap<String, i64>) -> Vec<(&str, i64)> {
    values.iter().map(|(name, value)| (&**name, *value)).collect()
}

#[test]
fn gauges_are_summed_and_counters_become_rates() {
    let earlier = "\
# TYPE requests_total counter
requests_total{code=\"200\"} 100
requests_total{code=\"500\"} 50
untyped_total 7
# TYPE open gauge
open 3
# TYPE made counter
made_total 10
# TYPE time histogram
time_bucket{le=\"1\"} 1
time_sum 2.5
time_count 2
";
    let later = "\
# TYPE requests_total counter
requests_total{code=\"200\"} 130
requests_total{code=\"500\"} 5
requests_total{code=\"404\"} 1000
untyped_total 17
new_total 5
# TYPE open gauge
open{a=\"1\"} 1.5
open{a=\"2\"} NaN
open{a=\"3\"} 2
# TYPE queue_total gauge
queue_total 4
# TYPE made counter
made_total 30
made_created 1700000000
# TYPE time histogram
time_bucket{le=\"1\"} 1
time_sum 12.5
time_count 4
# TYPE last summary
last{quantile=\"0.9\"} 5
last_sum 1
huge 1e300
plain -0.0005
# EOF
after 1
";
    let (earlier, later) = (read(earlier).unwrap(), read(later).unwrap());
    let gauges = [("open", 3_500), ("plain", -1), ("queue_total", 4_000)];
    assert_eq!(pairs(&later.values(None)), gauges);
    let both = [
        ("made", 2_000),
        ("made_total", 2_000),
        ("open", 3_500),
        ("plain", -1),
        ("queue_total", 4_000),
        ("requests", 3_500),
        ("requests_total", 3_500),
        ("time_bucket", 0),
        ("time_count", 200),
        ("time_sum", 1_000),
        ("untyped", 1_000),
        ("untyped_total", 1_000),
    ];
    assert_eq!(pairs(&later.values(Some((&earlier, 10_000_000)))), both);
    assert_eq!(pairs(&later.values(Some((&earlier, 0)))), gauges);
}

#[test]
fn a_gauge_keeps_its_name_before_a_counter() {
    let text = |count: u32| {
        read(&format!("# TYPE jobs gauge\njobs 3\n# TYPE jobs_total counter\njobs_total {count}\n"))
    };
    let values = text(20).unwrap().values(Some((&text(10).unwrap(), 1_000_000)));
    assert_eq!(pairs(&values), [("jobs", 3_000), ("jobs_total", 10_000)]);
}

#[test]
fn parts_make_the_same_whole() {
    let text = "# TYPE a counter\na_total{b=\"é\"} 1\nc 2\nd 3";
    let whole = read(text).unwrap();
    for size in 1..text.len() {
        let mut reader = Reader::default();
        for part in text.as_bytes().chunks(size) {
            reader.push(part).unwrap();
        }
        assert_eq!(reader.finish().unwrap(), whole, "in parts of {size} bytes");
    }
}

#[test]
fn what_is_hostile_is_refused_before_it_is_kept() {
    let lines = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    let too_much = |max, what| Err(ExpositionError::TooMuch { max, what });
    for (text, wanted) in [
        (lines(SERIES_MAX, |at| format!("a{{b=\"{at}\"}} 1\n")), Ok(())),
        (lines(SERIES_MAX + 1, |at| format!("a{{b=\"{at}\"}} 1\n")), too_much(SERIES_MAX, "series")),
        (lines(METRICS_MAX, |at| format!("a{at} 1\n")), Ok(())),
        (lines(METRICS_MAX + 1, |at| format!("a{at} 1\n")), too_much(METRICS_MAX, "metrics")),
        (lines(METRICS_MAX + 1, |at| format!("# TYPE a{at} gauge\n")), too_much(METRICS_MAX, "metrics")),
        ("a".repeat(1 << 20), too_much(LINE_BYTES_MAX, "bytes in a line")),
        ("a".repeat(1 << 20) + " 1\n", too_much(LINE_BYTES_MAX, "bytes in a line")),
        ("a".repeat(NAME_BYTES_MAX + 1) + " 1\n", too_much(NAME_BYTES_MAX, "bytes in a name")),
        (
            format!("# TYPE {} gauge\n", "a".repeat(NAME_BYTES_MAX + 1)),
            too_much(NAME_BYTES_MAX, "bytes in a name"),
        ),
        ("\n".repeat(EXPOSITION_BYTES_MAX + 1), too_much(EXPOSITION_BYTES_MAX, "bytes")),
        ("a 1\n\nb{ 1\n".to_owned(), Err(ExpositionError::Syntax { line: 3, why: "a label has no value" })),
    ] {
        assert_eq!(read(&text).map(drop), wanted, "{}…", &text[..text.len().min(40)]);
    }
    let mut reader = Reader::default();
    let no_text = ExpositionError::Syntax { line: 1, why: "it is no UTF-8" };
    assert_eq!(reader.push(b"a{b=\"\xff\"} 1\n"), Err(no_text));
}
