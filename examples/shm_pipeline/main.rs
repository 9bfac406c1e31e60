//! A picture pipeline in shared memory: `shm_pipeline [FOLDER]` renders a Julia set, makes its lines glow, and writes a PNG (beside the
//! program, if no folder is given). Several processes work on it, piece by piece. Through the queues goes which step is next for which
//! rows, and no pixel; a piece is begun when those that it reads are done.
//!
//! One worker is killed with half of a piece done. The piece was under a lease and goes to another one. To do it again gives the same,
//! because each step reads one plane and writes another: a blur within one plane would blur that half twice.
//!
//! Python's `SharedMemory` shares pixels as well. But a `Pool` waits for ever for the result of a worker that was killed, and a
//! `ProcessPoolExecutor` breaks: there is no lease to hand on. Here the kernel tells the queue who is dead.
#![forbid(unsafe_code)]

mod picture;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs, thread};

use ipc_queue::{Builder, Consumer, Producer, Queue};
use ipc_shm::AtomicArray;
use picture::{add, light};
use serde::{Deserialize, Serialize};

const WIDTH: usize = 720;
const HEIGHT: usize = 450;
const LINE: usize = 3 * WIDTH; // red, green and blue
/// How many rows a piece has. Light does not glow further, so a piece needs only its neighbours.
const ROWS: usize = 25;
const PIECES: usize = HEIGHT / ROWS;
/// Whoever gets it first is killed in the middle of it.
const UNLUCKY: Piece = (Step::Blur, 7);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Step {
    Render,
    Blur,
    Develop,
}

/// A step for some rows.
type Piece = (Step, usize);
/// A piece that is done, or the number of a worker that has done one half.
type Report = Result<Piece, usize>;

#[derive(Clone, Serialize, Deserialize)]
struct Frame {
    light: AtomicArray<f32>,
    glow: AtomicArray<f32>,
    picture: AtomicArray<u8>,
}

impl Frame {
    fn new() -> Result<Frame, ipc_shm::Error> {
        let plane = || AtomicArray::zeroed(LINE * HEIGHT);
        Ok(Frame { light: plane()?, glow: plane()?, picture: AtomicArray::zeroed(LINE * HEIGHT)? })
    }

    /// Does one step for one row.
    fn work(&self, step: Step, y: usize) -> Result<(), ipc_shm::Error> {
        let (mut line, mut sum) = ([0.0; LINE], [0.0; LINE]);
        if step == Step::Render {
            let place = |n: usize, middle: usize| 1.9 * (n as f32 - middle as f32) / HEIGHT as f32;
            for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&light(place(x, WIDTH / 2), place(y, HEIGHT / 2)));
            }
            return self.light.write_at(y * LINE, &line);
        }
        self.light.read_at(y * LINE, &mut line)?;
        if step == Step::Blur {
            for distance in 0..ROWS {
                add(&mut sum[3 * distance..], &line, distance);
                add(&mut sum, &line[3 * distance..], distance);
            }
            return self.glow.write_at(y * LINE, &sum);
        }
        let mut glow = [0.0; LINE];
        for other in y.saturating_sub(ROWS - 1)..HEIGHT.min(y + ROWS) {
            self.glow.read_at(other * LINE, &mut glow)?;
            add(&mut line, &glow, y.abs_diff(other));
        }
        self.picture.write_at(y * LINE, &line.map(|light| (255.0 * (light / (1.0 + light)).sqrt()) as u8))
    }
}

fn worker((number, frame, pieces, reports): (usize, Frame, Consumer<Piece>, Producer<Report>)) {
    while let Ok(piece) = pieces.lease() {
        for row in 0..ROWS {
            if *piece == UNLUCKY && piece.deliveries() == 1 && row == ROWS / 2 {
                reports.put(Err(number)).expect("the parent waits for it");
                loop {
                    thread::park();
                }
            }
            frame.work(piece.0, piece.1 * ROWS + row).expect("the frame has this row");
        }
        reports.put(Ok(*piece)).expect("the parent waits for it");
        piece.ack().expect("this is no forked copy"); // killed before this, another worker would do the piece again
    }
}

/// What can be begun now that this piece is done, too.
fn released(done: &BTreeSet<Piece>, (step, n): Piece) -> Vec<Piece> {
    let around = |n: usize| n.saturating_sub(1)..PIECES.min(n + 2);
    match step {
        Step::Render => vec![(Step::Blur, n)],
        Step::Blur => {
            let is_ready = |n: &usize| around(*n).all(|n| done.contains(&(Step::Blur, n)));
            around(n).filter(is_ready).map(|n| (Step::Develop, n)).collect()
        }
        Step::Develop => Vec::new(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (frame, pieces, reports) = (Frame::new()?, Queue::new()?, Queue::new()?);
    let start =
        |n| Builder::new().core_dumps(false).spawn(worker, (n, frame.clone(), pieces.consumer(), reports.producer()));
    let workers = (0..4).map(start).collect::<Result<Vec<_>, _>>()?;
    pieces.put_many(&(0..PIECES).map(|n| (Step::Render, n)).collect::<Vec<_>>())?;
    let mut done = BTreeSet::new();
    while done.len() < 3 * PIECES {
        match reports.get()? {
            Ok(piece) if done.insert(piece) => pieces.put_many(&released(&done, piece))?,
            Ok(_) => {} // it was done twice
            Err(number) => workers[number].kill()?,
        }
    }
    pieces.close()?;
    for death in workers.into_iter().filter_map(|worker| worker.join().err()) {
        println!("a worker ended with half of a piece done: {death}");
    }
    let (file, checksum) = picture::png(WIDTH as u32, &frame.picture.to_vec());
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let path = folder.map_or(env::current_exe()?.with_extension("png"), |folder| folder.join("shm_pipeline.png"));
    fs::write(&path, file)?;
    println!("{WIDTH} x {HEIGHT} pixels, checksum {checksum:08x}: {}", path.display());

    let alone = Frame::new()?;
    for step in [Step::Render, Step::Blur, Step::Develop] {
        (0..HEIGHT).try_for_each(|y| alone.work(step, y))?;
    }
    assert_eq!(alone.picture.to_vec(), frame.picture.to_vec());
    println!("one process alone makes the same");
    Ok(())
}
