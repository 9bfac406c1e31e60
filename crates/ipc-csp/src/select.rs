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

/// One guard after the other is evaluated, as the argument of a match, so that what is made there lasts until the end; what is to be done with them is
/// collected. The choice comes last, as it borrows from all of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __choose {
    ($how:ident($($with:tt)*) {} $($guards:tt)+) => {
        $crate::__choose!(@next $how($($with)*), [] if true, $($guards)+)
    };
    // A pre-condition, or none.
    (@next $how:ident $with:tt, $done:tt if true, if $condition:expr, $($rest:tt)+) => {
        $crate::__choose!(@next $how $with, $done if $condition, $($rest)+)
    };
    (@next $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        read($reader:expr) -> $value:pat => $body:expr $(, $($rest:tt)*)?) => {
        match ($condition, &$reader) {
            guard => $crate::__choose!(@more $how $with,
                [$($done)* (branch guard read(guard.1) $value => $body)] $($($rest)*)?)
        }
    };
    (@next $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        write($writer:expr, $sent:expr) -> $result:pat => $body:expr $(, $($rest:tt)*)?) => {
        match ($condition, &$writer, $sent) {
            guard => $crate::__choose!(@more $how $with,
                [$($done)* (branch guard write(guard.1, guard.2) $result => $body)] $($($rest)*)?)
        }
    };
    (@next $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        timeout($after:expr) => $body:expr $(, $($rest:tt)*)?) => {
        match ($condition, $after) {
            guard => $crate::__choose!(@more $how $with,
                [$($done)* (branch guard timeout(guard.1) () => $body)] $($($rest)*)?)
        }
    };
    (@next $how:ident $with:tt, [$($done:tt)*] if $condition:expr,
        skip => $body:expr $(, $($rest:tt)*)?) => {
        match ($condition,) {
            guard => $crate::__choose!(@more $how $with,
                [$($done)* (branch guard skip() () => $body)] $($($rest)*)?)
        }
    };
    (@more $how:ident($($with:tt)*),
        [$(($branch:ident $guard:ident $way:ident($($argument:expr),*) $value:pat => $body:expr))+]) => {{
        let mut choice = $crate::Choice::new();
        $(
            let $branch = choice.$way($($argument),*);
            choice.enable($branch, $guard.0);
        )+
        match choice.$how($($with)*) {
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
    }};
    (@more $how:ident $with:tt, $done:tt $($rest:tt)+) => {
        $crate::__choose!(@next $how $with, $done if true, $($rest)+)
    };
}
