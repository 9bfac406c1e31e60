//! Several processes paint one picture, the Mandelbrot set. Nothing is copied and nobody waits: each takes the next row that
//! nobody has taken, and sets its pixels where they are, in an array that needs no lock.
#![forbid(unsafe_code)]

use ipc_core::scope;
use ipc_shm::{AtomicArray, AtomicValue};
use serde::{Deserialize, Serialize};

const PROCESSES: usize = 4;
const WIDTH: usize = 1600;
const HEIGHT: usize = 1200;

#[derive(Clone, Serialize, Deserialize)]
struct Easel {
    pixels: AtomicArray<u8>,
    next_row: AtomicValue<u32>,
}

/// How long the point takes to run away, or 0 if it stays.
fn escape(x: usize, y: usize) -> u8 {
    let (cx, cy) = (3.0 * x as f64 / WIDTH as f64 - 2.2, 2.4 * y as f64 / HEIGHT as f64 - 1.2);
    let (mut zx, mut zy) = (0.0, 0.0);
    for n in 1..=u8::MAX {
        (zx, zy) = (zx * zx - zy * zy + cx, 2.0 * zx * zy + cy);
        if zx * zx + zy * zy > 4.0 {
            return n;
        }
    }
    0
}

/// Returns how many rows it has painted.
fn paint(easel: Easel) -> usize {
    let pixels = easel.pixels.as_slice();
    let mut rows = 0;
    loop {
        let y = easel.next_row.fetch_add(1) as usize; // a number that nobody else gets
        if y >= HEIGHT {
            return rows;
        }
        for (x, pixel) in pixels[y * WIDTH..][..WIDTH].iter().enumerate() {
            pixel.set(escape(x, y));
        }
        rows += 1;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let easel = Easel { pixels: AtomicArray::zeroed(WIDTH * HEIGHT)?, next_row: AtomicValue::new(0)? };
    let rows = scope(|scope| {
        let painters = [(); PROCESSES].map(|()| scope.spawn(paint, easel.clone()));
        painters.into_iter().map(|painter| Ok(painter?.join()?)).sum::<Result<usize, Box<dyn std::error::Error>>>()
    })??;
    println!("{PROCESSES} processes have painted {rows} rows of {WIDTH} pixels");

    // Row by row, every so often a pixel; also this without a copy.
    let pixels = easel.pixels.as_slice();
    for row in pixels.chunks(WIDTH).skip(HEIGHT / 40).step_by(HEIGHT / 20) {
        let shade = |n: u8| [b'#', b' ', b' ', b'.', b'.', b'-', b'-', b'+', b'+'].get(usize::from(n)).unwrap_or(&b'*');
        let line: Vec<u8> = row.iter().step_by(WIDTH / 64).map(|pixel| *shade(pixel.get())).collect();
        println!("{}", String::from_utf8_lossy(&line).trim_end());
    }
    // FNV-1a
    let sum = pixels
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, pixel| (sum ^ u64::from(pixel.get())).wrapping_mul(0x100_0000_01b3));
    println!("checksum {sum:016x}");
    Ok(())
}
