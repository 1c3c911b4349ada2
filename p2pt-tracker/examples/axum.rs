//! A tracker at `/announce` of a web server that has other pages, too.
//!
//! `cargo run -p p2pt-tracker --features server --example axum` listens on 127.0.0.1:8000, or on the address given. Peers
//! announce at `ws://127.0.0.1:8000/announce`.

use std::{env, error::Error, net::SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::rt::TokioIo;
use p2pt_tracker::{ServerConfig, TrackerService};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let router = Router::new()
        .route("/", get(async || "The tracker is at /announce.\n"))
        .route("/announce", get(announce))
        .with_state(TrackerService::new(ServerConfig::default()));
    println!("announce at ws://{}/announce", listener.local_addr()?);
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// Accepts the WebSocket, and hands its stream to the tracker once the response has left.
async fn announce(
    State(tracker): State<TrackerService>,
    // Behind a reverse proxy, this is the place to find out whom the request is from.
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    // Also checks that the request is a WebSocket handshake.
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => tracker.serve_upgraded(TokioIo::new(stream), Some(client.ip())).await,
            Err(error) => eprintln!("a client was lost in the handshake: {error}"),
        }
    });
    response
}
