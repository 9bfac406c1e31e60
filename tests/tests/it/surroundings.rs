//! What a spawned process finds around it, and programs in which spawning must fail with a clear error.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use ipc_core::{Builder, Process, Stdio};
use ipc_tests::isolated;

/// A small program that spawns; see its source for what it does by name.
const PEER: &str = env!("CARGO_BIN_EXE_peer");

#[test]
fn environment_directory_arguments_and_name_are_as_asked() {
    isolated(|| {
        let child = Builder::new()
            .name("a long name of a process")
            .env("GONE", "1")
            .env_clear()
            .env("KEPT", "yes")
            .env("REMOVED", "1")
            .env_remove("REMOVED")
            .current_dir("/usr")
            .core_dumps(false)
            .spawn(
                |()| {
                    let environment: Vec<_> = std::env::vars().collect();
                    let directory = std::env::current_dir().unwrap();
                    let command = std::fs::read_to_string("/proc/self/comm").unwrap();
                    let (core, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
                    (environment, directory, std::env::args().collect::<Vec<_>>(), command, core <= 1)
                },
                (),
            )
            .unwrap();
        let (environment, directory, arguments, command, no_core) = child.join().unwrap();
        // The mark of a child survives the clearing and is gone before user code runs.
        assert_eq!(environment, [("KEPT".to_string(), "yes".to_string())]);
        assert_eq!(directory, Path::new("/usr"));
        assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
        assert_eq!(command.trim(), "a long name of");
        assert!(no_core);

        let child = Process::spawn(|()| std::fs::read_to_string("/proc/self/comm").unwrap(), ());
        let program = std::env::current_exe().unwrap();
        assert!(program.file_name().unwrap().to_str().unwrap().starts_with(child.unwrap().join().unwrap().trim()));
    });
}

#[test]
fn programs_that_a_child_starts_are_not_taken_for_children() {
    isolated(|| {
        let child = Process::spawn(
            |()| Command::new("/proc/self/exe").arg("--list").output().map(|output| output.status.success()).unwrap(),
            (),
        );
        assert_eq!(child.unwrap().join(), Ok(true));
    });
}

#[test]
fn standard_streams_are_as_asked() {
    isolated(|| {
        let (mut read, write) = std::os::unix::net::UnixStream::pair().unwrap();
        let (mut read_err, write_err) = std::os::unix::net::UnixStream::pair().unwrap();
        let child = Builder::new()
            .stdin(tempfile_with("from a file"))
            .stdout(OwnedFd::from(write))
            .stderr(OwnedFd::from(write_err))
            .spawn(
                |()| {
                    let text = std::io::read_to_string(std::io::stdin()).unwrap();
                    print!("[{text}]"); // no line end: it must be flushed at the end
                    eprint!("({text})");
                },
                (),
            )
            .unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "[from a file]");
        text.clear();
        read_err.read_to_string(&mut text).unwrap();
        assert_eq!(text, "(from a file)");
        child.join().unwrap();

        let child = Builder::new().stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null).spawn(
            |()| {
                let names = [0, 1, 2].map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
                (names.map(|name| name.display().to_string()), open_files())
            },
            (),
        );
        let (names, others) = child.unwrap().join().unwrap();
        assert_eq!(names, ["/dev/null"; 3]);
        // Nothing is open that was not inheritable here already, but the way to the parent.
        let own = open_files();
        let new: Vec<_> = others.iter().filter(|file| !own.contains(file)).collect();
        assert!(new.len() == 1 && new[0].starts_with("socket:"), "{new:?}");
    });
}

#[test]
fn the_standard_input_of_the_parent_is_inherited() {
    let output = peer(&["stdin"], |command| {
        command.stdin(std::process::Stdio::from(tempfile_with("two words")));
    });
    assert_eq!(output, "two words");
}

fn open_files() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let files = entries.filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string()));
    files.filter(|file| !file.starts_with("/proc") && file != "/dev/null").collect()
}

fn tempfile_with(text: &str) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

#[test]
fn missing_standard_descriptors_are_opened() {
    assert_eq!(peer(&["closed-standard"], |_| {}), "/dev/null /dev/null /dev/null are open, 7");
}

#[test]
fn writing_to_a_closed_pipe_is_an_error_in_a_child_and_no_signal() {
    isolated(|| {
        let (read, write) = nix::unistd::pipe().unwrap();
        drop(read);
        let child = Process::spawn(
            |write: ipc_core::Handle| {
                let error = std::fs::File::from(write.into_fd().unwrap()).write(b"x").unwrap_err();
                error.kind() == std::io::ErrorKind::BrokenPipe
            },
            ipc_core::Handle::from(write),
        );
        assert_eq!(child.unwrap().join(), Ok(true));
    });
}

#[test]
fn two_copies_of_the_crate_spawn_side_by_side_and_in_each_other() {
    isolated(|| {
        // The constructor of the copy that comes later runs in the child of the other one too, else this would be an error.
        let child = Process::spawn(
            |n: u32| {
                ipc_core_again::Process::spawn(|n: u32| n + 1, n)
                    .map_err(|e| e.to_string())?
                    .join()
                    .map_err(|e| e.to_string())
            },
            1,
        );
        assert_eq!(child.unwrap().join(), Ok(Ok::<_, String>(2)));
        let child = ipc_core_again::Process::spawn(
            |n: u32| Process::spawn(|n: u32| n + 2, n).map_err(|e| e.to_string())?.join().map_err(|e| e.to_string()),
            1,
        );
        assert_eq!(child.unwrap().join(), Ok(Ok::<_, String>(3)));
    });
}

#[test]
fn a_program_spawns_after_its_file_was_deleted_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for replaced in [false, true] {
        let program = folder.path().join(if replaced { "replaced" } else { "deleted" });
        std::fs::copy(PEER, &program).unwrap();
        let output = run(Command::new(&program).arg(if replaced { "replace-self" } else { "delete-self" }));
        assert_eq!(text(&output), "spawned: 42");
    }
}

#[test]
fn a_path_with_blanks_and_line_ends_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a b\nc \\012 (deleted)");
    std::fs::copy(PEER, &program).unwrap();
    assert_eq!(text(&run(Command::new(&program).arg("spawn"))), "spawned: 42");
}

#[test]
fn a_strange_mark_in_the_environment_is_ignored() {
    for mark in ["", "x", "1.2.3", "ffffffffffffffff.ffffffffffffffff.ffffffffffffffff"] {
        assert_eq!(
            peer(&["spawn"], |command| {
                command.env("IPC_CORE_CHILD", mark);
            }),
            "spawned: 42",
            "{mark}"
        );
    }
}

#[test]
fn started_through_the_loader_is_a_clear_error() {
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let loader = loaders.into_iter().find(|loader| Path::new(loader).exists()).expect("a glibc system has a loader");
    let output = text(&run(Command::new(loader).arg(PEER).arg("spawn")));
    assert!(output.starts_with("error: cannot spawn: the program was started through the dynamic loader"), "{output}");
}

#[test]
fn from_a_plug_in_is_a_clear_error() {
    let output = peer(&["plugin"], |_| {});
    assert!(output.starts_with("Err(\"cannot spawn: this code is a plug-in of another program"), "{output}");
}

#[test]
fn with_set_user_id_is_a_clear_error() {
    if !nix::unistd::geteuid().is_root() {
        println!("not run: only root can make a program of another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("peer");
    std::fs::copy(PEER, &program).unwrap();
    let nobody = 65534;
    std::os::unix::fs::chown(&program, Some(nobody), Some(nobody)).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
    let output = text(&run(Command::new(&program).arg("spawn")));
    if output == "spawned: 42" {
        println!("not run: this file system does not honour set-user-ID");
    } else {
        assert!(output.starts_with("error: cannot spawn: the program runs with set-user-ID"), "{output}");
    }
}

#[test]
fn at_the_limit_of_files_is_a_clear_error_and_spoils_nothing() {
    let output = peer(&["few-files"], |_| {});
    assert!(output.lines().all(|line| line == "spawned: 42") && !output.is_empty(), "{output}");
}

fn peer(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> String {
    let mut command = Command::new(PEER);
    command.args(arguments).arg0("peer");
    prepare(&mut command);
    text(&run(&mut command))
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}
