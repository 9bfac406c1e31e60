//! A queue of bytes, written and read in place: what is put is made where it will be taken, and who takes it looks at what it needs,
//! without a copy of the whole.
#![forbid(unsafe_code)]

use std::io::Write;

use ipc_queue::{Bytes, Consumer, Error, Process, Queue};

const SAMPLES: usize = 100_000;

/// Takes the records of one kind; of the others it reads nothing but their first byte.
fn reader(records: Consumer<Vec<u8>, Bytes>) {
    loop {
        let record = match records.peek() {
            Ok(record) => record,
            Err(Error::Disconnected) => return,
            Err(error) => panic!("{error}"),
        };
        match record.byte(0).expect("no record is empty") {
            b'T' => {
                let mut text = vec![0; record.len() - 1];
                record.read_at(1, &mut text).expect("so long it is");
                println!("a text: {}", String::from_utf8_lossy(&text));
            }
            kind => println!("{} bytes of another kind: {}", record.len(), char::from(kind)),
        }
        record.release(); // without this it would be there again
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (records, theirs) = Queue::new()?.split();
    let process = Process::spawn(reader, theirs)?;

    let mut record = records.reserve(1 + SAMPLES)?;
    record.write_at(0, b"S")?;
    record.fill(1, SAMPLES, 7)?;
    record.commit()?;

    let text = "written in place";
    let mut record = records.reserve(1 + text.len())?;
    write!(record, "T{text}")?;
    record.commit()?;

    let mut record = records.reserve(10)?;
    record.fill(0, 10, b'x')?;
    drop(record); // without `commit` it never was

    // Bytes that exist already are put as ever.
    records.put_bytes(b"Tput as a whole")?;
    drop(records);
    process.join()?;
    Ok(())
}
