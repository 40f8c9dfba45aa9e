//! The real network under [`Transport`]. The clients are built by the first request that needs them: reading the
//! machine's certificates takes milliseconds and memory that a driver at rest should not spend.
//!
//! **Invariants:** plain http goes to this machine or to the metadata service, never elsewhere and never through
//! a proxy (a proxy would see the tokens); redirects are not followed; an answer is whole or an error.

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use url::{Host, Url};

use crate::cloud::is_loopback;
use crate::transport::{BoxFuture, Transport, TransportError};

/// The address of the instance metadata service on Azure.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A page of a list is below 1 MiB; more than this is no answer of Azure's.
const MOST_BYTES: usize = 64 << 20;

/// Sends requests over HTTP/2 or HTTP/1.1, with TLS by rustls; proxies as the usual variables say.
pub struct HttpTransport {
    user_agent: String,
    most_bytes: usize,
    /// For https.
    secure: OnceLock<reqwest::Client>,
    /// For plain http: no proxy, no certificates.
    plain: OnceLock<reqwest::Client>,
}

impl HttpTransport {
    /// Calls itself `user_agent`. Nothing is opened or read yet.
    pub fn new(user_agent: impl Into<String>) -> HttpTransport {
        HttpTransport {
            user_agent: user_agent.into(),
            most_bytes: MOST_BYTES,
            secure: OnceLock::new(),
            plain: OnceLock::new(),
        }
    }

    fn client(&self, url: &Url) -> Result<&reqwest::Client, TransportError> {
        let (slot, is_plain) = match url.scheme() {
            "https" => (&self.secure, false),
            "http" if is_loopback(url) || url.host() == Some(Host::Ipv4(METADATA)) => (&self.plain, true),
            _ => return Err(TransportError::unsent(format!("{} is not reached by https", origin(url)))),
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = build(&self.user_agent, is_plain).map_err(|error| {
            TransportError::unsent(format!(
                "cannot prepare connections ({}); are the CA certificates there (SSL_CERT_FILE)?",
                cause(&error)
            ))
            .caused_by(error)
        })?;
        Ok(slot.get_or_init(|| client))
    }

    async fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        let request = reqwest::Request::try_from(request)
            .map_err(|error| TransportError::unsent("the request cannot be sent").caused_by(error))?;
        let origin = origin(request.url());
        let answer = self.client(request.url())?.execute(request).await;
        let mut answer = answer.map_err(|error| failure(&origin, error))?;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        *response.body_mut() = self.body(&origin, answer).await?;
        Ok(response)
    }

    async fn body(&self, origin: &str, mut answer: reqwest::Response) -> Result<Bytes, TransportError> {
        // A page of a list is hundreds of kilobytes: growing towards it would take twice as much.
        let length = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut body = BytesMut::with_capacity(length.min(self.most_bytes));
        while let Some(chunk) = answer.chunk().await.map_err(|error| failure(origin, error))? {
            if body.len() + chunk.len() > self.most_bytes {
                return Err(TransportError::lost(format!(
                    "the answer of {origin} is longer than {} bytes",
                    self.most_bytes
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

fn build(user_agent: &str, is_plain: bool) -> reqwest::Result<reqwest::Client> {
    // Fails if the program has installed a provider already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        // After a burst over HTTP/1.1 each of dozens of connections would keep what it reads into: as much as the
        // largest page of a list that it brought.
        .pool_max_idle_per_host(4)
        // Every caller has a deadline; these free a connection that died without a word.
        .read_timeout(Duration::from_mins(1))
        // A read is given up after 5 s and read again, 15 s in all: by then its connection should be known for dead,
        // or the repetitions would hang on it as well. Asked only while an answer is waited for. Less patience would
        // take a connection for dead when it is this process that stood still.
        .http2_keep_alive_interval(Duration::from_secs(3))
        .http2_keep_alive_timeout(Duration::from_secs(6));
    if is_plain { builder.no_proxy().tls_certs_only([]).build() } else { builder.build() }
}

/// Which side of the wire the request is on decides what a caller may repeat: without a connection nothing has
/// been sent. The address is left out of the text, as its query may be confidential.
fn failure(origin: &str, error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let reason = cause(&error);
    if error.is_connect() || error.is_builder() {
        return TransportError::unsent(format!("no connection to {origin}: {reason}")).caused_by(error);
    }
    TransportError::lost(format!("the connection to {origin} broke: {reason}")).caused_by(error)
}

/// The innermost cause: the outer ones only say that something failed.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one connection with `answer` after the head of a request has come; gives the head.
    async fn exchange(
        transport: &HttpTransport,
        answer: &'static str,
    ) -> (Result<http::Response<Bytes>, TransportError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/a?secret=hunter2", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap().to_lowercase()
        });
        let request = http::Request::get(uri).header("x-own", "1").header("x-own", "2").body(Bytes::new());
        let answer = transport.send(request.unwrap()).await;
        let was_sent = !answer.as_ref().is_err_and(TransportError::is_unsent);
        (answer, if was_sent { server.await.unwrap() } else { String::new() })
    }

    #[tokio::test]
    async fn an_answer_comes_whole_with_repeated_headers() {
        let transport = HttpTransport::new("me/1");
        let answer =
            "HTTP/1.1 429 No\r\nretry-after: 3\r\nx-left: a;1\r\nx-left: b;2\r\ncontent-length: 2\r\n\r\nhi";
        let (response, head) = exchange(&transport, answer).await;
        let response = response.unwrap();
        let left: Vec<_> = response.headers().get_all("x-left").iter().collect();
        assert_eq!((response.status().as_u16(), response.body().as_ref()), (429, &b"hi"[..]));
        assert_eq!(left, ["a;1", "b;2"]);
        for line in ["get /a?secret=hunter2 http/1.1", "user-agent: me/1", "x-own: 1\r\nx-own: 2"] {
            assert!(head.contains(line), "{line}: {head}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let transport = HttpTransport::new("me/1");
        let answer =
            "HTTP/1.1 307 Away\r\nlocation: http://127.0.0.1:1/elsewhere\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(exchange(&transport, answer).await.0.unwrap().status(), 307);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_or_never_ends_is_lost() {
        let mut transport = HttpTransport::new("me/1");
        transport.most_bytes = 8;
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\n\r\n123456789",
            "SSH-2.0\r\n",
        ] {
            let error = exchange(&transport, answer).await.0.unwrap_err();
            assert!(!error.is_unsent(), "{answer:?}: {error}");
            assert!(!format!("{error}{error:?}").contains("hunter2"), "{error:?}");
        }
        let whole = exchange(&transport, "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n12345678").await.0;
        assert_eq!(whole.unwrap().body().len(), 8);
    }

    #[tokio::test]
    async fn what_was_never_sent_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let free = listener.local_addr().unwrap().port();
        drop(listener);
        for uri in [
            format!("http://127.0.0.1:{free}/?secret=hunter2"),
            format!("https://127.0.0.1:{free}/?secret=hunter2"),
            "http://management.azure.com/?secret=hunter2".to_owned(),
            "http://169.254.169.253/?secret=hunter2".to_owned(),
            "ftp://127.0.0.1/?secret=hunter2".to_owned(),
            "/relative".to_owned(),
        ] {
            let request = http::Request::get(&uri).body(Bytes::new()).unwrap();
            let error = HttpTransport::new("me/1").send(request).await.unwrap_err();
            assert!(error.is_unsent(), "{uri}: {error}");
            assert!(!format!("{error}{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    /// Runs a test of this file again in a process whose environment asks for a proxy that isn't there.
    #[test]
    fn plain_http_never_goes_through_a_proxy() {
        let this = std::env::current_exe().unwrap();
        let mut again = std::process::Command::new(this);
        again.args(["--exact", "network::tests::an_answer_comes_whole_with_repeated_headers"]);
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            again.env(name, "http://127.0.0.1:1");
        }
        let output = again.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}
