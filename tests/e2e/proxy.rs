//! The way to an upstream and back.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::TcpStream,
    sync::mpsc,
    time::Duration,
};

use socket2::SockRef;
use tungstenite::client::IntoClientRequest as _;

use crate::{
    Stage,
    stubs::{KEY, TOKEN},
};

pub fn the_path_and_the_query_go_on_byte_for_byte(stage: &Stage) {
    for path in [
        "",
        "/",
        "/a/b",
        "//a///b/",
        "/%61%2F%2f%zz",
        "/a;b=c,d:@!$&'()*+~",
        "/x?",
        "/x?a=b+c&d=%41&&e?f=/../g",
        "?q",
    ] {
        let answer =
            stage.stubs.gateway("GET", &format!("/proxy/bearer{path}")).bearer(TOKEN).send();
        // A path cannot be empty on the wire.
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        assert_eq!(answer.got_target(), target);
        let answer =
            stage.stubs.gateway("GET", &format!("/proxy/based{path}")).bearer(TOKEN).send();
        assert_eq!(answer.got_target(), format!("/v2{path}"));
    }
}

pub fn nothing_leaves_the_base_url(stage: &Stage) {
    for path in [
        "/../x",
        "/a/../../x",
        "/a/../b",
        "/a/./b",
        "/%2e%2e/x",
        "/..%2fx",
        "/a%2f..%2f..%2fx",
        "/%252e%252e/x",
    ] {
        let answer =
            stage.stubs.gateway("GET", &format!("/proxy/based{path}")).bearer(TOKEN).send();
        answer.is_refused(403, 40301, "Path not allowed");
    }
}

pub fn paths_and_methods_narrow_an_upstream(stage: &Stage) {
    let ask = |method: &str, path: &str| {
        stage.stubs.gateway(method, &format!("/proxy/narrow{path}")).bearer(TOKEN).send()
    };
    for path in ["/charges", "/charges?limit=1", "/customers/", "/customers/1/cards"] {
        assert_eq!(ask("GET", path).got_target(), path);
    }
    for path in [
        "",
        "/",
        "/charges/",
        "/customers",
        "/refunds",
        "/customers/../refunds",
        "/customers/..%2frefunds",
    ] {
        ask("GET", path).is_refused(403, 40301, "Path not allowed");
    }
    ask("PUT", "/charges").is_refused(405, 40501, "Method not allowed");
    // An upstream that answers TRACE would send the credential back.
    let answer = stage.stubs.gateway("TRACE", "/proxy/bearer/traced").bearer(TOKEN).send();
    answer.is_refused(405, 40501, "Method not allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    assert!(!stage.upstream.has_seen("/traced"));
}

pub fn what_is_refused_anyway_fetches_no_credential(stage: &Stage) {
    let call = |path: &str| stage.stubs.gateway("GET", &format!("/proxy/not_needed{path}"));
    call("/../x").bearer(TOKEN).send().is_refused(403, 40301, "Path not allowed");
    assert_eq!(stage.stubs.gets("NOT_NEEDED"), 0);
    assert_eq!(call("/x").bearer(TOKEN).send().status, 200);
    assert_eq!(stage.stubs.gets("NOT_NEEDED"), 1);
}

pub fn a_host_of_its_own_leads_to_its_upstream(stage: &Stage) {
    for host in ["own.gateway.example", "OWN.gateway.example:8080"] {
        for path in ["/healthz", "/proxy/bearer/x?a=%41", "/"] {
            let call = stage.stubs.gateway("GET", path).header("host", host);
            assert_eq!(call.bearer(TOKEN).send().got_target(), path);
        }
        stage.stubs.gateway("GET", "/healthz").header("host", host).send().is_unauthenticated();
    }
}

pub fn headers_of_the_connection_and_the_gateway_are_not_sent_on(stage: &Stage) {
    let call = stage.stubs.gateway("POST", "/proxy/bearer/x").bearer(TOKEN);
    let answer = call
        .header("cookie", "a=b")
        .header("cf-connecting-ip", "192.0.2.1")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-real-ip", "192.0.2.1")
        .header("true-client-ip", "192.0.2.1")
        .header("te", "trailers")
        .header("traceparent", "00-abc-def-01")
        .header("range", "bytes=0-1")
        .header("x-own", "kept")
        .header("content-type", "text/x-own")
        .body("the body")
        .send();
    let names =
        ["cookie", "cf-connecting-ip", "x-forwarded-for", "x-real-ip", "true-client-ip", "te"];
    for name in names {
        assert_eq!(answer.got_header(name), None, "{name} was sent on");
    }
    assert_eq!(answer.got_header("traceparent").as_deref(), Some("00-abc-def-01"));
    assert_eq!(answer.got_header("range").as_deref(), Some("bytes=0-1"));
    assert_eq!(answer.got_header("x-own").as_deref(), Some("kept"));
    assert_eq!(answer.got_header("content-type").as_deref(), Some("text/x-own"));
    assert_eq!(answer.json()["body"], "the body");
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
}

pub fn an_upstreams_answer_is_handed_back_as_it_is(stage: &Stage) {
    for status in [201, 302, 401, 404, 429, 500, 503] {
        let path = format!("/proxy/bearer/status/{status}");
        let answer =
            stage.stubs.gateway("GET", &path).bearer(TOKEN).header("x-request-id", "mine").send();
        assert_eq!((answer.status, answer.body.as_str()), (status, "as you asked"));
        assert_eq!(answer.header("x-kept"), Some("yes"));
        assert_eq!(answer.header("location"), Some("http://elsewhere.invalid/"));
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("x-request-id"), Some("mine"));
        let timing = answer.headers("server-timing");
        // The upstream's own stays.
        assert!(timing.starts_with("db;dur=1, secrets;dur="), "{timing}");
        assert!(timing.contains(", upstream;dur="), "{timing}");
    }
}

pub fn an_answer_streams(stage: &Stage) {
    let mut answer =
        stage.stubs.gateway("GET", "/proxy/bearer/gate/download").bearer(TOKEN).start();
    let mut reader = BufReader::new(answer.body_mut().as_reader());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    // The upstream sends the rest only now.
    stage.upstream.signal("open download");
    line.clear();
    reader.read_to_string(&mut line).unwrap();
    assert_eq!(line, "second\n");
}

pub fn an_upload_streams(stage: &Stage) {
    /// A body whose second half is there when the test says so.
    struct Gated {
        first: &'static [u8],
        rest: mpsc::Receiver<()>,
    }
    impl Read for Gated {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.first.is_empty() {
                let _ = self.rest.recv();
                return Ok(0);
            }
            self.first.read(buffer)
        }
    }
    let (end, rest) = mpsc::channel();
    let call = stage.stubs.gateway("POST", "/proxy/bearer/upload/one").bearer(TOKEN);
    let call = call.stream(Gated { first: b"first", rest });
    std::thread::scope(|scope| {
        // Owned here: if this fails, the sender is dropped, and with it the upload ends.
        let end = end;
        let sent = scope.spawn(|| call.send());
        // The upstream has the first half before there is a second one.
        stage.upstream.wait_for("uploading one");
        end.send(()).unwrap();
        assert_eq!(sent.join().unwrap().body, "thanks");
    });
}

pub fn an_answer_that_breaks_off_reaches_the_caller_as_broken(stage: &Stage) {
    let mut answer = stage.stubs.gateway("GET", "/proxy/bearer/cut").bearer(TOKEN).start();
    assert_eq!(answer.status(), 200);
    answer.body_mut().read_to_string().unwrap_err();
}

pub fn the_gateway_does_not_call_itself(stage: &Stage) {
    let address = stage.stubs.address("gateway");
    let call = |hops: &str| {
        let call = stage.stubs.gateway("GET", "/proxy/bearer/x").bearer(TOKEN);
        if hops.is_empty() { call } else { call.header("cdn-loop", hops) }
    };
    assert_eq!(call("").send().got_header("cdn-loop"), Some(address.clone()));
    let answer = call("other.example; a=b").send();
    assert_eq!(answer.got_header("cdn-loop"), Some(format!("other.example; a=b, {address}")));
    // As it would arrive where an upstream leads back here.
    let answer = call(&format!("other.example, {address}")).send();
    answer.is_configuration_error();
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert!(line["cause"].as_str().unwrap().contains("came through this host before"), "{line}");
}

pub fn a_caller_who_goes_away_ends_the_request_to_the_upstream(stage: &Stage) {
    let target = "/hang?for=a-caller-who-goes-away";
    let mut stream = TcpStream::connect(stage.stubs.address("gateway")).unwrap();
    write!(
        stream,
        "GET /proxy/bearer{target} HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: gone-away\r\n\
         Authorization: Bearer {TOKEN}\r\n\r\n"
    )
    .unwrap();
    stage.upstream.wait_for(&format!("target {target}"));
    // As a connection breaks: a reset, and not the end of what one side has to say.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    stage.upstream.wait_for(&format!("gone {target}"));
    // A credential was lent, so it is told.
    let line = stage.stubs.log_line("gone-away");
    assert_eq!((&line["error"], &line["caller"]), (&"caller_gone".into(), &"TOKEN".into()));
}

pub fn a_websocket_goes_through(stage: &Stage) {
    let address = stage.stubs.address("gateway");
    let open = |token: &str| {
        let mut request =
            format!("ws://{address}/proxy/bearer/socket").into_client_request().unwrap();
        let authorization = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", authorization);
        let stream = TcpStream::connect(&address).unwrap();
        tungstenite::client(request, stream).map_err(Box::new)
    };
    let refused = open("wrong").map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("401"), "{refused}");

    let (mut socket, response) = open(TOKEN).unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(socket.read().unwrap().to_text().unwrap(), format!("Bearer {KEY}"));
    for message in ["one", "two"] {
        socket.send(message.into()).unwrap();
        assert_eq!(socket.read().unwrap().to_text().unwrap(), message);
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

pub fn an_upstream_that_is_unreachable_is_a_502(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/unreachable/x").bearer(TOKEN).send();
    answer.is_refused(502, 50201, "Upstream unreachable");
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!(
        (&line["error"], &line["caller"]),
        (&"upstream_unreachable".into(), &"TOKEN".into())
    );
    // The URL has the key in it; the log has not.
    // A handshake that fails.
    let answer = stage.stubs.gateway("GET", "/proxy/no_tls/x").bearer(TOKEN).send();
    answer.is_refused(502, 50201, "Upstream unreachable");
    let answer = stage.stubs.gateway("GET", "/proxy/unreachable_query/x").bearer(TOKEN).send();
    answer.is_refused(502, 50201, "Upstream unreachable");
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert!(!line.to_string().contains("key="), "{line}");
}

pub fn an_upstream_that_takes_too_long_is_a_504(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/impatient/hang").bearer(TOKEN).send();
    answer.is_refused(504, 50401, "Upstream timed out");
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["cause"], "no response headers within 200 ms");
    assert!(line["ms"].as_u64().unwrap() >= 200, "{line}");
}
