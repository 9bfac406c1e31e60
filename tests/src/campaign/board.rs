//! The score of a scenario, in memory that outlives the process that runs it.

use std::time::Duration;

use super::journal::Journal;
use super::message::Flaw;
use super::round::Round;

/// Which number lies where.
const ROUND: u64 = 0;
const KILLS: u64 = 1;
const AT_POINT: u64 = 2;
const STOPS: u64 = 3;
const MESSAGES: u64 = 4;
const STALL: u64 = 5;
const INSIDE: u64 = 6;
const AGAIN: u64 = 7;
const FLAWS: u64 = 8;
const HELD: u64 = 15;
const HITS: u64 = 16;

const _: () = assert!(FLAWS + Flaw::ALL.len() as u64 <= HELD && HELD < HITS);

/// What has happened in a scenario so far.
#[derive(Debug)]
pub(super) struct Board(pub(super) Journal);

impl Board {
    /// The round that has begun.
    pub(super) fn round(&self) -> u64 {
        self.0.get(ROUND)
    }

    pub(super) fn begin(&self, round: u64) {
        self.0.set(ROUND, round);
    }

    pub(super) fn kills(&self) -> u64 {
        self.0.get(KILLS)
    }

    pub(super) fn at_point(&self) -> u64 {
        self.0.get(AT_POINT)
    }

    pub(super) fn stops(&self) -> u64 {
        self.0.get(STOPS)
    }

    pub(super) fn inside(&self) -> u64 {
        self.0.get(INSIDE)
    }

    pub(super) fn messages(&self) -> u64 {
        self.0.get(MESSAGES)
    }

    pub(super) fn again(&self) -> u64 {
        self.0.get(AGAIN)
    }

    pub(super) fn held(&self) -> u64 {
        self.0.get(HELD)
    }

    pub(super) fn stall(&self) -> Duration {
        Duration::from_micros(self.0.get(STALL))
    }

    pub(super) fn flaws(&self, flaw: Flaw) -> u64 {
        self.0.get(FLAWS + flaw as u64)
    }

    pub(super) fn all_flaws(&self) -> u64 {
        Flaw::ALL.into_iter().map(|flaw| self.flaws(flaw)).sum()
    }

    pub(super) fn hits(&self, point: usize) -> u64 {
        self.0.get(HITS + point as u64)
    }

    pub(super) fn flaw(&self, flaw: Flaw) {
        self.add(FLAWS + flaw as u64, 1);
    }

    /// Adds what a round has given.
    pub(super) fn enter(&self, round: &Round) {
        self.add(KILLS, u64::from(round.is_kill()) + round.also_killed);
        self.add(STOPS, u64::from(round.struck.stopped));
        self.add(INSIDE, u64::from(round.is_kill() && round.inside));
        self.add(MESSAGES, round.messages);
        self.add(AGAIN, round.again);
        self.add(HELD, round.held);
        if let Some(point) = round.hit() {
            self.add(AT_POINT, 1);
            if let Some(index) = super::points().iter().position(|name| *name == point) {
                self.add(HITS + index as u64, 1);
            }
        }
        let stall = round.stall.as_micros() as u64;
        self.0.set(STALL, stall.max(self.0.get(STALL)));
        round.flaws.iter().for_each(|(flaw, _)| self.flaw(*flaw));
    }

    fn add(&self, place: u64, n: u64) {
        self.0.set(place, self.0.get(place) + n);
    }
}
