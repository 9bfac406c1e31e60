//! What the cross-process tests stand on: each runs in a process of its own, within a deadline, and leaves nothing.
#![deny(unsafe_code)] // allowed again in raw.rs

pub mod campaign;
pub mod raw;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Builder, JoinError};

/// How long a test may take, also on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long the kernel and threads that are about to end may take to tidy up.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs `test` in a process of its own, with a deadline, and fails if it fails or leaves a child, descriptor, thread or file behind.
///
/// `cargo test` runs tests as threads of one process, where nothing that is left could be told apart.
///
/// # Panics
/// When the test does.
pub fn isolated<F: FnOnce() + Copy + Send + 'static>(test: F) {
    settling(SETTLE, test);
}

/// As [`isolated`], with a time for what tidies up after the test.
///
/// # Panics
/// When the test does.
pub fn settling<F: FnOnce() + Copy + Send + 'static>(settle: Duration, test: F) {
    fn run<F: FnOnce() + Copy + Send + 'static>(test: F) -> impl FnOnce(Duration) + Copy + Send + 'static {
        move |settle| {
            let before = Holdings::of(std::process::id());
            test();
            let started = Instant::now();
            loop {
                let left = Holdings::of(std::process::id()).beyond(&before);
                if left.is_empty() {
                    return;
                }
                assert!(started.elapsed() < settle, "left behind: {left:#?}");
                give_way(started);
            }
        }
    }
    let mut process = Builder::new().name("test").spawn(run(test), settle).expect("the test's process starts");
    match process.join_timeout(DEADLINE) {
        Ok(()) => {}
        Err(JoinError::Timeout) => {
            let report = stacks(process.pid());
            let _ = process.kill();
            panic!("the test did not end within {DEADLINE:?}\n{report}");
        }
        Err(error) => panic!("{error}"),
    }
}

/// What a process holds that others can see.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holdings(BTreeMap<String, usize>);

impl Holdings {
    fn of(pid: u32) -> Holdings {
        let mut held = BTreeMap::new();
        let mut add = |thing: String| *held.entry(thing).or_default() += 1;
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            // The directory that is being read is itself among them, under a number that may vary.
            let target = fs::read_link(entry.path()).unwrap_or_default();
            if !target.starts_with("/proc") {
                add(format!("descriptor {} of {}", entry.file_name().to_string_lossy(), target.display()));
            }
        }
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            add(format!("thread {}", name.trim()));
        }
        for (child, state) in children(pid) {
            add(format!("child {child} ({state})"));
        }
        for folder in folders() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().contains(&prefix(pid)) {
                    add(format!("file {}", entry.path().display()));
                }
            }
        }
        Holdings(held)
    }

    fn beyond(self, before: &Holdings) -> Vec<String> {
        let more = |(thing, n): &(String, usize)| *n > before.0.get(thing).copied().unwrap_or(0);
        self.0.into_iter().filter(more).map(|(thing, _)| thing).collect()
    }
}

/// A name for a file or segment that nobody else has. If it is still there in `/dev/shm` or the folder for temporary files when
/// the test ends, [`isolated`] fails.
pub fn unique_name() -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    // One that was killed may have left some, and its pid may be this one's now.
    let is_left = |name: &String| folders().iter().any(|folder| folder.join(name).exists());
    let names = std::iter::repeat_with(|| NAMES.fetch_add(1, Ordering::Relaxed));
    let mut names = names.map(|number| format!("{}{number}", prefix(std::process::id())));
    names.find(|name| !is_left(name)).expect("there are more names than files")
}

#[test]
fn a_name_that_a_dead_process_has_left_is_passed_over() {
    let number: u32 = unique_name().rsplit('-').next().unwrap().parse().unwrap();
    let left =
        (number + 1..number + 9).map(|n| std::env::temp_dir().join(format!("{}{n}", prefix(std::process::id()))));
    let left: Vec<_> = left.collect();
    left.iter().for_each(|path| fs::write(path, "").unwrap());
    let name = unique_name();
    left.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert!(left.iter().all(|path| !path.ends_with(&name)), "{name}");
}

/// Where names are.
fn folders() -> [PathBuf; 2] {
    ["/dev/shm".into(), std::env::temp_dir()]
}

fn prefix(pid: u32) -> String {
    format!("ipc-test-{pid}-")
}

/// The children of a process, with their state (`R`, `S`, `T`, `Z`), zombies included.
pub fn children(pid: u32) -> Vec<(u32, char)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|child| Some((child, stat(child)?)))
        .filter(|(_, (_, ppid))| *ppid == pid)
        .map(|(child, (state, _))| (child, state))
        .collect()
}

/// The state of a process; `None` if there is no such process.
pub fn state(pid: u32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

/// State and parent, from proc(5).
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace(); // the name may contain anything
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Waits until `condition` holds, for things the kernel gives no event for.
///
/// # Panics
/// After the time a test may take.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE / 3, "not within {:?}: {what}", DEADLINE / 3);
        give_way(started);
    }
}

/// Between two looks: what comes at once is seen at once, and what takes longer is not kept from the processor by who waits for it.
fn give_way(since: Instant) {
    match since.elapsed() {
        short if short < Duration::from_millis(1) => std::thread::yield_now(),
        long => std::thread::sleep((long / 8).min(Duration::from_millis(5))),
    }
}

/// How long a call took, without the time for which the machine had no processor for this thread.
pub fn took<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    // From proc(5): the second number is the time spent waiting for a processor. Nothing if the kernel does not count it.
    let delay = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Duration::from_nanos(text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0))
    };
    let (started, before) = (Instant::now(), delay());
    let result = call();
    let elapsed = started.elapsed();
    (result, elapsed.saturating_sub(delay().saturating_sub(before)))
}

/// The least of several measurements, of which there are no more once one is below the limit: on a busy machine any of them may be
/// far too high.
pub fn least(limit: Duration, mut measure: impl FnMut() -> Duration) -> Duration {
    let mut least = measure();
    for _ in 0..4 {
        if least >= limit {
            least = least.min(measure());
        }
    }
    least
}

/// Where a process and its descendants are: name, state and the place in the kernel they wait in, and a debugger's view
/// where there is one.
fn stacks(pid: u32) -> String {
    let mut report = String::new();
    let mut todo = vec![pid];
    while let Some(pid) = todo.pop() {
        todo.extend(children(pid).into_iter().map(|(child, _)| child));
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let state = stat(pid).map_or('?', |(state, _)| state);
            report += &format!("process {pid} {} {state} waits in {}\n", read("comm").trim(), read("wchan"));
        }
        if Path::new("/usr/bin/gdb").exists() {
            let gdb =
                ["-p", &pid.to_string(), "-batch", "-nx", "-ex", "thread apply all backtrace 24"].map(str::to_string);
            if let Ok(output) = std::process::Command::new("gdb").args(gdb).output() {
                report += &String::from_utf8_lossy(&output.stdout);
            }
        }
    }
    report
}

/// The program of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
