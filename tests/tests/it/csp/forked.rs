//! Copies of a process that were made by a fork without exec.

use ipc_csp::{Choice, Error, Report};
use ipc_tests::isolated;

use super::*;

fn forked<T, E: Into<Error>>(result: Result<T, E>) -> bool {
    matches!(result.map_err(Into::into), Err(Error::Forked))
}

#[test]
fn a_forked_copy_can_use_no_channel() {
    isolated(|| {
        let network = Network::new().unwrap();
        let channel = network.buffered::<u32>(2).unwrap();
        let (writer, reader) = (channel.writer().unwrap(), channel.reader().unwrap());
        let (carrier, carried) = ends::<Reader<u32>>(&network, 1);
        writer.write(1).unwrap();
        let (mut line, mut other_side) = ipc_pipe::duplex::<Reader<u32>, Reader<u32>>().unwrap();
        assert!(raw::in_forked_copy(|| {
            let choose = |add: &dyn Fn(&mut Choice<'_>)| {
                let mut choice = Choice::new();
                add(&mut choice);
                forked(choice.select())
            };
            let calls = [
                ("read", forked(reader.read())),
                ("try_read", forked(reader.try_read())),
                ("read_timeout", forked(reader.read_timeout(LONG))),
                ("write", forked(writer.write(1))),
                ("try_write", forked(writer.try_write(1))),
                ("write_timeout", forked(writer.write_timeout(1, LONG))),
                ("close", forked(channel.close())),
                ("poison", forked(reader.poison())),
                ("channel", forked(network.channel::<u32>())),
                ("reader", forked(channel.reader())),
                ("writer", forked(channel.writer())),
                ("report", forked(network.report())),
                ("end in a value", carrier.write(reader.clone()).is_err()),
                ("end over a connection", line.send(reader.clone()).is_err()),
                ("choice of a read", {
                    let mut choice = Choice::new();
                    choice.read(&reader);
                    forked(choice.select())
                }),
                ("choice with skip", {
                    let mut choice = Choice::new();
                    choice.read(&carried);
                    choice.skip();
                    forked(choice.select())
                }),
                ("choice of nothing", !choose(&|choice| _ = choice.skip())),
            ];
            let others: Vec<&str> = calls.iter().filter(|(_, is_right)| !is_right).map(|(call, _)| *call).collect();
            eprintln!("not told: {others:?}");
            // But it can have networks of its own.
            let (own_writer, own_reader) = ends::<u32>(&Network::new().unwrap(), 1);
            own_writer.write(3).unwrap();
            others.is_empty() && own_reader.read().unwrap() == 3
        }));
        assert_eq!(reader.read().unwrap(), 1);
        assert!(reader.try_read().unwrap_err().is_would_block());
        line.send(reader).unwrap();
        assert!(other_side.recv().unwrap().try_read().unwrap_err().is_would_block());
    });
}

#[test]
fn what_a_forked_copy_drops_stays_with_the_original() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, 2);
        writer.write(1).unwrap();
        let (network, writer, reader) = raw::drop_in_forked_copy((network, writer, reader));
        writer.write(2).unwrap();
        assert_eq!((reader.read().unwrap(), reader.read().unwrap()), (1, 2));
        assert_eq!(network.report().unwrap().channels()[0].writers, 1);
        let seen = Report::of_process(std::process::id()).unwrap();
        assert_eq!(seen[0].channels()[0].readers, 1);
        drop(writer);
        assert!(reader.read().unwrap_err().is_retired());
    });
}
