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
