//! Choice as users see it: guards, and which of them it was.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ipc_core::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use crate::choose::{Event, Guard, choose};
use crate::ends::{Encoded, End, decode};
use crate::error::Quick;
use crate::net::Net;
use crate::taken::Taken;
use crate::{Error, Reader, Result, Writer};

/// A choice between communications: the first one that is possible takes place, and no other. `ALT` of occam, `Alternation` of PyCSP,
/// `select` of Go.
///
/// Guards are reads, writes, a time-out, and doing nothing; each gives a [`Branch`], by which to ask afterwards what happened. The
/// macros [`select!`](crate::select), [`pri_select!`](crate::pri_select) and [`fair_select!`](crate::fair_select) are shorter where the guards are known when the program is written. A choice can
/// be used again and again. Readers and writers at the other end may be choosing, too: each value is communicated once,
/// and both sides see the same one.
///
/// Of those who wait for the same channel the one that has waited for longest is told first; if somebody else is faster, that one has to
/// wait on.
///
/// A channel that has ended is ready: its guard is chosen, with the error. To go on with the others, [switch it off](Choice::enable).
///
/// Of a process that is killed while it chooses, what it offered is withdrawn, unless it was read already, and a value that it was about to
/// take goes to somebody else.
///
/// ```
/// use ipc_csp::{Choice, Network};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = Network::new()?;
/// let channels = [network.buffered::<u32>(1)?, network.buffered::<u32>(1)?];
/// let readers = [channels[0].reader()?, channels[1].reader()?];
/// channels[1].writer()?.write(7)?;
///
/// let mut choice = Choice::new();
/// let branches = [choice.read(&readers[0]), choice.read(&readers[1])];
/// let mut chosen = choice.select()?;
/// assert_eq!(chosen.index(), 1);
/// assert_eq!(chosen.take(branches[1]).expect("it was this one")?, 7);
/// # Ok(()) }
/// ```
///
/// # References
/// PyCSP `pycsp/parallel/alternation.py`, `altselect.py`. That a choice may write as well as read is more than occam's `ALT` has.
#[derive(Default)]
pub struct Choice<'a> {
    arms: SmallVec<[Arm<'a>; 8]>,
}

struct Arm<'a> {
    way: Way<'a>,
    is_enabled: bool,
}

enum Way<'a> {
    Read(&'a End, Decoder),
    Write(&'a End, &'a dyn Value),
    Timeout(Duration),
    Skip,
}

/// What came of a read, as a `Result<T>`; `None` if the value was withdrawn.
type Decoder = fn(Result<Taken<'_>>) -> Option<Box<dyn Any>>;

/// A value of whatever type.
trait Value {
    fn encode<'n>(&self, net: &'n Net) -> Quick<Encoded<'n>>;
}

impl<T: Serialize> Value for T {
    fn encode<'n>(&self, net: &'n Net) -> Quick<Encoded<'n>> {
        Encoded::of(net, self)
    }
}

/// One of the guards of a [`Choice`], by which to ask for what came of it: a `Result<T>` for a read, a `Result<()>` for a write, `()` for
/// others.
///
/// ```
/// use std::time::Duration;
///
/// use ipc_csp::{Branch, Choice, Network, Result};
///
/// # fn main() -> ipc_csp::Result<()> {
/// let numbers = Network::new()?.buffered::<u32>(1)?;
/// let (reader, writer) = (numbers.reader()?, numbers.writer()?);
/// let mut choice = Choice::new();
/// let number: Branch<Result<u32>> = choice.read(&reader);
/// let late: Branch<()> = choice.timeout(Duration::from_millis(1));
/// assert!(choice.select()?.is(late));
/// writer.write(5)?; // it can be chosen again and again
/// assert_eq!(choice.select()?.take(number).expect("it is ready")?, 5);
/// # Ok(()) }
/// ```
pub struct Branch<V> {
    index: usize,
    of: PhantomData<fn() -> V>,
}

impl<V> Clone for Branch<V> {
    fn clone(&self) -> Branch<V> {
        *self
    }
}

impl<V> Copy for Branch<V> {}

impl<V> fmt::Debug for Branch<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Branch").field(&self.index).finish()
    }
}

/// What a [`Choice`] has led to: which guard was chosen, and what came of it.
///
/// ```
/// use ipc_csp::{Choice, Network};
///
/// # fn main() -> ipc_csp::Result<()> {
/// let words = Network::new()?.buffered::<String>(1)?;
/// let (reader, writer) = (words.reader()?, words.writer()?);
/// writer.write("hello".into())?;
/// let mut choice = Choice::new();
/// let word = choice.read(&reader);
/// let nothing = choice.skip();
/// let mut chosen = choice.select()?;
/// assert_eq!((chosen.index(), chosen.is(word), chosen.is(nothing)), (0, true, false));
/// assert_eq!(chosen.take(nothing), None);
/// assert_eq!(chosen.take(word).expect("it was this one")?, "hello");
/// assert!(chosen.take(word).is_none()); // taken already
/// # Ok(()) }
/// ```
pub struct Chosen {
    index: usize,
    value: Option<Box<dyn Any>>,
}

impl Chosen {
    /// Which guard it was, in the order in which they were given.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether it was this one.
    pub fn is<V>(&self, branch: Branch<V>) -> bool {
        self.index == branch.index
    }

    /// What came of it, if it was this one; once.
    pub fn take<V: 'static>(&mut self, branch: Branch<V>) -> Option<V> {
        if self.index != branch.index {
            return None;
        }
        let value = self.value.take()?.downcast::<V>();
        value.map(|value| *value).ok()
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen").field("index", &self.index).finish_non_exhaustive()
    }
}

/// How often each guard was chosen, for [`Choice::fair_select`].
///
/// ```
/// use ipc_csp::{Choice, Fairness, Network};
///
/// # fn main() -> ipc_csp::Result<()> {
/// let network = Network::new()?;
/// let (busy, calm) = (network.buffered::<u32>(8)?, network.buffered::<u32>(8)?);
/// let (busy_in, calm_in) = (busy.reader()?, calm.reader()?);
/// let (busy_out, calm_out) = (busy.writer()?, calm.writer()?);
/// (0..6).try_for_each(|n| busy_out.write(n))?;
/// (0..2).try_for_each(|n| calm_out.write(n))?;
/// let mut choice = Choice::new();
/// let _branches = (choice.read(&busy_in), choice.read(&calm_in));
/// let mut fairness = Fairness::new();
/// let mut order = Vec::new();
/// for _ in 0..6 {
///     order.push(choice.fair_select(&mut fairness)?.index());
/// }
/// assert_eq!(order, [0, 1, 0, 1, 0, 0]); // who is ready is never kept out by one that always is
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fairness {
    served: Vec<u64>,
}

impl Fairness {
    /// Nobody has been served yet.
    pub fn new() -> Fairness {
        Fairness::default()
    }
}

impl<'a> Choice<'a> {
    /// A choice without guards.
    pub fn new() -> Choice<'a> {
        Choice::default()
    }

    fn add<V>(&mut self, way: Way<'a>) -> Branch<V> {
        self.arms.push(Arm { way, is_enabled: true });
        Branch { index: self.arms.len() - 1, of: PhantomData }
    }

    /// Reading a value. What comes of it is the value, or that the channel has ended, or that the value cannot be decoded.
    pub fn read<T: DeserializeOwned + 'static>(&mut self, reader: &'a Reader<T>) -> Branch<Result<T>> {
        self.add(Way::Read(&reader.end, |taken| {
            let value: Result<T> = match taken.map(decode::<T>) {
                Ok(Ok(value)) => Ok(value?),
                Ok(Err(error)) => Err(*error),
                Err(error) => Err(error),
            };
            Some(Box::new(value))
        }))
    }

    /// Writing a value. It is encoded each time a choice is made; ends of channels in it stay with this process, too.
    ///
    /// ```
    /// use ipc_csp::{Choice, Network};
    ///
    /// # fn main() -> ipc_csp::Result<()> {
    /// let network = Network::new()?;
    /// let (input, output) = (network.buffered::<u32>(1)?, network.buffered::<u32>(1)?);
    /// let ((reader, _other), writer) = ((input.reader()?, input.writer()?), output.writer()?);
    /// let value = 5;
    /// let mut choice = Choice::new();
    /// let read = choice.read(&reader);
    /// let written = choice.write(&writer, &value);
    /// let mut chosen = choice.select()?; // there is nothing to read, but room to write
    /// assert!(!chosen.is(read));
    /// chosen.take(written).expect("it was this one")?;
    /// assert_eq!(output.reader()?.read()?, 5);
    /// # Ok(()) }
    /// ```
    pub fn write<T: Serialize>(&mut self, writer: &'a Writer<T>, value: &'a T) -> Branch<Result<()>> {
        self.add(Way::Write(&writer.end, value))
    }

    /// Doing nothing, if no other guard is ready now. A write counts as ready if a reader waits, which has a millisecond to take the value.
    ///
    /// ```
    /// use ipc_csp::{Choice, Network};
    ///
    /// # fn main() -> ipc_csp::Result<()> {
    /// let orders = Network::new()?.buffered::<u32>(4)?;
    /// let (reader, writer) = (orders.reader()?, orders.writer()?);
    /// (1..=3).try_for_each(|n| writer.write(n))?;
    /// let mut choice = Choice::new();
    /// let (order, nothing) = (choice.read(&reader), choice.skip());
    /// let mut sum = 0;
    /// loop {
    ///     let mut chosen = choice.pri_select()?;
    ///     if chosen.is(nothing) {
    ///         break; // all that was there is done, and so is something else now
    ///     }
    ///     sum += chosen.take(order).expect("it was this one")?;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok(()) }
    /// ```
    pub fn skip(&mut self) -> Branch<()> {
        self.add(Way::Skip)
    }

    /// That so much time passes, counted from when the choice is made, and no other guard has become ready. Of several the shortest counts.
    pub fn timeout(&mut self, after: Duration) -> Branch<()> {
        self.add(Way::Timeout(after))
    }

    /// Switches a guard on or off: its pre-condition.
    ///
    /// ```
    /// use ipc_csp::{Choice, Network};
    ///
    /// # fn main() -> ipc_csp::Result<()> {
    /// let network = Network::new()?;
    /// let channels = [network.buffered::<u32>(2)?, network.buffered::<u32>(2)?];
    /// let readers = [channels[0].reader()?, channels[1].reader()?];
    /// for (channel, n) in channels.iter().zip([1, 10]) {
    ///     channel.writer()?.write(n)?; // the writer is dropped: the channel ends after the value
    /// }
    /// let mut choice = Choice::new();
    /// let branches = [choice.read(&readers[0]), choice.read(&readers[1])];
    /// let (mut sum, mut open) = (0, 2);
    /// while open > 0 {
    ///     let mut chosen = choice.select()?;
    ///     let branch = branches[chosen.index()];
    ///     match chosen.take(branch).expect("it was this one") {
    ///         Ok(n) => sum += n,
    ///         Err(error) if error.is_end() => {
    ///             choice.enable(branch, false); // else it would be chosen for ever
    ///             open -= 1;
    ///         }
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// assert_eq!(sum, 11);
    /// # Ok(()) }
    /// ```
    pub fn enable<V>(&mut self, branch: Branch<V>, condition: bool) {
        if let Some(arm) = self.arms.get_mut(branch.index) {
            arm.is_enabled = condition;
        }
    }

    /// Makes the choice. Of several guards that are ready none is preferred.
    ///
    /// # Errors
    /// [`Error::NoGuard`] if none is switched on; [`Error::OtherEnd`] if the channels belong to different networks; [`Error::Encode`] and
    /// others of a write; [`Error::Full`] for more than 512 guards, or if the network is full; [`Error::Forked`]. That a channel has ended is
    /// no error of the choice, but what comes of the guard.
    pub fn select(&mut self) -> Result<Chosen> {
        thread_local! {
            static TURN: Cell<usize> = const { Cell::new(0) };
        }
        let mut order = self.communications();
        if !order.is_empty() {
            let turn = TURN.get().wrapping_add(1);
            TURN.set(turn);
            let by = turn % order.len();
            order.rotate_left(by);
        }
        self.choose(&order)
    }

    /// Makes the choice. Of several guards that are ready, the one that was given first is chosen.
    ///
    /// ```
    /// use ipc_csp::{Choice, Network};
    ///
    /// # fn main() -> ipc_csp::Result<()> {
    /// let network = Network::new()?;
    /// let (stop, jobs) = (network.buffered::<()>(1)?, network.buffered::<u32>(1)?);
    /// let (stop_in, jobs_in) = (stop.reader()?, jobs.reader()?);
    /// jobs.writer()?.write(1)?;
    /// stop.writer()?.write(())?;
    /// let mut choice = Choice::new();
    /// let stopped = choice.read(&stop_in);
    /// let _job = choice.read(&jobs_in);
    /// assert!(choice.pri_select()?.is(stopped)); // however many jobs there are
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`select`](Choice::select).
    pub fn pri_select(&mut self) -> Result<Chosen> {
        self.choose(&self.communications())
    }

    /// Makes the choice. Of several guards that are ready, the one that has been chosen least often is chosen.
    ///
    /// # Errors
    /// As [`select`](Choice::select).
    pub fn fair_select(&mut self, fairness: &mut Fairness) -> Result<Chosen> {
        fairness.served.resize(fairness.served.len().max(self.arms.len()), 0);
        let mut order = self.communications();
        order.sort_by_key(|index| fairness.served[*index]);
        let chosen = self.choose(&order)?;
        fairness.served[chosen.index] += 1;
        Ok(chosen)
    }

    /// The guards that communicate and are switched on.
    fn communications(&self) -> SmallVec<[usize; 8]> {
        let is_one = |arm: &Arm<'_>| arm.is_enabled && matches!(arm.way, Way::Read(..) | Way::Write(..));
        (0..self.arms.len()).filter(|index| is_one(&self.arms[*index])).collect()
    }

    fn choose(&self, order: &[usize]) -> Result<Chosen> {
        let others = || self.arms.iter().enumerate().filter(|(_, arm)| arm.is_enabled);
        let skip = others().find(|(_, arm)| matches!(arm.way, Way::Skip)).map(|(index, _)| index);
        let times = others().filter_map(|(index, arm)| match arm.way {
            Way::Timeout(after) => Some((after, index)),
            _ => None,
        });
        let timeout = times.min();
        let deadline = match (skip, timeout) {
            (Some(_), _) => Deadline::NOW,
            (None, Some((after, _))) => Deadline::after(after),
            (None, None) => Deadline::NEVER,
        };
        let done = |index| Ok(Chosen { index, value: Some(Box::new(())) });
        if order.is_empty() {
            return match (skip, timeout) {
                (Some(index), _) => done(index),
                (None, Some((after, index))) => {
                    std::thread::sleep(after);
                    done(index)
                }
                (None, None) => Err(Error::NoGuard),
            };
        }
        match self.communicate(order, deadline) {
            Ok(chosen) => Ok(chosen),
            Err(error) => match (*error, skip, timeout) {
                (Error::WouldBlock, Some(index), _) | (Error::Timeout, None, Some((_, index))) => done(index),
                (error, _, _) => Err(error),
            },
        }
    }

    fn communicate(&self, order: &[usize], deadline: Deadline) -> Quick<Chosen> {
        let end_of = |index: usize| match self.arms[index].way {
            Way::Read(end, _) | Way::Write(end, _) => Ok(end),
            _ => Err(Error::NoGuard),
        };
        let net = &end_of(order[0])?.net;
        for index in order {
            let end = end_of(*index)?;
            if !std::sync::Arc::ptr_eq(&end.net, net) {
                return Err(Error::OtherEnd("the channels of a choice belong to different networks").into());
            }
        }
        loop {
            let mut values: SmallVec<[Option<Encoded<'_>>; 8]> = SmallVec::new();
            for index in order {
                values.push(match self.arms[*index].way {
                    Way::Write(_, value) => Some(value.encode(net)?),
                    _ => None,
                });
            }
            let mut guards: SmallVec<[Guard<'_>; 8]> = SmallVec::new();
            for (index, value) in order.iter().zip(&values) {
                let end = end_of(*index)?;
                guards.push(match value {
                    Some(value) => Guard::write(end, value),
                    None => Guard::read(end),
                });
            }
            let (at, event) = choose(net, &mut guards, deadline)?;
            let index = order[at];
            let value: Box<dyn Any> = match (event, &self.arms[index].way) {
                (Event::Read(taken), Way::Read(_, decode)) => match decode(Ok(taken)) {
                    Some(value) => value,
                    None => continue, // withdrawn by its writer at the last moment
                },
                (Event::Over(error), Way::Read(_, decode)) => match decode(Err(error)) {
                    Some(value) => value,
                    None => continue,
                },
                (Event::Written, _) => Box::new(Ok::<(), Error>(())),
                (Event::Over(error), _) => Box::new(Err::<(), Error>(error)),
                (Event::Read(_), _) => return Err(Error::Damaged("a writer has read").into()),
            };
            return Ok(Chosen { index, value: Some(value) });
        }
    }
}

impl fmt::Debug for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice").field("guards", &self.arms.len()).finish_non_exhaustive()
    }
}
