//! Built-in policy: so many replicas at so many hours of the week, in UTC.

use berth_sdk::autoscaler::{Autoscaler, Manifest, Question, Recommendation};
use serde::Deserialize;

const MINUTES_PER_DAY: u64 = 24 * 60;
const MILLIS_PER_MINUTE: u64 = 60_000;

/// From Monday on.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The Unix epoch was a Thursday.
const EPOCH_DAY: u64 = 3;

/// What its configuration says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    windows: Vec<WindowConfig>,
    otherwise: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowConfig {
    #[serde(default)]
    days: Vec<String>,
    from: String,
    to: String,
    replicas: u32,
}

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["windows"],
  "properties": {
    "windows": {
      "description": "When there are how many replicas, in UTC. Where several hold at a time, the largest number counts.",
      "type": "array", "minItems": 1, "maxItems": 64,
      "items": {
        "type": "object", "required": ["from", "to", "replicas"],
        "properties": {
          "days": {
            "description": "The days on which it begins; by default all.",
            "type": "array", "items": {"type": "string", "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
          },
          "from": {"description": "As 08:00.", "type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"},
          "to": {"description": "As 18:30; not after `from` means on the next day.", "type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"},
          "replicas": {"type": "integer", "minimum": 0, "maximum": 100000}
        }
      }
    },
    "otherwise": {
      "description": "How many there are outside all windows; by default the autoscaler's minimum.",
      "type": "integer", "minimum": 0, "maximum": 100000
    }
  }
}"#;

/// The policy.
#[derive(Debug)]
pub struct Schedule {
    windows: Vec<Window>,
    otherwise: Option<u32>,
}

/// In minutes of a day.
#[derive(Debug)]
struct Window {
    /// On which days it begins, from Monday on.
    days: [bool; 7],
    from: u64,
    minutes: u64,
    replicas: u32,
    text: String,
}

impl Autoscaler for Schedule {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let Config { windows, otherwise } = berth_sdk::config(config)?;
        let read = |(index, window): (usize, WindowConfig)| {
            Window::read(window).map_err(|why| format!("windows[{index}]: {why}"))
        };
        let windows = windows.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok((Self { windows, otherwise }, Manifest::new("schedule", env!("CARGO_PKG_VERSION"))))
    }

    fn recommend(&self, question: &Question) -> Recommendation {
        let minute = question.now_ms / MILLIS_PER_MINUTE;
        let holding = self.windows.iter().filter(|window| window.holds(minute));
        match holding.max_by_key(|window| window.replicas) {
            Some(window) => Recommendation::to(window.replicas).because(format!("it is {}", window.text)),
            None => {
                let replicas = self.otherwise.unwrap_or(question.min_replicas);
                Recommendation::to(replicas).because("it is outside all windows")
            }
        }
    }

    fn schema() -> Option<&'static str> {
        Some(SCHEMA)
    }
}

impl Window {
    fn read(config: WindowConfig) -> Result<Self, String> {
        let WindowConfig { days, from, to, replicas } = config;
        let text = format!(
            "{} from {from} to {to} UTC",
            if days.is_empty() { "daily".to_owned() } else { days.join(" ") }
        );
        let mut on = [days.is_empty(); 7];
        for day in &days {
            let index = DAYS.iter().position(|known| known == day);
            on[index.ok_or_else(|| format!("{day:?} is no day: say one of {}", DAYS.join(", ")))?] = true;
        }
        let (from, to) = (minute_of_day(&from)?, minute_of_day(&to)?);
        let minutes = if to > from { to - from } else { to + MINUTES_PER_DAY - from };
        Ok(Self { days: on, from, minutes, replicas, text })
    }

    /// Whether it holds in this minute since the Unix epoch: it may have begun today or yesterday.
    fn holds(&self, minute: u64) -> bool {
        let (today, at) = (minute / MINUTES_PER_DAY + EPOCH_DAY, minute % MINUTES_PER_DAY);
        [0, 1].into_iter().any(|ago| {
            let since = (at + ago * MINUTES_PER_DAY).checked_sub(self.from);
            let day = (today + 7 - ago) % 7;
            self.days[day as usize] && since.is_some_and(|since| since < self.minutes)
        })
    }
}

/// `18:30`, and `24:00` for the end of a day.
fn minute_of_day(text: &str) -> Result<u64, String> {
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u64>().ok()).flatten();
    let read = text.split_once(':').and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)));
    match read {
        Some((hour, minute)) if minute < 60 && hour * 60 + minute <= MINUTES_PER_DAY => {
            Ok(hour * 60 + minute)
        }
        _ => Err(format!("{text:?} is no time of day: say 08:00")),
    }
}

berth_sdk::export!(Schedule as autoscaler);

#[cfg(test)]
mod tests;
