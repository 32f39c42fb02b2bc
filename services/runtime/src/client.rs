//! Dialling another process: the mirror of [`crate::server`].

use std::time::Duration;

use tonic::{
    Request,
    codegen::http::{
        Uri,
        uri::{Authority, Scheme},
    },
    transport::Endpoint,
};

use crate::{
    host::is_loopback,
    server::{
        CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX, KEEPALIVE_INTERVAL,
        KEEPALIVE_TIMEOUT, LOCAL_ERROR_RESETS_MAX, STREAM_WINDOW_BYTES, Security,
    },
    telemetry,
};

/// How long dialling may take, name look-up and handshake included. Whoever dials tries again.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an address cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{url}` is not host:port or http(s)://host:port")]
    Url { url: String },
    #[error("`{url}` is not on this machine, so it needs TLS")]
    Exposed { url: String },
    #[error("TLS for `{url}` cannot be set up")]
    Tls {
        url: String,
        #[source]
        source: tonic::transport::Error,
    },
}

/// Where to dial, with every limit set. `url` may leave out the scheme or carry the wrong one:
/// `security` decides it, so that no address in a configuration can switch TLS off.
///
/// # Errors
/// An address that is none, or a remote one without TLS.
pub fn endpoint(url: &str, security: &Security) -> Result<Endpoint, Error> {
    let bad = || Error::Url {
        url: url.to_owned(),
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !matches!(scheme, "http" | "https") {
        return Err(bad());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority: Authority = rest.parse().map_err(|_| bad())?;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    // Without a port the scheme would choose one, and the scheme is not the address's to say.
    if host.is_empty() || authority.port_u16().is_none() || rest.contains('@') {
        return Err(bad());
    }
    let scheme = match security {
        Security::Mutual(_) => Scheme::HTTPS,
        Security::PlainLoopback => Scheme::HTTP,
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query("/")
        .build()
        .map_err(|_| bad())?;

    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // Participants sit on an idle stream for hours and must notice a coordinator that is gone.
        .keep_alive_while_idle(true)
        .http2_adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .http2_max_local_error_reset_streams(LOCAL_ERROR_RESETS_MAX);
    match security {
        Security::Mutual(credentials) => {
            endpoint
                .tls_config(credentials.client(&host))
                .map_err(|source| Error::Tls {
                    url: url.to_owned(),
                    source,
                })
        }
        Security::PlainLoopback if is_loopback(&host) => Ok(endpoint),
        Security::PlainLoopback => Err(Error::Exposed {
            url: url.to_owned(),
        }),
    }
}

/// A request that says how long its sender waits (`grpc-timeout`), so that the other end can stop
/// when nobody listens any more; `Endpoint::timeout` gives up without saying so. It also carries
/// the current span as `traceparent`, if that span is exported.
pub fn request<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    let traceparent = telemetry::traceparent_of(&tracing::Span::current());
    if !traceparent.is_empty()
        && let Ok(value) = traceparent.parse()
    {
        request.metadata_mut().insert(telemetry::TRACEPARENT, value);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certs::DevCa, peer::Role};

    fn uri(url: &str, security: &Security) -> String {
        endpoint(url, security).unwrap().uri().to_string()
    }

    #[test]
    fn the_protection_decides_the_scheme() {
        let credentials = DevCa::create()
            .unwrap()
            .issue(Role::Caller, "app", &[])
            .unwrap();
        let mutual = Security::Mutual(credentials);
        for url in [
            "coordinator:7400",
            "http://coordinator:7400",
            "https://coordinator:7400/",
        ] {
            assert_eq!(uri(url, &mutual), "https://coordinator:7400/");
        }
        assert_eq!(uri("[::1]:7400", &mutual), "https://[::1]:7400/");
        for url in ["localhost:7400", "https://localhost:7400"] {
            assert_eq!(uri(url, &Security::PlainLoopback), "http://localhost:7400/");
        }
        assert_eq!(
            uri("http://[::1]:7400", &Security::PlainLoopback),
            "http://[::1]:7400/"
        );
    }

    #[test]
    fn nothing_leaves_the_machine_without_tls() {
        for url in [
            "coordinator:7400",
            "10.0.0.1:7400",
            "localhost.example:7400",
            "0.0.0.0:7400",
        ] {
            let error = endpoint(url, &Security::PlainLoopback).unwrap_err();
            assert!(matches!(error, Error::Exposed { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for url in [
            "",
            ":7400",
            "localhost",
            "ftp://localhost:1",
            "unix:/tmp/x",
            "localhost:7400/path",
            "user@localhost:7400",
            "localhost:port",
            "localhost:70000",
            "http://http://localhost:1",
        ] {
            let error = endpoint(url, &Security::PlainLoopback).unwrap_err();
            assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn a_request_says_how_long_its_sender_waits() {
        let request = request((), Duration::from_millis(1_500));
        assert_eq!(request.metadata().get("grpc-timeout").unwrap(), "1500000u");
        assert!(request.metadata().get(telemetry::TRACEPARENT).is_none());
    }
}
