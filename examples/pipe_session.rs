//! All the ways to send and receive on a pipe: values, bytes, and bytes into memory that is there already. For once both ends
//! stay in one process, which works as long as what is under way fits into the kernel's buffer.
#![forbid(unsafe_code)]

use std::time::Duration;

use ipc_pipe::duplex;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    type List = (i32, String, Option<String>);
    let (mut a, mut b) = duplex::<List, List>()?;

    // Values. `poll` says whether one can be received at once.
    println!("before: {}", b.poll(Duration::ZERO)?);
    a.send((1, "hello".to_string(), None))?;
    println!("after: {}", b.poll(Duration::ZERO)?);
    let (number, text, nothing) = b.recv()?;
    println!("[{number}, '{text}', {}]", nothing.as_deref().unwrap_or("None"));

    // Bytes: any end can send them, whatever its type of message is, if the other one expects them.
    b.send_bytes(b"thank you")?;
    println!("b'{}'", a.recv_bytes()?.escape_ascii());

    // An array, as bytes, into the front of a longer one.
    let array1: [i32; 5] = [0, 1, 2, 3, 4];
    let mut array2 = [0_i32; 10];
    a.send_bytes(&array1.map(i32::to_ne_bytes).concat())?;
    let mut buffer = [0; size_of::<[i32; 10]>()];
    let count = b.recv_bytes_into(&mut buffer)?;
    assert_eq!(count, array1.len() * size_of::<i32>());
    for (number, bytes) in array2.iter_mut().zip(buffer[..count].chunks_exact(size_of::<i32>())) {
        *number = i32::from_ne_bytes(bytes.try_into()?);
    }
    println!("array('i', {array2:?})");

    // The end can be received, too.
    drop(a);
    println!("at the end: {}, {}", b.poll(Duration::MAX)?, b.recv().unwrap_err());
    Ok(())
}
