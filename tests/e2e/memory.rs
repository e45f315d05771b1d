//! What is left in the Worker's memory: Wasm memory, freed or not, by the runtime's inspector.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _};

use crate::client::call;

/// Stands in an error message of `src/secrets/`, so it is found where the search works.
const KNOWN: &str = "secrets_store_secrets";

/// Counts texts in the memories of an isolate. The texts never get there by it.
const COUNT: &str = "function (texts) {
    return this.map((memory) => {
        const bytes = new Uint8Array(memory.buffer);
        const count = (text) => {
            const wanted = new TextEncoder().encode(text);
            let found = 0;
            for (let at = bytes.indexOf(wanted[0]); at >= 0; at = bytes.indexOf(wanted[0], at + 1)) {
                if (wanted.every((byte, index) => bytes[at + index] === byte)) found += 1;
            }
            return found;
        };
        return { size: bytes.length, counts: texts.map(count) };
    });
}";

/// Searches the Wasm memory of these Workers for `text`; answers what it found, and fails where it
/// cannot search.
pub fn search(inspector: u64, workers: &[&str], text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for worker in workers {
        for memory in Isolate::of(inspector, worker).count(&[KNOWN, text]) {
            let (size, known, secret) =
                (&memory["size"], &memory["counts"][0], &memory["counts"][1]);
            assert!(known.as_u64().unwrap() > 0, "the search of {worker} finds nothing at all");
            if secret != 0 {
                found.push(format!("{worker}: {secret} times in {size} bytes of Wasm memory"));
            }
        }
    }
    found
}

/// How many bytes of Wasm memory a Worker has.
pub fn size(inspector: u64, worker: &str) -> u64 {
    let memories = Isolate::of(inspector, worker).count(&[]);
    memories.iter().map(|memory| memory["size"].as_u64().unwrap()).sum()
}

/// A connection to the inspector of one isolate (the Chrome DevTools Protocol).
struct Isolate {
    socket: WebSocket<TcpStream>,
    sent: u64,
}

impl Isolate {
    fn of(inspector: u64, worker: &str) -> Self {
        let list = call("GET", &format!("http://127.0.0.1:{inspector}/json")).send().json();
        let target = list.as_array().unwrap().iter().find(|it| it["id"] == *worker);
        let target = target.unwrap_or_else(|| panic!("no isolate of {worker} in {list}"));
        Self::open(inspector, target["id"].as_str().unwrap())
    }

    fn open(inspector: u64, id: &str) -> Self {
        let stream = TcpStream::connect(format!("127.0.0.1:{inspector}")).unwrap();
        let request = format!("ws://127.0.0.1:{inspector}/{id}").into_client_request().unwrap();
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        Self { socket, sent: 0 }
    }

    fn count(&mut self, texts: &[&str]) -> Vec<Value> {
        self.send("Runtime.enable", &json!({}));
        let context = self.receive(|it| it["method"] == "Runtime.executionContextCreated");
        let prototype = self.ask(
            "Runtime.evaluate",
            &json!({
                "expression": "WebAssembly.Memory.prototype",
                "contextId": context["params"]["context"]["id"],
            }),
        );
        let memories = self.ask(
            "Runtime.queryObjects",
            &json!({ "prototypeObjectId": prototype["result"]["objectId"] }),
        );
        let counted = self.ask(
            "Runtime.callFunctionOn",
            &json!({
                "objectId": memories["objects"]["objectId"],
                "functionDeclaration": COUNT,
                "arguments": [{ "value": texts }],
                "returnByValue": true,
            }),
        );
        let counted = counted["result"]["value"].as_array().unwrap().clone();
        assert!(!counted.is_empty(), "an isolate without Wasm memory");
        counted
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        let id = self.send(method, parameters);
        let answer = self.receive(|it| it["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn send(&mut self, method: &str, parameters: &Value) -> u64 {
        self.sent += 1;
        let message = json!({ "id": self.sent, "method": method, "params": parameters });
        self.socket.send(Message::text(message.to_string())).unwrap();
        self.sent
    }

    fn receive(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.socket.read().unwrap();
            let Ok(text) = message.to_text() else { continue };
            let Ok(message) = serde_json::from_str(text) else { continue };
            if is_wanted(&message) {
                return message;
            }
        }
    }
}
