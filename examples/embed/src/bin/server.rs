//! A server inside a tokio application, with a process per request: an endless loop or a crash in one of them does not affect
//! the others.
//!
//! `cargo run -p lunatic-example-embed --bin server`, then `curl http://127.0.0.1:8080/anything`, `/loop`, `/trap`.

use std::error::Error;
use std::time::Duration;

use lunatic_executor::embed::{Function, Node, Sandbox, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let node = Node::builder().workers(2).build()?;
    let program = node.load(&wat::parse_str(include_str!("../../plugins/handler.wat"))?)?;
    let handler = node.function(&program, "handle", &Sandbox::new().memory(1 << 20))?;
    let listener = TcpListener::bind(address).await?;
    println!("listening at http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let (node, handler) = (node.clone(), handler.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(&node, &handler, stream).await {
                eprintln!("a request failed: {error}");
            }
        });
    }
}

async fn serve(
    node: &Node,
    handler: &Function,
    mut stream: TcpStream,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut lines = BufReader::new(&mut stream).take(8 << 10).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|header| !header.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or("/").as_bytes();
    let answers = node.mailbox()?;
    let process = handler.spawn(&[Value::I64(answers.id() as i64)])?;
    process.send(0, path)?;
    let (status, body) = tokio::select! {
        biased;
        answer = answers.next() => ("200 OK", answer?.bytes),
        // Messages of a process arrive before its end is reported, so this process has not answered.
        exit = &process => ("500 Internal Server Error", format!("{:?}", exit.kind).into_bytes()),
        () = tokio::time::sleep(PATIENCE) => ("504 Gateway Timeout", b"too slow".to_vec()),
    };
    process.kill();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    Ok(())
}
