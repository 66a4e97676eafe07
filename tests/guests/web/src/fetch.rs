//! Requests with `nightfly`: a client is a process, and makes the requests of all its users one after the other.

use std::time::Duration;

use lunatic::spawn_link;
use nightfly::{Client, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    items: Vec<String>,
}

/// Everything that the server of the test answers; see there.
pub fn fetch(server: &str) {
    let at = |path: &str| format!("http://{server}{path}");
    let client = Client::new();
    texts(&client, at);
    bodies(&client, at);

    let order = Order { id: 7, items: vec!["nail".to_owned(), "näil".to_owned()] };
    let answer = client.post(at("/echo")).json(&order).send().expect("it answers");
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.json::<Order>().expect("it is one"), order);

    let redirected = client.get(at("/redirect")).send().expect("it answers");
    assert_eq!(redirected.url().path(), "/hello");
    assert_eq!(redirected.text().expect("it is text"), "Hello");

    let missing = client.get(at("/missing")).send().expect("it answers");
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(missing.error_for_status().err().expect("an error").status(), Some(StatusCode::NOT_FOUND));

    // Five processes with one client, and each with another of its own.
    let tasks: Vec<_> = (0..5u64)
        .map(|number| {
            spawn_link!(@task |client = { client.clone() }, server = { server.to_owned() }, number| {
                let url = format!("http://{server}/echo");
                for client in [client, Client::new()] {
                    let answer = client.post(&url).text(number.to_string()).send().expect("it answers");
                    assert_eq!(answer.text().expect("it is text"), number.to_string());
                }
                number
            })
        })
        .collect();
    assert_eq!(tasks.into_iter().map(|task| task.result()).sum::<u64>(), 10);

    // The last, as the client waits for its answer still.
    let slow = client.get(at("/slow")).timeout(Duration::from_millis(100)).send();
    assert!(slow.err().expect("it is late").is_timeout());
}

fn texts(client: &Client, at: impl Fn(&str) -> String) {
    let hello = nightfly::get(at("/hello")).expect("it answers");
    assert_eq!((hello.status(), hello.content_length()), (StatusCode::OK, Some(5)));
    assert_eq!(hello.text().expect("it is text"), "Hello");
    for path in ["/chunked", "/gzip", "/deflate"] {
        let answer = client.get(at(path)).send().expect("it answers");
        assert_eq!(answer.text().expect("it is text"), "piece by piece. ".repeat(100), "{path}");
    }
    let asked = client.get(at("/query")).query(&[("name", "a b"), ("more", "ü")]).send().expect("it answers");
    assert_eq!(asked.text().expect("it is text"), "name=a+b&more=%C3%BC");
}

fn bodies(client: &Client, at: impl Fn(&str) -> String) {
    for size in [0, 1, 1000, 100_000, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let answer = client.post(at("/echo")).body(body.clone()).send().expect("it answers");
        assert!(answer.bytes().expect("it has a body") == body, "{size} bytes");
    }
}

/// Failed connections and untrusted certificates are errors.
pub fn fetch_failing(url: &str) {
    let error = nightfly::get(url).err().expect("it fails");
    println!("{error}");
}
