//! Two processes and two channels between them: words go one way, their lengths come back the other. PyCSP's channels are looked after by a
//! thread of the process that made them, over TCP; here both processes meet in memory that they share, and either may be killed without harm
//! to the other. Channels are typed, and an end can only be used in its direction.
#![forbid(unsafe_code)]

use ipc_csp::{Error, Network, Reader, Writer, parallel, process};

fn process1((channel1, channel2): (Writer<String>, Reader<usize>)) -> Result<usize, String> {
    talk(&channel1, &channel2).map_err(|error| error.to_string())
    // Here its ends are dropped: PyCSP's `retire`, which nobody can forget.
}

fn talk(words: &Writer<String>, lengths: &Reader<usize>) -> Result<usize, Error> {
    let mut letters = 0;
    for word in ["to", "be", "or", "not"] {
        words.write(word.to_string())?; // returns when process 2 has the word
        let length = lengths.read()?;
        println!("Process 1: \"{word}\" has {length} letters");
        letters += length;
    }
    Ok(letters)
}

fn process2((channel1, channel2): (Reader<String>, Writer<usize>)) -> Result<u32, String> {
    let mut words = 0;
    for word in &channel1 {
        println!("Process 2: got \"{word}\"");
        channel2.write(word.chars().count()).map_err(|error| error.to_string())?;
        words += 1;
    }
    Ok(words) // channel 1 has no writer any more
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let channel1 = network.builder().name("channel 1").channel()?;
    let channel2 = network.builder().name("channel 2").channel()?;
    let (letters, words) = parallel((
        process(process1, (channel1.writer()?, channel2.reader()?)),
        process(process2, (channel1.reader()?, channel2.writer()?)),
    ))?;
    println!("{} words, {} letters", words?, letters?);
    Ok(())
}
