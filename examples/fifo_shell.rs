//! FIFOs to programs that know nothing of messages: the shell and its tools read and write bytes. A typed reader that finds bytes which are
//! no message says how many it has left out, and goes on.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};

use ipc_fifo::{Fifo, Reader, Writer};

fn shell(script: &str, fifos: &[&Fifo]) -> std::io::Result<Child> {
    Command::new("sh").args(["-c", script, "sh"]).args(fifos.iter().map(|fifo| fifo.path())).spawn()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = |name| std::env::temp_dir().join(format!("fifo_shell-{name}-{}", std::process::id()));
    let (there, back) = (Fifo::create(path("there"), 0o600)?, Fifo::create(path("back"), 0o600)?);

    // What the shell writes, until it closes.
    let mut child = shell("echo hello from the shell > \"$1\"", &[&there])?;
    let mut text = String::new();
    there.read_end()?.read_to_string(&mut text)?;
    print!("read: {text}");
    child.wait()?;

    // What the shell shows on its standard output.
    let mut child = shell("cat \"$1\"", &[&there])?;
    there.write_end()?.write_all(b"cat: hello to the shell\n")?;
    child.wait()?;

    // Through a filter. The shell opens the FIFOs in this order, so we do, too.
    let mut child = shell("tr a-z A-Z < \"$1\" > \"$2\"", &[&there, &back])?;
    let (mut input, mut output) = (there.write_end()?, back.read_end()?);
    input.write_all(b"once more with feeling")?;
    drop(input); // the end, for `tr`
    text.clear();
    output.read_to_string(&mut text)?;
    println!("tr: {text}");
    child.wait()?;

    // Bytes among messages.
    let mut reader: Reader<(u32, String)> = there.lasting_reader()?;
    let mut writer: Writer<(u32, String)> = there.writer()?;
    writer.send((1, "one".to_string()))?;
    shell("echo what is this > \"$1\"", &[&there])?.wait()?;
    writer.send((2, "two".to_string()))?;
    for _ in 0..3 {
        match reader.recv() {
            Ok((n, text)) => println!("message {n}: {text}"),
            Err(error) => println!("no message: {error}"),
        }
    }
    println!("a file is none: {}", Fifo::open(Path::new("/dev/null")).expect_err("it is a device"));
    Ok(())
}
