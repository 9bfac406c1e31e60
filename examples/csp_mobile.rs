//! Ends of channels travel over channels: a request brings the channel for its answer along, and a reader is handed on in the middle of what is
//! written to it. In PyCSP an end arrives as an address, to which the receiver then connects; here it arrives with the value, and an
//! end on its way counts, so the writer never finds nobody there.
#![forbid(unsafe_code)]

use ipc_csp::{Error, Network, Reader, Writer, parallel, process};

/// What is to be counted, and where the count is to go.
type Request = (String, Writer<usize>);

/// Knows none of its clients. It ends when the last one has gone.
fn server(requests: Reader<Request>) -> usize {
    let answer = |(text, to): &Request| to.write(text.split_whitespace().count()).is_ok();
    requests.iter().filter(answer).count()
}

fn client((text, requests): (String, Writer<Request>)) -> Result<usize, String> {
    let ask = || {
        let answer = requests.network().channel()?; // for this one request
        let from = answer.reader()?;
        requests.write((text, answer.writer()?))?;
        from.read()
    };
    ask().map_err(|error: Error| error.to_string())
}

fn count_up(to: Writer<u32>) -> bool {
    (1..=6).all(|n| to.write(n).is_ok())
}

/// Reads some, and leaves the rest to another process. What is sent is not here any more.
fn first((numbers, next): (Reader<u32>, Writer<Reader<u32>>)) -> Vec<u32> {
    let some = numbers.iter().take(2).collect();
    next.write(numbers).expect("somebody goes on");
    some
}

fn second(readers: Reader<Reader<u32>>) -> Vec<u32> {
    let numbers = readers.read().expect("somebody hands it on");
    numbers.iter().collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let requests = network.channel()?;
    let (answered, to_be, question) = parallel((
        process(server, requests.reader()?),
        process(client, ("to be or not to be".to_string(), requests.writer()?)),
        process(client, ("that is the question".to_string(), requests.writer()?)),
    ))?;
    println!("{} and {} words, {answered} requests", to_be?, question?);

    let (numbers, readers) = (network.channel()?, network.channel()?);
    let (all_written, before, after) = parallel((
        process(count_up, numbers.writer()?),
        process(first, (numbers.reader()?, readers.writer()?)),
        process(second, readers.reader()?),
    ))?;
    println!("the first has read {before:?}, the second {after:?}; all written: {all_written}");
    Ok(())
}
