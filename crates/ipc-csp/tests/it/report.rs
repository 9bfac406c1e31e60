//! Reports of one's own networks.

use std::sync::mpsc;

use super::*;

fn own_thread() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_report_tells_how_channels_are() {
    let network = Network::new().unwrap();
    let names: Vec<_> = ["open", "closed", "poisoned", "retired"].into_iter().collect();
    let channels: Vec<_> =
        names.iter().map(|name| network.builder().name(*name).buffered(3).channel::<u32>().unwrap()).collect();
    let ends: Vec<_> = channels.iter().map(|channel| (channel.writer().unwrap(), channel.reader().unwrap())).collect();
    ends.iter().for_each(|(writer, _)| writer.write(1).unwrap());
    channels[1].close().unwrap();
    channels[2].poison().unwrap();
    let mut ends = ends.into_iter();
    let _kept: Vec<_> = ends.by_ref().take(3).collect();
    drop(ends);
    let report = network.report().unwrap();
    let seen: Vec<_> = report.channels().iter().map(|c| (c.name.as_str(), c.buffered, c.capacity, c.over)).collect();
    let expected = [
        ("open", 1, 3, None),
        ("closed", 1, 3, Some("closed")),
        ("poisoned", 0, 3, Some("poisoned")),
        ("retired", 0, 3, Some("retired")),
    ];
    assert_eq!(seen, expected);
    let text = report.to_string();
    assert!(text.contains("open: 1 writers, 1 readers, 1 of 3 values\n"), "{text}");
    assert!(text.contains("retired: 0 writers, 0 readers, 0 of 3 values, retired\n"), "{text}");
    let unnamed = network.channel::<u32>().unwrap();
    let text = network.report().unwrap().to_string();
    assert!(text.contains("channel 4: 0 writers, 0 readers\n"), "{text}");
    drop(unnamed);
}

#[test]
fn a_report_tells_which_threads_wait_and_for_what() {
    // A thread has been in another network before, and others have used the place it has in this one.
    for _ in 0..3 {
        let network = Network::new().unwrap();
        let (a_out, a_in) = ends::<u32>(&network, 0);
        let (b_out, b_in) = ends::<u32>(&network, 0);
        let (go, when) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let again = a_in.clone();
        let chooser = thread::spawn(move || {
            again.try_read().unwrap_err();
            tell.send(own_thread()).unwrap();
            when.recv().unwrap();
            ipc_csp::select! {
                read(again) -> _ => (),
                write(b_out, &1) -> _ => (),
            }
            .unwrap();
        });
        let tid = told.recv().unwrap();
        a_in.try_read().unwrap_err();
        go.send(()).unwrap();
        until_waiting(&network, 1);
        eventually("time passes", || {
            network.report().unwrap().waiting().first().is_some_and(|waiting| waiting.since > SHORT)
        });
        let report = network.report().unwrap();
        let [waiting] = report.waiting() else { panic!("{report}") };
        assert_eq!((waiting.pid, waiting.forever), (std::process::id(), true));
        assert_eq!((waiting.reads.len(), waiting.writes.len()), (1, 1));
        assert!(waiting.since < LONG);
        assert_eq!(waiting.thread, tid, "{report}");
        assert_eq!(b_in.read().unwrap(), 1);
        chooser.join().unwrap();
        assert!(network.report().unwrap().waiting().is_empty());

        let reader = a_in.clone();
        let timed = thread::spawn(move || reader.read_timeout(LONG).unwrap());
        until_waiting(&network, 1);
        let report = network.report().unwrap();
        assert!(!report.waiting()[0].forever && report.deadlocks().is_empty(), "{report}");
        assert!(report.to_string().contains(", with a time-out"), "{report}");
        a_out.write(3).unwrap();
        assert_eq!(timed.join().unwrap(), 3);
    }
}
