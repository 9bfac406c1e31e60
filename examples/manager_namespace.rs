//! Attributes that processes share, of a type each. Where Python says `using_ns.x += 5` two things are done, also there: reading and
//! writing. A process that comes in between would lose its change, so those which change the same attribute need a lock.
#![forbid(unsafe_code)]

use ipc_manager::{Lock, Manager, Namespace, Process, Result};

fn add(using_ns: &Namespace, name: &str, n: i32) -> Result<()> {
    let old: i32 = using_ns.get(name)?.expect("it was set");
    using_ns.set(name, &(old + n))
}

fn mng_na_sp(using_ns: Namespace) {
    add(&using_ns, "x", 5).expect("the server runs");
    let y: i32 = using_ns.get("y").expect("the server runs").expect("it was set");
    using_ns.set("y", &(y * 10)).expect("the server runs");
}

/// One of several.
fn add_often((using_ns, lock): (Namespace, Lock)) {
    for _ in 0..30 {
        let _guard = lock.lock().expect("nobody dies with it");
        add(&using_ns, "x", 1).expect("the server runs");
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let using_ns = manager.namespace()?;
    using_ns.set("x", &1)?;
    using_ns.set("y", &1)?;
    println!("before {using_ns}");
    Process::spawn(mng_na_sp, using_ns.clone())?.join()?;
    println!("after {using_ns}");

    let lock = manager.lock()?;
    let adders = [(); 3].map(|()| Process::spawn(add_often, (using_ns.clone(), lock.clone())));
    for adder in adders {
        adder?.join()?;
    }
    println!("after 3 times 30 more: {using_ns}");

    // What it is for: values that have nothing else in common.
    using_ns.set("title", "Multiprocessing")?;
    using_ns.set("sizes", &vec![1.5, 2.5])?;
    using_ns.remove("y")?;
    println!("{using_ns}");
    println!("as a number: {}", using_ns.get::<i32>("title").expect_err("it is a text"));
    println!("one that is not there: {:?}", using_ns.get::<i32>("y")?);
    Ok(())
}
