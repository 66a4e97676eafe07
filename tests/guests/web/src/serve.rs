//! A server made with `submillisecond`: a process for each connection, and one for each request.

use std::collections::HashMap;

use lunatic_log::LevelFilter;
use lunatic_log::subscriber::fmt::FmtSubscriber;
use serde::{Deserialize, Serialize};
use submillisecond::extract::{Query, Splat};
use submillisecond::http::StatusCode;
use submillisecond::params::Params;
use submillisecond::response::Response;
use submillisecond::state::State;
use submillisecond::websocket::{Message, WebSocket, WebSocketUpgrade};
use submillisecond::{Application, Guard, Json, NamedParam, RequestContext, router, static_router};

/// Serves until it is killed. The log says where, and at the level `trace` each request.
pub fn serve(level: &str) {
    let level = if level == "trace" { LevelFilter::Trace } else { LevelFilter::Error };
    lunatic_log::init(FmtSubscriber::new(level));
    State::init(Count(0));
    Application::new(router! {
        with timed;

        GET "/" => index
        HEAD "/" => index
        GET "/hello/:name/:times" => hello
        GET "/path/:number" => path
        GET "/search" => search
        GET "/rest-*" => rest
        GET "/large/:number" => large
        GET "/count" => count
        GET "/panic" => panics
        GET "/trap" => traps
        GET "/slow/:number" => slow
        POST "/echo" => echo
        POST "/size" => size
        PUT "/order" => order
        DELETE "/order/:number" => delete
        GET "/socket" => socket
        "/api" if Key => {
            GET "/secret" => secret
        }
        "/files" => static_router!("./static", missing)
        _ => missing
    })
    .serve("127.0.0.1:0")
    .expect("it can listen");
}

/// A middleware: it sees what is asked and what is answered.
fn timed(request: RequestContext) -> Response {
    let method = request.method().clone();
    let mut response = request.next_handler();
    response.headers_mut().insert("x-method", method.as_str().parse().expect("a method is a good value"));
    response
}

fn index() -> &'static str {
    "Hello from a guest!"
}

fn hello(params: Params) -> String {
    let times = params.get("times").and_then(|times| times.parse().ok()).unwrap_or(1);
    format!("Hello, {}! ", params.get("name").unwrap_or("nobody")).repeat(times)
}

/// A parameter with a type. (The framework's `Path` is not used: in this version it panics wherever it is.)
#[derive(NamedParam)]
#[param(name = "number")]
struct Number(u32);

fn path(Number(number): Number) -> String {
    format!("{}", u64::from(number) + 1)
}

fn search(Query(query): Query<HashMap<String, String>>) -> String {
    let mut pairs: Vec<_> = query.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort();
    pairs.join("\n")
}

fn rest(Splat(rest): Splat) -> String {
    rest
}

fn large(Number(size): Number) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

/// A process that all requests of this server share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Count(u64);

fn count(mut count: State<Count>) -> String {
    count.set(Count(count.0 + 1));
    count.0.to_string()
}

fn panics() -> &'static str {
    panic!("a handler's panic")
}

fn traps() -> &'static str {
    std::process::abort()
}

fn slow(Number(milliseconds): Number) -> &'static str {
    lunatic::sleep(std::time::Duration::from_millis(milliseconds.into()));
    "at last"
}

fn echo(body: Vec<u8>) -> Vec<u8> {
    body
}

fn size(body: Vec<u8>) -> String {
    body.len().to_string()
}

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    items: Vec<String>,
    note: Option<String>,
}

/// Answers with the order as it was understood.
fn order(Json(mut order): Json<Order>) -> (StatusCode, Json<Order>) {
    order.items.sort();
    (StatusCode::CREATED, Json(order))
}

fn delete(Number(id): Number) -> (StatusCode, String) {
    (StatusCode::ACCEPTED, format!("order {id} is gone"))
}

/// Lets pass who knows the key.
struct Key;

impl Guard for Key {
    fn check(&self, request: &RequestContext) -> bool {
        request.headers().get("x-key").is_some_and(|key| key == "open sesame")
    }
}

fn secret() -> &'static str {
    "forty-two"
}

fn missing() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "there is nothing here")
}

/// Answers each text with the same in capitals.
fn socket(socket: WebSocket) -> WebSocketUpgrade {
    socket.on_upgrade((), |mut connection, ()| {
        loop {
            match connection.read_message() {
                Ok(Message::Text(text)) => {
                    let answer = Message::text(text.to_uppercase());
                    connection.write_message(answer).expect("it listens");
                }
                Ok(Message::Close(_)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    })
}
