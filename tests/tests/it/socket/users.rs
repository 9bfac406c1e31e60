//! Who may connect to whom, with a process of another user.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;

use ipc_socket::{Allow, Peer};
use ipc_tests::isolated;
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

use super::*;

const NOBODY: u32 = 65534;

/// Whether a process may become another user's; if not, says that the test is not run.
fn may_become_another() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("not run: only root can start a process of another user");
    }
    root
}

fn become_nobody() {
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(NOBODY)).unwrap();
    setuid(Uid::from_raw(NOBODY)).unwrap();
}

/// What became of a stranger's attempt to connect.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Fate {
    In,
    ShutOut,
    NoPermission,
}

/// Has a process of another user connect.
fn stranger(address: &Address) -> Process<Fate> {
    Process::spawn(
        |address: Address| {
            become_nobody();
            match keyed().connect_timeout::<Vec<u8>, Vec<u8>, Bytes, _>(address, LONG) {
                Ok(mut conn) => {
                    talk(&mut conn);
                    Fate::In
                }
                Err(Error::Disconnected) => Fate::ShutOut,
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                    Fate::NoPermission
                }
                Err(error) => panic!("{error:?}"),
            }
        },
        address.clone(),
    )
    .unwrap()
}

/// What the listener says of one whom it does not let in.
fn refusal(listener: &Server, refusals: &mpsc::Receiver<String>) -> String {
    let mut said = None;
    eventually("he is refused", || {
        assert!(listener.accept_timeout(SHORT / 10).is_err_and(|error| error.is_timeout()));
        said = refusals.try_recv().ok();
        said.is_some()
    });
    said.unwrap()
}

#[test]
fn another_user_is_kept_out_by_who_he_is_though_he_has_the_key_and_the_right_to_the_file() {
    isolated(|| {
        if !may_become_another() {
            return;
        }
        for address in [free_path(), Address::abstract_name(unique_name())] {
            let (sender, refusals) = mpsc::channel();
            let tell = move |refusal: &ipc_socket::Refusal| {
                let peer = refusal.peer.map(|peer| peer.to_string());
                drop(sender.send(format!("{} {}", refusal.error, peer.unwrap_or_default())));
            };
            let listener: Server = with_key().mode(0o666).on_refused(tell).bind(&address).unwrap();
            let process = stranger(&address);
            let pid = process.pid();
            let said = refusal(&listener, &refusals);
            assert!(
                said.contains("not let in") && said.ends_with(&format!("process {pid} of user {NOBODY}")),
                "{said}"
            );
            assert_eq!(process.join().unwrap(), Fate::ShutOut, "{address}");
            assert!(serve_one(&listener, &address) < SOON);
            drop(listener);

            for allow in [Allow::Users(vec![NOBODY]), Allow::Anyone] {
                let listener: Server = with_key().mode(0o666).allow(allow).bind(&address).unwrap();
                let process = stranger(&address);
                let conn: Plain = listener.accept_timeout(LONG).unwrap();
                let peer = Peer::of(&conn).unwrap();
                assert!(
                    matches!(peer, Peer::Local { pid, uid: NOBODY, gid: NOBODY } if pid == process.pid()),
                    "{peer:?}"
                );
                echo(conn);
                assert_eq!(process.join().unwrap(), Fate::In);
            }
        }
    });
}

#[test]
fn the_mode_of_the_file_keeps_another_user_out() {
    isolated(|| {
        if !may_become_another() {
            return;
        }
        let address = free_path();
        let listener: Server = with_key().allow(Allow::Anyone).bind(&address).unwrap();
        assert_eq!(stranger(&address).join().unwrap(), Fate::NoPermission);
        assert!(listener.try_accept().is_err_and(|error| error.is_would_block()));
    });
}

#[test]
fn root_is_let_in_unless_only_others_are_named() {
    isolated(|| {
        if !may_become_another() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        for (allow, lets_in) in [(None, true), (Some(vec![NOBODY]), false)] {
            let address = Address::unix(folder.path().join("socket"));
            let server =
                Other::until((address.clone(), allow), |(address, allow): (Address, Option<Vec<u32>>), line| {
                    become_nobody();
                    let mut builder = with_key();
                    if let Some(users) = allow {
                        builder = builder.allow(Allow::Users(users));
                    }
                    let listener: Server = builder.bind(address).unwrap();
                    line.tell();
                    // Ends when the test does.
                    while let Err(error) = listener.accept_timeout(SHORT).map(echo) {
                        assert!(error.is_timeout(), "{error:?}");
                        if !line.0.try_recv().is_err_and(|error| error.is_would_block()) {
                            return;
                        }
                    }
                });
            let ours = keyed().connect_timeout::<Vec<u8>, Vec<u8>, Bytes, _>(&address, LONG);
            match ours {
                Ok(mut conn) => {
                    assert!(lets_in);
                    talk(&mut conn);
                }
                Err(error) => assert!(!lets_in && error.is_disconnected(), "{error:?}"),
            }
            server.finish();
            assert!(!file(&address).unwrap().exists());
        }
    });
}

/// A name that is no file is there for whoever comes first.
#[test]
fn a_client_does_not_talk_to_the_server_of_another_user_if_it_does_not_want_to() {
    isolated(|| {
        if !may_become_another() {
            return;
        }
        let address = Address::abstract_name(unique_name());
        let server = Other::until(address.clone(), |address: Address, line| {
            become_nobody();
            let _listener: Server = with_key().allow(Allow::Anyone).bind(address).unwrap();
            line.tell_and_wait();
        });
        for allow in [Allow::Users(vec![geteuid().as_raw()]), Allow::SameUser] {
            let result = keyed().allow(allow).connect_timeout::<(), (), Bytes, _>(&address, LONG);
            match result {
                Err(Error::NotAllowed { peer: Peer::Local { pid, uid: NOBODY, .. } }) => assert_eq!(pid, server.pid()),
                other => panic!("{other:?}"),
            }
        }
        server.finish();
    });
}

/// In a folder such as /tmp, everybody may make names, but remove only his own.
#[test]
fn another_user_cannot_take_over_what_a_dead_server_has_left() {
    isolated(|| {
        if !may_become_another() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        let path = folder.path().join("socket");
        for mode in [0o600, 0o666] {
            drop(UnixListener::bind(&path).unwrap()); // which leaves the file
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let address = Address::unix(&path);
            let before = inode(&address);
            let stranger = Other::until(address.clone(), |address: Address, line| {
                become_nobody();
                let error = Server::bind(&address).unwrap_err();
                assert!(matches!(error, Error::InUse { .. } | Error::Io { .. }), "{error:?}");
                line.tell_and_wait();
            });
            assert_eq!(inode(&address), before);
            let listener: Server = with_key().bind(&address).unwrap();
            serve_one(&listener, &address);
            stranger.finish();
        }
    });
}
