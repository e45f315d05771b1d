//! Which headers go on.

/// Headers of one connection (RFC 9110, section 7.6.1): they end here, in both directions.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header, named in lower case, belongs to one connection.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Whether a request's header, named in lower case, is not sent on to an upstream: what belongs to
/// the connection or to the gateway's own site, or tells of the network before it. `connection` is
/// the value of the request's `Connection` header.
pub fn ends_here(name: &str, connection: Option<&str>) -> bool {
    is_hop_by_hop(name)
        || matches!(name, "cookie" | "x-real-ip" | "true-client-ip")
        || name.starts_with("cf-")
        || name.starts_with("x-forwarded-")
        || is_named_by(connection, name)
}

/// Whether a response's header, named in lower case, is not sent back to the caller.
pub fn stays_with_us(name: &str, connection: Option<&str>) -> bool {
    is_hop_by_hop(name) || name == "set-cookie" || is_named_by(connection, name)
}

/// Whether a `CDN-Loop` value names this host; its parameters tell nothing here.
pub fn names_host(hops: &str, host: &str) -> bool {
    let names = hops.split(',').filter_map(|hop| hop.split(';').next());
    names.map(str::trim).any(|name| name.eq_ignore_ascii_case(host))
}

/// Whether `Connection` names this header as one of the connection's own.
fn is_named_by(connection: Option<&str>, name: &str) -> bool {
    let options = connection.into_iter().flat_map(|value| value.split(','));
    options.map(str::trim).any(|option| option.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_connection_or_the_gateway_ends_here() {
        for name in [
            "connection",
            "transfer-encoding",
            "te",
            "upgrade",
            "keep-alive",
            "proxy-authorization",
            "cookie",
            "cf-connecting-ip",
            "cf-ray",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-real-ip",
            "true-client-ip",
        ] {
            assert!(ends_here(name, None), "{name}");
        }
        assert!(ends_here("x-internal", Some("close, X-Internal")));
        for name in ["set-cookie", "keep-alive", "connection", "proxy-authenticate", "trailer"] {
            assert!(stays_with_us(name, None), "{name}");
        }
        assert!(stays_with_us("x-internal", Some("x-internal")));
    }

    #[test]
    fn a_host_is_found_among_the_hops() {
        assert!(names_host("cloudflare; loops=1, Gateway.example:80", "gateway.example:80"));
        for hops in ["", "cloudflare", "gateway.example", "xgateway.example:80"] {
            assert!(!names_host(hops, "gateway.example:80"), "{hops}");
        }
    }

    #[test]
    fn everything_else_goes_on() {
        for name in [
            "accept",
            "authorization",
            "range",
            "traceparent",
            "x-stainless-os",
            "cfx",
            "x-forwarded",
            "if-none-match",
            "set-cookie2",
        ] {
            assert!(!ends_here(name, Some("close")), "{name}");
            assert!(!stays_with_us(name, Some("close")), "{name}");
        }
    }
}
