//! The program's image in memory: where it lies, what of it is code, which constructors it has.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use crate::Error;

/// The main program as the loader has mapped it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    base: usize,
    /// Address ranges that are mapped readable, and whether they are executable.
    segments: Vec<(Range<usize>, bool)>,
    /// The dynamic section; a statically linked program that cannot be moved has none.
    pub(super) dynamic: Range<usize>,
}

impl Image {
    /// The program this code runs in. Not of a library that it has loaded.
    pub(crate) fn of_program() -> Image {
        extern "C" fn first(info: *mut libc::dl_phdr_info, _size: usize, image: *mut c_void) -> c_int {
            // SAFETY: `image` is what is passed below. The loader passes an entry that is valid during the call, with
            // `dlpi_phnum` program headers.
            let (info, image) = unsafe { (&*info, &mut *image.cast::<Image>()) };
            // SAFETY: as above.
            let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
            image.base = info.dlpi_addr as usize;
            for header in headers {
                let start = image.base.wrapping_add(header.p_vaddr as usize);
                let range = start..start.saturating_add(header.p_memsz as usize);
                match header.p_type {
                    libc::PT_LOAD if header.p_flags & libc::PF_R != 0 => {
                        image.segments.push((range, header.p_flags & libc::PF_X != 0));
                    }
                    libc::PT_DYNAMIC => image.dynamic = range,
                    _ => {}
                }
            }
            1 // the program comes first, the libraries behind it are of no interest
        }
        let mut image = Image::default();
        // SAFETY: the callback matches the prototype, does not panic, and keeps nothing of what it is given.
        unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut image).cast()) };
        image
    }

    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Whether these `len` bytes can be read.
    pub(crate) fn contains(&self, address: usize, len: usize) -> bool {
        let Some(end) = address.checked_add(len) else { return false };
        self.segments.iter().any(|(range, _)| range.start <= address && end <= range.end)
    }

    /// Whether code lies there.
    pub(crate) fn is_code(&self, address: usize) -> bool {
        self.segments.iter().any(|(range, executable)| *executable && range.contains(&address))
    }
}

/// Whether a program that is started from `/proc/self/exe` is this one and has `anchor`, a place in this crate, in it. That does
/// not change; only if it cannot be found out now, as too many files are open, it is tried again the next time.
pub(crate) fn check(anchor: usize) -> crate::Result<()> {
    static VERDICT: OnceLock<Result<(), &'static str>> = OnceLock::new();
    if let Some(verdict) = VERDICT.get() {
        return verdict.map_err(Error::CannotSpawn);
    }
    let verdict = examine(anchor).map_err(Error::io("find this program in /proc"))?;
    VERDICT.get_or_init(|| verdict).map_err(Error::CannotSpawn)
}

fn examine(anchor: usize) -> io::Result<Result<(), &'static str>> {
    if !Image::of_program().contains(anchor, 1) {
        return Ok(Err("this code is a plug-in of another program, which cannot be started as a child of its own"));
    }
    let exe = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read("/proc/self/maps")?;
    // The names are compared, not device and inode: on some file systems those of a mapping are not those of the file. The
    // only character that is escaped there is the one that ends a line.
    let exe: Vec<u8> = exe.as_os_str().as_bytes().iter().fold(Vec::new(), |mut name, byte| {
        name.extend_from_slice(if *byte == b'\n' { b"\\012" } else { std::slice::from_ref(byte) });
        name
    });
    Ok(match mapped_file(&maps, anchor) {
        Some(file) if file == exe => Ok(()),
        Some(_) => Err("the program was started through the dynamic loader, which would be started in its place"),
        None => Err("the program's file cannot be found in /proc/self/maps"),
    })
}

/// The file that is mapped at `address`, as proc(5) writes it.
fn mapped_file(maps: &[u8], address: usize) -> Option<&[u8]> {
    maps.split(|byte| *byte == b'\n').find_map(|line| {
        let range = std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?;
        let (start, end) = range.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        if !(hex(start)?..hex(end)?).contains(&address) {
            return None;
        }
        Some(&line[line.iter().position(|byte| *byte == b'/')?..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_address_is_found_whatever_its_name() {
        let maps = b"1000-2000 r--p 0 fe:00 12 /a dir/the app\n2000-3000 rw-p 0 0:0 0 \n3000-4000 r-xp 0 0:0 7 /x\\012y (deleted)\n";
        assert_eq!(mapped_file(maps, 0x1fff), Some(&b"/a dir/the app"[..]));
        assert_eq!(mapped_file(maps, 0x2000), None);
        assert_eq!(mapped_file(maps, 0x3000), Some(&b"/x\\012y (deleted)"[..]));
        assert_eq!(mapped_file(maps, 0x5000), None);
    }

    #[test]
    fn this_program_is_itself_and_a_library_is_not() {
        assert!(check(mapped_file as *const () as usize).is_ok());
        let image = Image::of_program();
        assert!(image.is_code(mapped_file as *const () as usize));
        assert!(!image.contains(libc::getpid as *const () as usize, 1), "the C library is not part of the program");
        assert!(!image.contains(usize::MAX, 2));
    }
}
