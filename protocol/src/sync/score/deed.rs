//! What a peer can do, and what it is worth.

/// Something that a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Brought entries or content that we had asked for, or a notice that proved true.
    Delivered,
    /// Sent bytes that are not what their hash says. A ban: no network turns bytes over without being noticed below.
    WrongBytes,
    /// Sent a signature, proof or Genesis entry that does not verify.
    Forged,
    /// Sent what is no message, or more than a message may have.
    Malformed,
    /// Sent more than its share.
    Spam,
    /// Did not answer in time, or promised what it did not bring.
    Stalled,
    /// Offered an older state of a log than is held.
    Stale,
    /// Sent a record for the distributed hash table that is none.
    BadRecord,
}

impl Deed {
    /// The points that it is worth; none where it is a ban.
    #[must_use]
    pub const fn points(self) -> Option<i32> {
        match self {
            Self::Delivered => Some(1),
            Self::WrongBytes => None,
            Self::Forged => Some(-25),
            Self::Malformed => Some(-10),
            Self::Stalled | Self::BadRecord => Some(-2),
            Self::Spam | Self::Stale => Some(-1),
        }
    }

    /// What it was, for people: completes "this peer …".
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::Delivered => "delivered what was asked of it",
            Self::WrongBytes => "sent wrong bytes",
            Self::Forged => "sent what does not verify",
            Self::Malformed => "sent what is no message",
            Self::Spam => "sent more than its share",
            Self::Stalled => "did not answer in time",
            Self::Stale => "offered an older log",
            Self::BadRecord => "sent what is no record for the table",
        }
    }
}
