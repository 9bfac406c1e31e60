//! Two processes take turns: one offers products, the other one answers each. In a queue that both of them put into and take
//! from, a process may get back what it has put itself. So there are two queues here, and of each a process has one end only.
#![forbid(unsafe_code)]

use ipc_queue::{Consumer, Process, Producer, Queue};

fn producer((products, answers): (Producer<String>, Consumer<String>)) {
    for product in ["Orange", "Apple", ""] {
        println!("put product: {product} to queue");
        products.put(product.to_string()).expect("the consumer is there");
        println!("consumer result: {}", answers.get().expect("the consumer answers"));
    }
}

fn consumer((products, answers): (Consumer<String>, Producer<String>)) {
    loop {
        let product = products.get().expect("an empty product comes last");
        println!("get product: {product} from queue");
        answers.put("suc!".to_string()).expect("the producer waits for it");
        if product.is_empty() {
            return;
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // How not to do it: who puts, and then waits for an answer in the same queue, takes its own question.
    let both_ways: Queue<String> = Queue::bounded(1)?;
    both_ways.put("Orange".to_string())?;
    let refused = both_ways.try_put("Apple".to_string()).expect_err("there is room for one");
    println!("no room for {}: {}", refused.value, refused.error);
    println!("with one queue for both ways, the answer is {}", both_ways.get()?);

    // All four ends go to the two: if one of them died, the other one would be told.
    let (put_product, get_product) = Queue::bounded(1)?.split();
    let (put_answer, get_answer) = Queue::bounded(1)?.split();
    let p = Process::spawn(producer, (put_product, get_answer))?;
    let c = Process::spawn(consumer, (get_product, put_answer))?;
    p.join()?;
    c.join()?;
    Ok(())
}
