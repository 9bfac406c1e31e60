//! The macros of choice.

/// Makes a [`Choice`](crate::Choice) and goes on with the branch of the guard that was chosen; of several that are ready none is preferred.
///
/// Guards are `read(reader) -> result`, `write(writer, &value) -> result`, `timeout(duration)` and `skip`, each with `=> expression`, and with
/// a pre-condition as in `if wanted, read(reader) -> value => …`. The expressions may use `?`, `break` and `return`. The whole is a
/// [`Result`](crate::Result): what can go wrong with the choice itself, see [`Choice::select`](crate::Choice::select).
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = ipc_csp::Network::new()?;
/// let (left, right) = (network.buffered::<i32>(1)?, network.buffered::<String>(1)?);
/// let (left_in, right_in, right_out) = (left.reader()?, right.reader()?, right.writer()?);
/// right_out.write("hello".into())?;
///
/// let text = ipc_csp::select! {
///     read(left_in) -> number => number?.to_string(),
///     read(right_in) -> word => word?,
///     timeout(Duration::from_secs(10)) => "nothing".into(),
/// }?;
/// assert_eq!(text, "hello");
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! select {
    ($($guards:tt)+) => { $crate::__choose!(select() {} $($guards)+) };
}

/// As [`select!`](crate::select), preferring guards that stand further up.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = ipc_csp::Network::new()?;
/// let (urgent, ordinary) = (network.buffered::<i32>(1)?, network.buffered::<i32>(1)?);
/// let (urgent_in, ordinary_in) = (urgent.reader()?, ordinary.reader()?);
/// ordinary.writer()?.write(1)?;
/// urgent.writer()?.write(2)?;
/// let first = ipc_csp::pri_select! {
///     read(urgent_in) -> value => value?,
///     read(ordinary_in) -> value => value?,
///     skip => 0,
/// }?;
/// assert_eq!(first, 2);
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! pri_select {
    ($($guards:tt)+) => { $crate::__choose!(pri_select() {} $($guards)+) };
}

/// As [`select!`](crate::select), preferring guards that have been chosen less often; how often stands in a [`Fairness`](crate::Fairness),
/// which comes first.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = ipc_csp::Network::new()?;
/// let (left, right) = (network.buffered::<char>(4)?, network.buffered::<char>(4)?);
/// let (left_in, right_in) = (left.reader()?, right.reader()?);
/// let (left_out, right_out) = (left.writer()?, right.writer()?);
/// for _ in 0..4 {
///     left_out.write('l')?;
///     right_out.write('r')?;
/// }
/// let mut fairness = ipc_csp::Fairness::new();
/// let mut order = String::new();
/// for _ in 0..8 {
///     order.push(ipc_csp::fair_select! { fairness;
///         read(left_in) -> value => value?,
///         read(right_in) -> value => value?,
///     }?);
/// }
/// assert_eq!(order, "lrlrlrlr");
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! fair_select {
    ($fairness:expr; $($guards:tt)+) => { $crate::__choose!(fair_select(&mut $fairness) {} $($guards)+) };
}

/// One guard after the other is turned into a branch; what is to be done with them is collected.
#[doc(hidden)]
#[macro_export]
macro_rules! __choose {
    ($how:ident($($with:tt)*) {} $($guards:tt)+) => {{
        let mut choice = $crate::Choice::new();
        $crate::__choose!(@next choice, $how($($with)*), [] if true, $($guards)+)
    }};
    // A pre-condition, or none.
    (@next $choice:ident, $how:ident $with:tt, $done:tt if true, if $condition:expr, $($rest:tt)+) => {
        $crate::__choose!(@next $choice, $how $with, $done if $condition, $($rest)+)
    };
    (@next $choice:ident, $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        read($reader:expr) -> $value:pat => $body:expr $(, $($rest:tt)*)?) => {{
        // As arguments of a match they last until its end, also if they were made here.
        match &$reader {
            reader => {
                let branch = $choice.read(reader);
                $choice.enable(branch, $condition);
                $crate::__choose!(@more $choice, $how $with, [$($done)* (branch $value => $body)] $($($rest)*)?)
            }
        }
    }};
    (@next $choice:ident, $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        write($writer:expr, $sent:expr) -> $result:pat => $body:expr $(, $($rest:tt)*)?) => {{
        match (&$writer, $sent) {
            (writer, sent) => {
                let branch = $choice.write(writer, sent);
                $choice.enable(branch, $condition);
                $crate::__choose!(@more $choice, $how $with, [$($done)* (branch $result => $body)] $($($rest)*)?)
            }
        }
    }};
    (@next $choice:ident, $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        timeout($after:expr) => $body:expr $(, $($rest:tt)*)?) => {{
        let branch = $choice.timeout($after);
        $choice.enable(branch, $condition);
        $crate::__choose!(@more $choice, $how $with, [$($done)* (branch () => $body)] $($($rest)*)?)
    }};
    (@next $choice:ident, $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        skip => $body:expr $(, $($rest:tt)*)?) => {{
        let branch = $choice.skip();
        $choice.enable(branch, $condition);
        $crate::__choose!(@more $choice, $how $with, [$($done)* (branch () => $body)] $($($rest)*)?)
    }};
    (@more $choice:ident, $how:ident($($with:tt)*), [$(($branch:ident $value:pat => $body:expr))+]) => {
        match $choice.$how($($with)*) {
            ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
            #[allow(unreachable_code)] // if all branches leave
            ::core::result::Result::Ok(mut chosen) => {
                ::core::result::Result::Ok($(if let ::core::option::Option::Some($value) = chosen.take($branch) {
                    $body
                } else)+ {
                    ::core::unreachable!("one of the guards was chosen")
                })
            }
        }
    };
    (@more $choice:ident, $how:ident $with:tt, $done:tt $($rest:tt)+) => {
        $crate::__choose!(@next $choice, $how $with, $done if true, $($rest)+)
    };
}
