//! Light, and the file of a picture.

/// Adds to each number the light of another one, so far away.
pub(crate) fn add(sum: &mut [f32], light: &[f32], distance: usize) {
    let weight = 0.06 / (1.0 + (distance * distance) as f32 / 30.0);
    sum.iter_mut().zip(light).for_each(|(sum, light)| *sum += weight * light);
}

/// How a point shines: a little for each time that it comes near an axis, or a circle, on its way.
pub(crate) fn light(x: f32, y: f32) -> [f32; 3] {
    let (mut zx, mut zy) = (x, y);
    let (mut rgb, mut fade, mut warm) = ([0.003, 0.004, 0.01], 1.3, 1.0);
    while zx * zx + zy * zy < 30.0 && fade > 0.001 {
        (zx, zy) = (zx * zx - zy * zy - 0.4, 2.0 * zx * zy + 0.6);
        let (axis, circle) = (zx.abs().min(zy.abs()) / 0.004, ((zx * zx + zy * zy).sqrt() - 0.35) / 0.01);
        let (axis, circle) = (fade / (1.0 + axis * axis), fade / (1.0 + circle * circle));
        let colors = [(0.2 + 0.9 * warm, 0.05), (0.1 + 0.5 * warm, 0.35), (0.55 - 0.4 * warm, 1.1)];
        (0..3).for_each(|k| rgb[k] += axis * colors[k].0 + circle * colors[k].1);
        (fade, warm) = (0.93 * fade, 0.95 * warm);
    }
    rgb
}

/// The least that is a PNG: eight bits each for red, green and blue, not filtered and not compressed. Also the Adler-32 that is in it.
pub(crate) fn png(width: u32, picture: &[u8]) -> (Vec<u8>, u32) {
    let len = 3 * width as u16 + 1;
    let lines = picture.chunks(3 * width as usize).map(|line| [&[0], line].concat());
    let height = lines.len() as u32;
    // A block of zlib, not compressed, for each line. The last one says so.
    let (mut zlib, mut a, mut b) = (vec![0x78, 1], 1, 0);
    for (y, line) in (1..).zip(lines) {
        zlib.push(u8::from(y == height));
        zlib.extend([len.to_le_bytes(), (!len).to_le_bytes()].as_flattened());
        zlib.extend(&line);
        for byte in line {
            a = (a + u32::from(byte)) % 65521;
            b = (b + a) % 65521;
        }
    }
    let checksum = b << 16 | a;
    zlib.extend(checksum.to_be_bytes());

    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", zlib), (b"IEND", vec![])] {
        let chunk = [&kind[..], &data].concat();
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(&chunk);
        file.extend(crc32fast::hash(&chunk).to_be_bytes());
    }
    (file, checksum)
}
