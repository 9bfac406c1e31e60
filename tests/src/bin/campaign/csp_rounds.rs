//! One round each: who is killed over which channels.

use ipc_tests::campaign::{Round, Sizes};

use crate::csp::{Cast, Seat, both, play, reads, writes};
use crate::csp_member::{Over, Way};

const WRITER: Seat = writes(&[0], Way::Plain);
const READER: Seat = reads(&[0], Way::Plain);
const MIXED_WRITER: Seat = writes(&[0], Way::Mixed);
const MIXED_READER: Seat = reads(&[0], Way::Mixed);

const POLLING_WRITER: Seat = writes(&[0], Way::Polling);
const POLLING_READER: Seat = reads(&[0], Way::Polling);

/// Two write and two read, of whom one is killed.
const fn two_by_two(capacity: &'static [usize], victim: &'static [Seat]) -> Cast {
    Cast { other: &[WRITER, READER], near: &[WRITER, READER], ..Cast::of(capacity, victim) }
}

const fn mixed(capacity: &'static [usize], victim: &'static [Seat]) -> Cast {
    Cast { other: &[MIXED_WRITER, READER], near: &[WRITER, MIXED_READER], ..Cast::of(capacity, victim) }
}

/// At times long values.
fn with_sizes(round: &mut Round, cast: Cast) -> Cast {
    let sizes = [Sizes::Fixed(8), Sizes::Small, Sizes::Mixed, Sizes::Medium][round.rng.below(4) as usize];
    Cast { sizes, ..cast }
}

fn play_sizes(round: &mut Round, cast: Cast) {
    let cast = with_sizes(round, cast);
    play(round, &cast);
}

const SYNC: &[usize] = &[0];
const BUFFERED: &[usize] = &[3];

pub(crate) fn writer(round: &mut Round) {
    play_sizes(round, two_by_two(SYNC, &[WRITER]));
}

pub(crate) fn reader(round: &mut Round) {
    play_sizes(round, two_by_two(SYNC, &[READER]));
}

pub(crate) fn buffered_writer(round: &mut Round) {
    play_sizes(round, two_by_two(BUFFERED, &[WRITER]));
}

pub(crate) fn buffered_reader(round: &mut Round) {
    play_sizes(round, two_by_two(BUFFERED, &[READER]));
}

/// Some do not wait, or not for long.
pub(crate) fn impatient(round: &mut Round) {
    let cast = match round.rng.below(4) {
        0 => mixed(SYNC, &[MIXED_WRITER]),
        1 => mixed(SYNC, &[MIXED_READER]),
        2 => mixed(BUFFERED, &[MIXED_WRITER]),
        _ => mixed(BUFFERED, &[MIXED_READER]),
    };
    play_sizes(round, cast);
}

/// Several threads are killed at once.
pub(crate) fn threads(round: &mut Round) {
    const ALL: &[Seat] = &[WRITER, READER, MIXED_WRITER, MIXED_READER];
    let channels = if round.rng.one_in(2) { SYNC } else { BUFFERED };
    play_sizes(round, two_by_two(channels, ALL));
}

/// Each reads from the one before and writes to the next one, whichever is possible first.
pub(crate) fn ring(round: &mut Round) {
    const FIRST: Seat = both(&[0], &[1]);
    const SECOND: Seat = both(&[1], &[2]);
    const THIRD: Seat = both(&[2], &[0]);
    let channels: &[usize] = match round.rng.below(3) {
        0 => &[0, 0, 0],
        1 => &[0, 2, 0],
        _ => &[1, 1, 1],
    };
    let cast = Cast { other: &[FIRST, THIRD], near: &[SECOND, THIRD], ..Cast::of(channels, &[FIRST]) };
    play_sizes(round, cast);
}

/// Everybody chooses between reading from and writing to all.
pub(crate) fn mesh(round: &mut Round) {
    const ALL: Seat = both(&[0, 1, 2], &[0, 1, 2]);
    const SOME: Seat = both(&[2, 0], &[1]);
    const OTHERS: Seat = Seat { way: Way::Mixed, ..both(&[1, 2], &[0]) };
    let channels: &[usize] = if round.rng.one_in(2) { &[0, 0, 0] } else { &[0, 2, 0] };
    let cast = Cast { other: &[ALL, SOME], near: &[ALL, OTHERS], ..Cast::of(channels, &[ALL]) };
    play_sizes(round, cast);
}

/// Of a mesh two threads are killed, and others plainly read and write.
pub(crate) fn mesh_threads(round: &mut Round) {
    const VICTIM: &[Seat] = &[both(&[2, 0], &[0, 1]), both(&[0, 1, 2], &[2, 1])];
    const OTHER: &[Seat] = &[both(&[0, 1], &[1, 2]), reads(&[2], Way::Plain)];
    const NEAR: &[Seat] = &[both(&[1, 2], &[2, 0]), writes(&[0], Way::Plain)];
    let cast = Cast { other: OTHER, near: NEAR, ..Cast::of(&[0, 0, 0], VICTIM) };
    play_sizes(round, cast);
}

/// Many die in one network, one after the other.
pub(crate) fn many_deaths(round: &mut Round) {
    const ALL: Seat = both(&[0, 1], &[0, 1]);
    let channels: &[usize] = if round.rng.one_in(2) { &[0, 0] } else { &[0, 3] };
    let cast = Cast { other: &[ALL, ALL], near: &[ALL], deaths: 40, ..Cast::of(channels, &[ALL]) };
    play_sizes(round, cast);
}

pub(crate) fn closed(round: &mut Round) {
    let cast = ended(round);
    play_sizes(round, Cast { end: Some(Over::Closed), is_endless: true, ..cast });
}

pub(crate) fn poisoned(round: &mut Round) {
    let cast = ended(round);
    play_sizes(round, Cast { end: Some(Over::Poisoned), throws: true, is_endless: true, ..cast });
}

/// Those whose channels are ended while they communicate.
fn ended(round: &mut Round) -> Cast {
    const ALL: Seat = both(&[0, 1, 2], &[0, 1, 2]);
    match round.rng.below(5) {
        0 => two_by_two(SYNC, &[WRITER]),
        1 => two_by_two(SYNC, &[READER]),
        2 => two_by_two(BUFFERED, &[WRITER]),
        3 => mixed(BUFFERED, &[MIXED_READER]),
        _ => Cast { other: &[ALL, ALL], near: &[ALL, MIXED_READER], ..Cast::of(&[0, 2, 0], &[ALL]) },
    }
}

/// The only one who writes is killed: the others read what there is, and hear of it.
pub(crate) fn last_writer(round: &mut Round) {
    let channels = if round.rng.one_in(2) { SYNC } else { BUFFERED };
    let near: &[Seat] = if round.rng.one_in(2) { &[MIXED_READER] } else { &[POLLING_READER] };
    play_sizes(round, Cast { other: &[READER], near, ..Cast::of(channels, &[WRITER]) });
}

/// The only one who reads is killed: the others hear of it.
pub(crate) fn last_reader(round: &mut Round) {
    let channels = if round.rng.one_in(2) { SYNC } else { BUFFERED };
    let near: &[Seat] = if round.rng.one_in(2) { &[MIXED_WRITER] } else { &[POLLING_WRITER] };
    let cast = Cast { other: &[WRITER], near, ..Cast::of(channels, &[READER]) };
    play_sizes(round, Cast { throws: true, is_endless: true, ..cast });
}
