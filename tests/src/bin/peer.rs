//! A program that is not the tests' own: it spawns under circumstances that are named by its first argument.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write;
use std::os::fd::AsFd;

use ipc_core::Process;

fn main() {
    let action = std::env::args().nth(1).unwrap_or_default();
    let result = match action.as_str() {
        "spawn" => spawn(),
        "delete-self" => change_self(|program| std::fs::remove_file(program)),
        "replace-self" => change_self(|program| {
            std::fs::remove_file(program)?;
            std::fs::write(program, "another program")
        }),
        "stdin" => stdin(),
        "closed-standard" => closed_standard(),
        "few-files" => few_files(),
        "plugin" => plugin(),
        other => Err(format!("unknown action `{other}`").into()),
    };
    if let Err(error) = result {
        let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
        println!("error: {error}{cause}");
    }
}

fn spawn() -> Result<(), Box<dyn Error>> {
    println!("spawned: {}", Process::spawn(|(a, b): (i32, i32)| a * b, (6, 7))?.join()?);
    Ok(())
}

fn change_self(change: fn(&std::path::Path) -> std::io::Result<()>) -> Result<(), Box<dyn Error>> {
    change(&std::env::current_exe()?)?;
    spawn()
}

fn stdin() -> Result<(), Box<dyn Error>> {
    let child = Process::spawn(|()| std::io::read_to_string(std::io::stdin()).unwrap_or_default(), ())?;
    println!("{}", child.join()?);
    Ok(())
}

fn closed_standard() -> Result<(), Box<dyn Error>> {
    let kept = std::io::stdout().as_fd().try_clone_to_owned()?;
    for fd in 0..3 {
        ipc_tests::raw::close(fd);
    }
    let child = Process::spawn(
        |n: i32| {
            let name = |fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
            ([0, 1, 2].map(|fd| name(fd).display().to_string()).join(" "), n)
        },
        7,
    )?;
    let (open, n) = child.join()?;
    writeln!(std::fs::File::from(kept), "{open} are open, {n}")?;
    Ok(())
}

fn few_files() -> Result<(), Box<dyn Error>> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Whatever step it fails at, it is said why, and the next attempt is not spoilt.
    for files in 3..10 {
        setrlimit(Resource::RLIMIT_NOFILE, files, most)?;
        let refused = spawn().err();
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        if let Some(error) = refused {
            let cause = error.source().map_or(String::new(), |cause| cause.to_string());
            if !cause.contains("Too many open files") {
                return Err(error);
            }
        }
    }
    spawn()
}

fn plugin() -> Result<(), Box<dyn Error>> {
    // Cargo puts the library beside the test binaries or beside this program.
    let folder = std::env::current_exe()?.parent().ok_or("no folder")?.to_path_buf();
    let files = [folder.clone(), folder.join("deps")].into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut files = files.flatten().flatten().map(|entry| entry.path());
    let is_plugin = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("libipc_tests") && name.ends_with(".so")
    };
    let plugin = files.find(is_plugin).ok_or("the plug-in was not built")?;
    println!("{:?}", ipc_tests::raw::spawn_in_plugin(&plugin));
    Ok(())
}
