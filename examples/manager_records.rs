//! Records in a list that a server process keeps: one process adds a record, another one prints all of them. Python's loop over such a list
//! asks the server for each position, so that records which others insert or remove meanwhile come twice or not at all; here it has all of
//! one moment. And a record has a type, which every process knows.
#![forbid(unsafe_code)]

use ipc_manager::{List, Manager, Process};

/// A name and a score.
type Record = (String, u32);

fn record(name: &str, score: u32) -> Record {
    (name.to_string(), score)
}

fn print_records(records: List<Record>) {
    for record in records.iter().expect("the server runs") {
        let (name, score) = record.expect("the server runs");
        println!("Name: {name}\nScore: {score}\n");
    }
}

fn insert_record((new, records, message): (Record, List<Record>, String)) {
    records.push(&new).expect("the server runs");
    println!("{message}\n");
}

fn insert_and_print(
    manager: &Manager,
    list: [Record; 3],
    new: Record,
    message: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let records = manager.list_of(list)?;
    Process::spawn(insert_record, (new, records.clone(), message.to_string()))?.join()?;
    Process::spawn(print_records, records)?.join()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let scores = [record("Sam", 10), record("Adam", 9), record("Kevin", 9)];
    insert_and_print(&manager, scores, record("Jeff", 8), "New record added!")?;

    let subjects = [record("Computers", 1), record("Histoty", 5), record("Hindi", 9)];
    insert_and_print(&manager, subjects, record("English", 3), "A New record is added")
}
