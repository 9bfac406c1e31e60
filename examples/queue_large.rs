//! Messages far larger than the ring that small ones go through: they lie beside it in memory that the queue takes while it
//! needs it, and keep their place among the small ones. How large a message may be is a setting.
#![forbid(unsafe_code)]

use ipc_queue::{Consumer, Process, Queue, Settings};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Picture {
    title: String,
    width: usize,
    pixels: Vec<u8>,
}

impl Picture {
    fn new(title: &str, width: usize, height: usize) -> Picture {
        let pixels = (0..width * height).map(|at| (at % width) as u8).collect();
        Picture { title: title.to_string(), width, pixels }
    }
}

fn viewer(pictures: Consumer<Picture>) {
    for picture in pictures.iter() {
        let Picture { title, width, pixels } = picture.expect("pictures come as they were put");
        let is_whole = pixels.iter().enumerate().all(|(at, pixel)| *pixel == (at % width) as u8);
        println!("{title}: {width} x {}, whole: {is_whole}", pixels.len() / width);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::new().ring(64 * 1024).max_message(10_000_000);
    let (pictures, theirs) = Queue::with(&settings)?.split();
    let process = Process::spawn(viewer, theirs)?;
    for (title, width, height) in
        [("stamp", 10, 10), ("poster", 3_000, 2_000), ("button", 16, 16), ("wall", 4_000, 2_000)]
    {
        pictures.put(Picture::new(title, width, height))?;
    }

    let sky = Picture::new("sky", 10_000, 10_000);
    let refused = pictures.put(sky).expect_err("it is too large");
    println!("{}, which we still have: {}", refused.value.title, refused.error);
    drop(pictures);
    process.join()?;
    Ok(())
}
