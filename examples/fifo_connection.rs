//! Two FIFOs as one two-way connection with typed messages, between two programs that know nothing of each other but a folder. Either may
//! come first, and both may name the FIFOs in any order: each side opens both at the same time, where two calls of `open` for each would
//! wait for each other in a circle.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::Command;

use ipc_fifo::{Connection, Fifo, connect};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Sum(Vec<i64>),
    Reversed(String),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Number(i64),
    Text(String),
}

/// Both programs say so. Whoever is first makes the FIFOs.
fn fifos(folder: &Path) -> ipc_fifo::Result<[Fifo; 2]> {
    Ok([Fifo::open_or_create(folder.join("questions"), 0o600)?, Fifo::open_or_create(folder.join("answers"), 0o600)?])
}

/// The other program.
fn answer(folder: &Path) -> Result<(), Box<dyn Error>> {
    let [questions, answers] = fifos(folder)?;
    let mut conn: Connection<Answer, Question> = connect(&questions, &answers)?;
    loop {
        let answer = match conn.recv() {
            Ok(Question::Sum(numbers)) => Answer::Number(numbers.iter().sum()),
            Ok(Question::Reversed(text)) => Answer::Text(text.chars().rev().collect()),
            Err(error) if error.is_disconnected() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        conn.send(answer)?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = std::env::args().nth(1) {
        return answer(Path::new(&folder));
    }
    let folder = std::env::temp_dir().join(format!("fifo_connection-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    for round in 1..=2 {
        let mut program = Command::new(std::env::current_exe()?).arg(&folder).spawn()?;
        let [questions, answers] = fifos(&folder)?;
        let mut conn: Connection<Question, Answer> = connect(&answers, &questions)?;
        for question in [Question::Sum((1..=100).collect()), Question::Reversed("stressed".to_string())] {
            conn.send(&question)?;
            println!(
                "{}",
                match conn.recv()? {
                    Answer::Number(number) => format!("the sum of 1 to 100 is {number}"),
                    Answer::Text(text) => format!("stressed reversed is {text}"),
                }
            );
        }
        if round == 2 {
            program.kill()?;
            println!("when it is killed: {}", conn.recv().expect_err("nobody is there to answer"));
        }
        drop(conn); // the other program sees that
        println!("the other program: {}", program.wait()?);
    }
    // Whoever is last removes them: they are made to stay.
    for name in ["questions", "answers"] {
        Fifo::unlink(folder.join(name))?;
    }
    std::fs::remove_dir(&folder)?;
    Ok(())
}
