//! What figures are, and how they are shown.

/// What a figure is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Microseconds,
    MessagesPerSecond,
    ConnectionsPerSecond,
    OperationsPerSecond,
    GigabytesPerSecond,
    /// Counted, not timed: one round tells all.
    AllocationsPerMessage,
    /// Processor time in a hundred of real time.
    Percent,
    /// How many times as much one thing is as another.
    Times,
    Threads,
    Bytes,
    Kibibytes,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::Microseconds => "µs",
            Unit::MessagesPerSecond => "messages/s",
            Unit::ConnectionsPerSecond => "connections/s",
            Unit::OperationsPerSecond => "operations/s",
            Unit::GigabytesPerSecond => "GB/s",
            Unit::AllocationsPerMessage => "allocations",
            Unit::Percent => "%",
            Unit::Times => "times",
            Unit::Threads => "threads",
            Unit::Bytes => "B",
            Unit::Kibibytes => "KiB",
        }
    }

    /// For people: three or four digits that mean something.
    pub(crate) fn show(self, figure: f64) -> String {
        match self {
            Unit::Nanoseconds | Unit::Microseconds if figure < 100.0 => format!("{figure:.1}"),
            Unit::Nanoseconds | Unit::Microseconds => format!("{figure:.0}"),
            Unit::MessagesPerSecond | Unit::OperationsPerSecond if figure >= 1e6 => format!("{:.2} M", figure / 1e6),
            Unit::MessagesPerSecond | Unit::OperationsPerSecond => format!("{:.0} k", figure / 1e3),
            Unit::ConnectionsPerSecond | Unit::Threads | Unit::Bytes => format!("{figure:.0}"),
            Unit::Kibibytes => format!("{figure:.1}"),
            Unit::GigabytesPerSecond | Unit::AllocationsPerMessage | Unit::Times => format!("{figure:.2}"),
            Unit::Percent => format!("{figure:.4}"),
        }
    }

    pub(crate) fn is_counted(self) -> bool {
        self == Unit::AllocationsPerMessage
    }

    /// Whether a figure means something by itself, on any machine, so that it needs no reference.
    pub(crate) fn is_absolute(self) -> bool {
        matches!(
            self,
            Unit::AllocationsPerMessage | Unit::Percent | Unit::Times | Unit::Threads | Unit::Bytes | Unit::Kibibytes
        )
    }
}
