//! Every call of a queue once, in one process: what it says when there is no room, nothing to take, or nothing more to come. Each has a form that
//! does not wait, and one that waits for so long; the value that found no room comes back in the error.
#![forbid(unsafe_code)]

use std::time::Duration;

use ipc_queue::Queue;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let soon = Duration::from_millis(10);
    let queue = Queue::<String>::bounded(2)?;
    println!("room for {:?}, empty: {}, full: {}", queue.capacity(), queue.is_empty(), queue.is_full());

    queue.put("first".to_string())?;
    queue.put_timeout("second".to_string(), soon)?;
    println!("{} in it, full: {}", queue.len(), queue.is_full());
    let refused = queue.try_put("third".to_string()).unwrap_err();
    println!("try_put of {:?}: {}", refused.value, refused.error);
    let refused = queue.put_timeout(refused.value, soon).unwrap_err();
    println!("put_timeout of {:?}: {}", refused.value, refused.error);

    println!("get: {}", queue.get()?);
    queue.put(refused.value)?;
    println!("get_many: {:?}", queue.get_many(10)?);
    println!("try_get: {}", queue.try_get().unwrap_err());
    println!("get_timeout: {}", queue.get_timeout(soon).unwrap_err());

    queue.put("the last".to_string())?;
    queue.close()?; // for everybody, as against Python's
    println!("put: {}", queue.put("too late".to_string()).unwrap_err());
    println!("get: {}", queue.get()?);
    println!("get: {}", queue.get().unwrap_err());
    Ok(())
}
