//! Gets a child to its function before `main` is called.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use super::image::Image;
use super::{child, entry};

/// The dynamic section's entries for the array of constructors: its address and its size in bytes.
const DT_INIT_ARRAY: usize = 25;
const DT_INIT_ARRAYSZ: usize = 27;

type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

#[used]
// SAFETY: the C library calls the functions in this section before `main` with exactly these arguments (glibc, Linux).
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: Constructor = constructor;

/// Whoever calls this has the constructor in the program.
pub(super) fn link() {
    std::hint::black_box(&CONSTRUCTOR);
}

extern "C" fn constructor(argc: c_int, argv: *const *const c_char, environment: *const *const c_char) {
    let Some(run) = entry::begin() else { return };
    // The function will not return, so the constructors behind this one have to run first: it may need what they set up.
    let all = constructors(&Image::of_program());
    let own = all.iter().position(|&address| address == constructor as Constructor as usize);
    for &address in own.map_or(&[][..], |own| &all[own + 1..]) {
        // SAFETY: the image names it as a constructor, to be called with these arguments, once, at this time.
        unsafe { std::mem::transmute::<usize, Constructor>(address)(argc, argv, environment) }
    }
    child::start(run)
}

/// The addresses of the program's constructors, in the order in which they run.
fn constructors(image: &Image) -> Vec<usize> {
    let entries = words(image, image.dynamic.start, image.dynamic.len() / 8);
    let entry = |tag| entries.chunks_exact(2).take_while(|e| e[0] != 0).find(|e| e[0] == tag).map(|e| e[1]);
    let (Some(start), Some(size)) = (entry(DT_INIT_ARRAY), entry(DT_INIT_ARRAYSZ)) else { return Vec::new() };
    let constructors = words(image, image.base().wrapping_add(start), size / 8);
    constructors.into_iter().filter(|&address| image.is_code(address)).collect()
}

fn words(image: &Image, address: usize, count: usize) -> Vec<usize> {
    if !image.contains(address, count.saturating_mul(8)) || address % 8 != 0 {
        return Vec::new();
    }
    // SAFETY: the range is inside a readable segment and aligned; the loader has finished with it.
    (0..count).map(|i| unsafe { std::ptr::read((address as *const usize).add(i)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constructor_is_among_those_of_the_program() {
        assert!(constructors(&Image::of_program()).contains(&(constructor as Constructor as usize)));
    }
}
