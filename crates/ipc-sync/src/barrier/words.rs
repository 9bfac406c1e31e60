//! The words a barrier is made of: each of them changes in one step, and any of their values means something.

use super::BrokenBy;

/// All that must change in one step.
///
/// ```text
/// bits 0 to 31   how often all parties came together
///     32 to 55   how often it was reset
///     56, 57     the phase
///
/// Filling ──> all have come ──> Filling, the next time
///    │  └──> Acting ───┘
///    └──> Broken <──┘   ──reset──> Filling, after one more reset
/// ```
/// It is changed by compare-and-swap, so that whoever breaks the barrier and who lets all go on cannot both have their way.
/// Only a reset leads out of `Broken`, and it has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Parties come.
    Filling,
    /// All have come, and one of them runs the action.
    Acting,
    Broken,
}

impl Moment {
    const PHASE: u32 = 56;
    const RESET: u32 = 32;
    const RESETS: u32 = (1 << (Moment::PHASE - Moment::RESET)) - 1;

    pub(super) fn phase(self) -> Phase {
        match self.0 >> Moment::PHASE {
            0 => Phase::Filling,
            1 => Phase::Acting,
            _ => Phase::Broken,
        }
    }

    pub(super) fn with(self, phase: Phase) -> Moment {
        let bits = match phase {
            Phase::Filling => 0,
            Phase::Acting => 1,
            Phase::Broken => 2,
        };
        Moment(self.stamp() | bits << Moment::PHASE)
    }

    /// Without the phase: what tells one coming together from another.
    pub(super) fn stamp(self) -> u64 {
        self.0 & ((1 << Moment::PHASE) - 1)
    }

    pub(super) fn met(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn resets(self) -> u32 {
        (self.stamp() >> Moment::RESET) as u32
    }

    pub(super) fn resets_since(self, earlier: Moment) -> u32 {
        self.resets().wrapping_sub(earlier.resets()) & Moment::RESETS
    }

    pub(super) fn all_met(self) -> Moment {
        Moment((self.stamp() & !u64::from(u32::MAX)) | u64::from(self.met().wrapping_add(1)))
    }

    pub(super) fn after_reset(self) -> Moment {
        Moment(self.stamp().wrapping_add(1 << Moment::RESET)).with(Phase::Filling)
    }
}

/// What a place is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Free,
    /// Until its owner leaves.
    Enrolled,
    /// Its owner was enrolled and has left.
    Left,
    /// Once: when the moment has passed it is free again by itself.
    Once,
}

/// The second word of a place: bits 0 to 1 the kind, bit 2 whether its owner has arrived, bits 8 to 63 the stamp of the moment at which
/// it did.
///
/// It is written by who has the lock, and by the owner, who does not need the lock to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info(pub(super) u64);

impl Info {
    const ARRIVED: u64 = 4;
    const STAMP: u32 = 8;

    pub(super) fn of(kind: Kind) -> Info {
        Info(match kind {
            Kind::Free => 0,
            Kind::Enrolled => 1,
            Kind::Left => 2,
            Kind::Once => 3,
        })
    }

    pub(super) fn arrived(self, now: Moment) -> Info {
        Info((self.0 & 3) | Info::ARRIVED | now.stamp() << Info::STAMP)
    }

    pub(super) fn has_arrived(self, now: Moment) -> bool {
        self.0 & Info::ARRIVED != 0 && self.0 >> Info::STAMP == now.stamp()
    }

    pub(super) fn kind(self, now: Moment) -> Kind {
        match self.0 & 3 {
            1 => Kind::Enrolled,
            2 => Kind::Left,
            3 if self.has_arrived(now) => Kind::Once,
            _ => Kind::Free,
        }
    }
}

/// Why a barrier is broken, and when.
///
/// ```text
/// bits 0 to 21   the pid
///     22 to 25   what it did; 0 if nothing was ever noted
///     26 to 63   some bits of the stamp of the moment that was broken
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause(pub(super) u64);

impl Cause {
    /// The kernel gives out no greater pids.
    const PID_BITS: u32 = 22;
    const STAMP: u32 = Cause::PID_BITS + 4;

    pub(super) fn of(broken_by: BrokenBy, at: Moment) -> Cause {
        let (code, pid) = match broken_by {
            BrokenBy::Died { pid } => (1, pid),
            BrokenBy::Left { pid } => (2, pid),
            BrokenBy::Timeout { pid } => (3, pid),
            BrokenBy::Aborted { pid } => (4, pid),
            BrokenBy::Action { pid } => (5, pid),
            BrokenBy::Abandoned { pid } => (6, pid),
            BrokenBy::Reset => (7, 0),
        };
        let pid = u64::from(pid) & ((1 << Cause::PID_BITS) - 1);
        Cause(pid | code << Cause::PID_BITS | Cause::stamp_of(at) << Cause::STAMP)
    }

    pub(super) fn broken_by(self) -> BrokenBy {
        let pid = (self.0 & ((1 << Cause::PID_BITS) - 1)) as u32;
        match self.0 >> Cause::PID_BITS & 15 {
            1 => BrokenBy::Died { pid },
            2 => BrokenBy::Left { pid },
            3 => BrokenBy::Timeout { pid },
            4 => BrokenBy::Aborted { pid },
            5 => BrokenBy::Action { pid },
            6 => BrokenBy::Abandoned { pid },
            _ => BrokenBy::Reset,
        }
    }

    /// Whether it was noted at this moment; or at one that is 2¹⁹ resets and meetings, or a multiple, away from it.
    pub(super) fn is_of(self, at: Moment) -> bool {
        self.0 != 0 && self.0 >> Cause::STAMP == Cause::stamp_of(at)
    }

    fn stamp_of(at: Moment) -> u64 {
        const HALF: u64 = (1 << 19) - 1;
        (u64::from(at.met()) & HALF) | (u64::from(at.resets()) & HALF) << 19
    }
}

/// What a reset has ended.
///
/// ```text
/// bits 0 to 31   how often all had come together by then
///     32 to 57   the cause of its being broken then
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reset(pub(super) u64);

impl Reset {
    pub(super) fn of(now: Moment, cause: BrokenBy) -> Reset {
        let cause = Cause::of(cause, Moment(0)).0;
        Reset(u64::from(now.met()) | cause << 32)
    }

    pub(super) fn met(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn cause(self) -> BrokenBy {
        Cause(self.0 >> 32).broken_by()
    }
}
