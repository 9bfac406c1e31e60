use std::thread;

use ipc_manager::{Dict, Error, Kind, List, Value};

use crate::{both, object, server};

#[test]
fn a_name_is_one_objects_and_leads_to_it() {
    let (_server, manager) = both();
    let (list, other) = (manager.list_of([1]).unwrap(), manager.list::<i32>().unwrap());
    manager.publish("numbers", &list).unwrap();
    assert!(matches!(manager.publish("numbers", &other), Err(Error::NameTaken { name }) if name == "numbers"));
    assert!(matches!(manager.publish("more", &list), Err(Error::HasName { name }) if name == "numbers"));
    assert_eq!(manager.open::<List<i32>>("numbers").unwrap(), list);
    let error = manager.open::<List<u64>>("numbers").unwrap_err();
    assert!(matches!(&error, Error::WrongType { kind: Kind::List, types } if types == "i32"), "{error:?}");
    assert_eq!(error.to_string(), "the type of the object is List<i32>");
    let error = manager.open::<Dict<u8, String>>("numbers").unwrap_err();
    assert!(error.to_string().ends_with("List<i32>"), "{error}");
    manager.publish("lock", &manager.lock().unwrap()).unwrap();
    let error = manager.open::<List<u64>>("lock").unwrap_err();
    assert_eq!(error.to_string(), "the type of the object is Lock");
    manager.unlink("lock").unwrap();
    assert!(matches!(manager.open::<Value<i32>>("numbers"), Err(Error::WrongType { .. })));
    assert!(matches!(manager.open::<List<i32>>("none"), Err(Error::NoSuchName { name }) if name == "none"));
    manager.unlink("numbers").unwrap();
    assert!(matches!(manager.unlink("numbers"), Err(Error::NoSuchName { .. })));
    assert!(matches!(manager.open::<List<i32>>("numbers"), Err(Error::NoSuchName { .. })));
    manager.publish("again", &list).unwrap();
}

#[test]
fn a_named_object_survives_all_who_knew_it() {
    let server = server();
    {
        let manager = server.manager().unwrap();
        manager.publish("left", &manager.list_of([1, 2]).unwrap()).unwrap();
    }
    let left = object(&server, 0).unwrap();
    assert_eq!((left.name.as_deref(), left.len, left.kind), (Some("left"), 2, Kind::List));
    assert_eq!(server.manager().unwrap().open::<List<i32>>("left").unwrap().to_vec().unwrap(), [1, 2]);
}

#[test]
fn of_many_who_open_or_create_one_creates() {
    let (server, manager) = both();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let hits = manager.open_or_create("hits", |manager| manager.value(0)).unwrap();
                hits.update(|n| n + 1).unwrap();
            });
        }
    });
    assert_eq!(manager.open::<Value<i32>>("hits").unwrap().get().unwrap(), 8);
    let wrong = manager.open_or_create("hits", |manager| manager.dict::<u8, u8>());
    assert!(matches!(wrong, Err(Error::WrongType { .. })), "{wrong:?}");
    let none: Result<Dict<u8, u8>, _> = manager.open_or_create("none", |_| Err(Error::Unfit));
    assert!(matches!(none, Err(Error::Unfit)));
    crate::wait_for_objects(&server, 1);
}
