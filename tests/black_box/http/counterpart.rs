//! The gateway between a client and a provider that share no code with it: monoio-http's codec over
//! monoio-rustls's TLS, on both sides. Raw clients check bytes; this checks that others understand them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use monoio::io::sink::SinkExt;
use monoio::io::stream::Stream;
use monoio::net::{TcpListener, TcpStream};
use monoio_http::common::body::Body;
use monoio_http::h1::codec::decoder::FillPayload;
use monoio_http::h1::codec::{ClientCodec, ServerCodec};
use monoio_http::h1::payload::{FixedPayload, Payload, PayloadError};
use monoio_rustls::{TlsAcceptor, TlsConnector};
use rustls::pki_types::ServerName;

use crate::support::tls::{client_config, pki, server_config};
use crate::support::{KEY, Setup};

/// Runs a future on a runtime of its own.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
        .enable_timer()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A provider that sends every request's content back, with the `Host` it was sent.
fn provider() -> SocketAddr {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = TlsAcceptor::from(server_config(&pki().server));
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                monoio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(ServerCodec::new(stream)).await;
                    }
                });
            }
        });
    });
    told.recv_timeout(Duration::from_secs(10)).unwrap()
}

async fn serve(mut codec: ServerCodec<monoio_rustls::ServerTlsStream<TcpStream>>) {
    while let Some(Ok(request)) = codec.next().await {
        let host = request.headers()["host"].clone();
        if codec.fill_payload().await.is_err() {
            return;
        }
        let content = match request.into_body() {
            Payload::Fixed(mut payload) => payload.next().await.unwrap().unwrap(),
            _ => Bytes::new(),
        };
        let response = Response::builder()
            .status(StatusCode::OK)
            .header("x-host", host)
            .header("content-length", content.len())
            .body(Payload::Fixed(FixedPayload::<Bytes, PayloadError>::new(
                content,
            )))
            .unwrap();
        if codec.send_and_flush(response).await.is_err() {
            return;
        }
    }
}

fn post(content: &[u8]) -> Request<Payload<Bytes, PayloadError>> {
    Request::builder()
        .method(Method::POST)
        .uri("/p/anthropic/v1/messages")
        .version(Version::HTTP_11)
        .header("host", "gateway")
        .header("x-api-key", KEY)
        .header("content-length", content.len())
        .body(Payload::Fixed(FixedPayload::new(Bytes::copy_from_slice(
            content,
        ))))
        .unwrap()
}

#[test]
fn another_implementation_understands_both_sides_over_tls() {
    let provider = provider();
    let gateway = Setup::new()
        .base(&format!("https://{provider}/v1"))
        .tls()
        .start();
    let addr = gateway.addr();
    block_on(async move {
        let connector = TlsConnector::from(Arc::new(client_config(rustls::ALL_VERSIONS)));
        // From nothing over one record to many.
        for size in [0, 1, 100, 16_384, 16_385, 1_000_000] {
            let content: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
            let stream = TcpStream::connect(addr).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut codec = ClientCodec::new(connector.connect(name, stream).await.unwrap());
            codec.send_and_flush(post(&content)).await.unwrap();
            let response = codec.next().await.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["x-host"], provider.to_string());
            let mut payload = response.into_body().with_io(codec);
            let answer = match payload.next_data().await {
                Some(data) => data.unwrap(),
                None => Bytes::new(),
            };
            assert_eq!(answer, content);
        }
    });
}
