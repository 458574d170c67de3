use berth_sdk::autoscaler::{Question, ask};

use super::*;

/// A Monday, in days since the Unix epoch.
const MONDAY: u64 = 20_059;

fn asked(config: &str, day: u64, clock: &str) -> Result<u32, String> {
    let mut question = Question::new(3, 1..=20);
    question.now_ms = (day * MINUTES_PER_DAY + minute_of_day(clock).unwrap()) * MILLIS_PER_MINUTE + 59_999;
    ask::<Schedule>(config, &question).map(|answer| answer.replicas.unwrap())
}

#[test]
fn a_window_holds_from_its_first_minute_to_before_its_last() {
    let day = r#"{"windows":[{"from":"08:00","to":"18:30","replicas":9}]}"#;
    for (clock, expected) in [("07:59", 1), ("08:00", 9), ("18:29", 9), ("18:30", 1), ("00:00", 1)] {
        assert_eq!(asked(day, MONDAY, clock), Ok(expected), "{clock}");
    }
    let night = r#"{"windows":[{"from":"22:00","to":"02:00","days":["sun"],"replicas":9}],"otherwise":4}"#;
    for (day, clock, expected) in [
        (MONDAY + 6, "21:59", 4),
        (MONDAY + 6, "23:00", 9),
        (MONDAY + 7, "01:59", 9),
        (MONDAY + 7, "02:00", 4),
        (MONDAY + 6, "01:00", 4),
        (MONDAY + 7, "23:00", 4),
    ] {
        assert_eq!(asked(night, day, clock), Ok(expected), "{day} {clock}");
    }
    let whole = r#"{"windows":[{"from":"00:00","to":"24:00","replicas":2},{"from":"09:00","to":"10:00","days":["mon"],"replicas":7}]}"#;
    assert_eq!(asked(whole, MONDAY, "23:59"), Ok(2));
    assert_eq!((asked(whole, MONDAY, "09:30"), asked(whole, MONDAY + 1, "09:30")), (Ok(7), Ok(2)));
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    for (config, why) in [
        ("", "missing field `windows`"),
        (
            r#"{"windows":[{"from":"8:00","to":"18:00","replicas":1}]}"#,
            "windows[0]: \"8:00\" is no time of day",
        ),
        (r#"{"windows":[{"from":"08:00","to":"24:01","replicas":1}]}"#, "\"24:01\" is no time of day"),
        (r#"{"windows":[{"from":"08:00","to":"09:60","replicas":1}]}"#, "\"09:60\" is no time of day"),
        (
            r#"{"windows":[{"from":"08:00","to":"18:00","days":["monday"],"replicas":1}]}"#,
            "\"monday\" is no day",
        ),
        (r#"{"windows":[{"from":"08:00","to":"18:00","replicas":1,"zone":"CET"}]}"#, "unknown field"),
    ] {
        let error = asked(config, MONDAY, "00:00").unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(serde_json::from_str::<serde_json::Value>(Schedule::schema().unwrap()).is_ok());
}
