//! What a server knows: who is connected, which objects there are, how much is in them, how many hold them, and who has a lock. So it can be
//! seen why an object is still there, or who keeps the others waiting. Python has `_debug_info`, as a text.
#![forbid(unsafe_code)]

use std::thread;

use ipc_manager::{Dict, Event, Lock, Manager, Process, Stats};

fn hold((lock, dict, held): (Lock, Dict<String, u32>, Event)) {
    let _guard = lock.lock().expect("it is free");
    dict.insert(&"by the child".to_string(), &1).expect("the server runs");
    held.set().expect("the server runs");
    loop {
        thread::park(); // with the lock, until the parent kills it
    }
}

/// All objects, one in a line; of the owner of a lock it says whether it is process `pid`.
fn print(stats: &Stats, pid: u32) {
    println!("{} connected, {} objects", stats.clients, stats.objects.len());
    for object in &stats.objects {
        let name = object.name.as_deref().unwrap_or("-");
        let owner = object.owner.as_ref().map_or("", |o| if o.pid == pid { "  the child has it" } else { "  who?" });
        let types = object.types.replace("alloc::string::", "").replace("ipc_manager::dict::", "");
        println!("  {name:<6} {:?} [{types}]  len {}, held by {}{owner}", object.kind, object.len, object.references);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let before = manager.stats()?;
    let (prices, lock, held) = (manager.dict::<String, u32>()?, manager.lock()?, manager.event()?);
    manager.publish("prices", &prices)?;
    prices.insert(&"apple".to_string(), &3)?;
    let shelves = manager.list_of([prices.clone(), prices.clone()])?;
    print(&manager.stats()?, 0);

    let child = Process::spawn(hold, (lock.clone(), prices.clone(), held.clone()))?;
    held.wait()?;
    println!("with a child:");
    print(&manager.stats()?, child.pid());

    child.kill()?;
    println!("after its end: {}", lock.lock().expect_err("its owner died"));
    drop((lock, held, shelves));
    println!("when only the name is left:");
    drop(prices);
    print(&manager.stats()?, child.pid());
    manager.unlink("prices")?;
    let after = manager.stats()?;
    print(&after, child.pid());

    println!("calls are counted: {}", after.calls > before.calls);
    println!("and the time: {}", after.uptime > before.uptime);
    println!("after that: {}", manager.open::<Dict<String, u32>>("prices").expect_err("it is gone"));
    child.join().expect_err("it was killed");
    Ok(())
}
