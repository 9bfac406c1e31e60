//! The harness sees what it is there for.

use std::panic::catch_unwind;
use std::time::Duration;

use ipc_core::Builder;
use ipc_tests::{settling, unique_name};

/// What the panic of a test says that must fail.
fn complaint(test: fn()) -> String {
    let payload = catch_unwind(test).expect_err("it should have been noticed");
    *payload.downcast::<String>().expect("a text")
}

/// Long enough to be noticed.
fn isolated(test: impl FnOnce() + Copy + Send + 'static) {
    settling(Duration::from_secs(1), test);
}

#[test]
fn what_a_test_leaves_behind_is_noticed() {
    // All at once, as each waits for the time that the kernel and ending threads are given.
    let tests: [(&str, fn()); 4] = [
        ("descriptor", || isolated(|| std::mem::forget(std::fs::File::open("/dev/null")))),
        ("thread", || isolated(|| drop(std::thread::spawn(std::thread::park)))),
        ("child", || {
            // A daemon: it ends with the process that has failed.
            isolated(|| std::mem::forget(Builder::new().daemon(true).spawn(|()| std::thread::park(), ())));
        }),
        ("file", || isolated(|| std::fs::write(std::env::temp_dir().join(unique_name()), "left").unwrap())),
    ];
    let threads = tests.map(|(thing, test)| (thing, std::thread::spawn(move || complaint(test))));
    for (thing, thread) in threads {
        let complaint = thread.join().unwrap();
        assert!(complaint.contains("left behind") && complaint.contains(thing), "{thing}: {complaint}");
        let file = complaint.split(['"', ' ']).find(|word| word.contains("ipc-test-"));
        if let Some(file) = file {
            std::fs::remove_file(file).unwrap();
        }
    }
}
