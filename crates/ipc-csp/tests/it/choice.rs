//! Choice: what it chooses, and when.

use ipc_csp::{Choice, pri_select, select};

use super::*;

#[test]
fn crossing_offers_meet_and_agree() {
    let network = Network::new().unwrap();
    let (a, b) = (network.channel::<u32>().unwrap(), network.channel::<u32>().unwrap());
    const ROUNDS: u32 = 3000;
    let ends = [(a.writer().unwrap(), b.reader().unwrap()), (b.writer().unwrap(), a.reader().unwrap())];
    let threads = ends.map(|(to, from)| {
        thread::spawn(move || {
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                select! {
                    write(to, &round) -> result => { result.unwrap(); sent.push(round) },
                    read(from) -> value => received.push(value.unwrap()),
                }
                .unwrap();
            }
            (sent, received)
        })
    });
    let [(sent_a, received_a), (sent_b, received_b)] = threads.map(|thread| thread.join().unwrap());
    assert_eq!(sent_a, received_b);
    assert_eq!(sent_b, received_a);
    assert_eq!(sent_a.len() + sent_b.len(), ROUNDS as usize);
}

#[test]
fn skip_and_timeout_are_taken_when_nothing_else_is_ready() {
    let network = Network::new().unwrap();
    let channel = network.channel::<u32>().unwrap();
    let (writer, reader) = (channel.writer().unwrap(), channel.reader().unwrap());
    let text = pri_select! { read(reader) -> _ => "read", skip => "skipped" }.unwrap();
    assert_eq!(text, "skipped");
    let text = pri_select! {
        write(writer, &1) -> _ => "written",
        timeout(Duration::from_millis(20)) => "too late",
    };
    assert_eq!(text.unwrap(), "too late");
    let none = Choice::new().select().unwrap_err();
    assert!(matches!(none, ipc_csp::Error::NoGuard));
}
