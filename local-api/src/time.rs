//! Points in time.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_micros;
use serde::{Deserialize, Serialize};

/// A point in time as RFC 3339 text, in UTC and to the microsecond: all texts have one width, so
/// their order is that of the times.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Time(String);

impl Time {
    pub(crate) fn now() -> Self {
        Self::after(Duration::ZERO)
    }

    pub(crate) fn after(delay: Duration) -> Self {
        // A text can be made up to the year 9999.
        let delay = delay.min(Duration::from_secs(100 * 365 * 86_400));
        Self(format_rfc3339_micros(SystemTime::now() + delay).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_order_of_their_texts() {
        let now = Time::now();
        let soon = Time::after(Duration::from_micros(50_000));
        let later = Time::after(Duration::from_secs(86_400 * 400));
        assert!(now < soon && soon < later);
        assert_eq!(now.0.len(), later.0.len());
    }

    #[test]
    fn no_delay_is_too_long() {
        assert!(Time::after(Duration::MAX) > Time::now());
    }
}
