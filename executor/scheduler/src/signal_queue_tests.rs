//! Tests of the signal queue. They are not in its file, which the model checker compiles with its own primitives.

use crate::signal_queue::{Queued, SignalQueue};

#[test]
fn a_signal_that_arrives_meanwhile_keeps_a_process_from_resting() {
    let queue = SignalQueue::new();
    assert!(queue.push(Queued::new(1)).is_ok_and(|queue_it| !queue_it), "its spawner queues it");
    assert!(queue.push(Queued::new(2)).is_ok_and(|queue_it| !queue_it));
    let taken: Vec<i32> = queue.take().map(|queued| queued.content).collect();
    assert_eq!(taken, [1, 2]);
    assert!(!queue.has_arrived());
    assert!(queue.push(Queued::new(3)).is_ok_and(|queue_it| !queue_it), "the worker that has it will see it");
    assert!(queue.has_arrived() && !queue.rest());
    assert_eq!(queue.take().count(), 1);
    assert!(queue.rest() && queue.is_idle());
    assert!(queue.push(Queued::new(4)).is_ok_and(|queue_it| queue_it));
    assert!(queue.push(Queued::new(5)).is_ok_and(|queue_it| !queue_it), "it is queued once");
}

#[test]
fn a_requeued_process_keeps_its_signals() {
    let queue = SignalQueue::new();
    drop(queue.take());
    assert!(queue.push(Queued::new(1)).is_ok());
    queue.again();
    assert!(queue.push(Queued::new(2)).is_ok_and(|queue_it| !queue_it));
    assert_eq!(queue.take().count(), 2);
}

#[test]
fn nothing_leaves_the_end() {
    let queue = SignalQueue::new();
    assert!(queue.push(Queued::new("late")).is_ok());
    assert_eq!(queue.close().count(), 1);
    assert!(queue.is_closed() && !queue.is_idle());
    assert_eq!(queue.push(Queued::new("later")).map_err(|queued| queued.content), Err("later"));
}
