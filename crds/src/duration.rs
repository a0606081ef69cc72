//! Durations as Go writes them, kept as the user wrote them.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::schema::rule;

/// A duration in hours, minutes and seconds, such as `10m`, `1h30m` or `90s`.
///
/// It is written back exactly as it was read: a rewritten value would show as drift to GitOps tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct GoDuration {
    text: String,
    value: Duration,
}

impl GoDuration {
    /// A whole number of minutes, written as such.
    pub fn from_minutes(minutes: u32) -> Self {
        Self { text: format!("{minutes}m"), value: Duration::from_secs(u64::from(minutes) * 60) }
    }

    /// A whole number of hours, written as such.
    pub fn from_hours(hours: u32) -> Self {
        Self { text: format!("{hours}h"), value: Duration::from_secs(u64::from(hours) * 3600) }
    }

    /// How long it is.
    pub fn get(&self) -> Duration {
        self.value
    }
}

/// Text that is not a duration of hours, minutes and seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDuration(String);

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a duration such as 10m, 1h30m or 90s", self.0)
    }
}

impl std::error::Error for InvalidDuration {}

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = seconds(text).ok_or_else(|| InvalidDuration(text.chars().take(64).collect()))?;
        Ok(Self { text: text.to_owned(), value: Duration::from_secs(seconds) })
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Refused inside of the deserializer, which then says in which field.
        deserializer.deserialize_str(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = GoDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 10m, 1h30m or 90s")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
        text.parse().map_err(E::custom)
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.text
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What [`PATTERN`] admits, and only that: each unit at most once, the larger first.
fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0;
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        if number.is_empty() || number.len() > 5 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        total += number.parse::<u64>().ok()? * seconds;
        rest = after;
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

const PATTERN: &str = "^([0-9]{1,5}h([0-9]{1,5}m)?([0-9]{1,5}s)?|[0-9]{1,5}m([0-9]{1,5}s)?|[0-9]{1,5}s)$";

/// A CEL rule for a duration. Other text is left to the pattern, or the user would read of a failed conversion.
pub(crate) fn duration_rule(expression: &str, message: &str) -> Value {
    rule(&format!("!self.matches('{PATTERN}') || ({expression})"), message)
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 18, "pattern": PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::near::near;

    const DURATIONS: &[&str] = &["10m", "1h30m", "90s", "1h0m5s", "99999h99999m99999s", "0s"];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_as_it_is_written_or_refused_in_words(text in near(DURATIONS)) {
            match text.parse::<GoDuration>() {
                Ok(duration) => {
                    prop_assert_eq!(duration.to_string(), text.clone());
                    prop_assert!(text.len() <= 18 && !text.is_empty());
                    // Read from the right, as another would.
                    let mut seconds = 0;
                    let (mut number, mut unit) = (String::new(), 0);
                    for c in text.chars().rev().chain(['s']) {
                        if let Some(next) = [('h', 3600), ('m', 60), ('s', 1)].iter().find(|(u, _)| *u == c) {
                            seconds += number.chars().rev().collect::<String>().parse::<u64>().unwrap_or(0) * unit;
                            (number, unit) = (String::new(), next.1);
                        } else {
                            number.push(c);
                        }
                    }
                    prop_assert_eq!(duration.get(), Duration::from_secs(seconds));
                }
                Err(error) => {
                    let message = error.to_string();
                    prop_assert!(message.ends_with("is not a duration such as 10m, 1h30m or 90s"), "{message}");
                    prop_assert!(message.chars().count() <= 700 && !message.contains(char::is_control), "{message}");
                }
            }
        }
    }

    #[test]
    fn reads_what_go_reads() {
        for (text, seconds) in [("10m", 600), ("1h30m", 5400), ("90s", 90), ("24h", 86400), ("1h0m5s", 3605), ("0s", 0)]
        {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.get(), Duration::from_secs(seconds), "{text}");
            assert_eq!(duration.to_string(), text);
        }
        assert_eq!("10m".parse(), Ok(GoDuration::from_minutes(10)));
        assert_eq!("24h".parse(), Ok(GoDuration::from_hours(24)));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "10", "m", "-1m", "1.5h", "10m1h", "1m1m", " 1m", "1m ", "1d", "100000s", "１m"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }
}
