//! A server that stays: a program starts it and ends, and other programs, which know address and key, find its objects by their names, until
//! one of them shuts it down. Without `stay` it would have ended with who started it. In Python the server is always a child that ends
//! with its parent, unless a program does nothing but serve.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::Command;

use ipc_manager::{Dict, Manager};

type Visits = Dict<String, u32>;

/// The program that starts it.
fn start(address: &str, key: String) -> Result<(), Box<dyn Error>> {
    let manager = Manager::builder().authkey(key).stay().start(address)?;
    let visits: Visits = manager.dict_of([("the founder".to_string(), 1)])?;
    manager.publish("visits", &visits)?;
    println!("the server is started");
    Ok(())
}

/// Any other one.
fn visit(address: &str, key: String, who: &str) -> Result<(), Box<dyn Error>> {
    let manager = Manager::connect(address, key)?;
    let visits: Visits = manager.open("visits")?;
    let count = visits.update(&who.to_string(), |n| n.unwrap_or(0) + 1)?;
    println!("visit {count} of {who}");
    Ok(())
}

/// Nobody can guess it: the standard library has it from the system.
fn random_key() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn run_programs(address: &str, key: &str) -> Result<(), Box<dyn Error>> {
    for arguments in [&["start"][..], &["visit", "Ada"], &["visit", "Grace"], &["visit", "Ada"]] {
        let mut command = Command::new(std::env::current_exe()?);
        let status = command.arg(address).args(arguments).env("MANAGER_KEY", key).status()?;
        if !status.success() {
            return Err(format!("a program has failed: {status}").into());
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [address, "start"] => return start(address, std::env::var("MANAGER_KEY")?),
        [address, "visit", who] => return visit(address, std::env::var("MANAGER_KEY")?, who),
        _ => {}
    }
    let path = std::env::temp_dir().join(format!("manager_server-{}.sock", std::process::id()));
    let (address, key) = (format!("unix:{}", path.display()), random_key());
    let done = run_programs(&address, &key);

    let manager = Manager::connect(&address, key.clone());
    if let Err(error) = done {
        manager?.shutdown()?; // else it would stay
        return Err(error);
    }
    let manager = manager?;
    let visits: Visits = manager.open("visits")?;
    let mut sorted = visits.iter()?.collect::<Result<Vec<_>, _>>()?;
    sorted.sort();
    println!("{sorted:?}");
    let never = manager.event()?;
    manager.shutdown()?;
    println!("who waits for what will not come: {}", never.wait().expect_err("nobody sets it"));
    println!("who comes later gets in: {}", Manager::connect(&address, key).is_ok());
    Ok(())
}
