// What a Worker does itself for a request: its `fetch` is called here again and again, in one event of
// the runtime, with bindings and an upstream that are functions of this file. So what is measured is the
// Worker, the functions of the runtime that it calls, and this harness; not HTTP, RPC, and the stubs.
import worker from "worker.mjs";

const TOKEN = "bench-gateway-token-0123456789abcdef";
const HEADERS = {
  "content-type": "application/json",
  "cache-control": "private, max-age=0",
  etag: '"33a64df551425fcc55e4d42a148795d9f25f89d4"',
  vary: "accept-encoding",
  "x-ratelimit-limit": "1000",
  "x-ratelimit-remaining": "999",
  "set-cookie": "session=1; HttpOnly",
};

globalThis.fetch = async () => new Response('{"hello":"world"}', { headers: HEADERS });
// The runtime formats and writes a line; how long that takes is not the Worker's.
console.log = () => {};

// The answers of `.get()`: each comes in a turn of its own, as from the platform, and is no `Promise`.
const waiting = [];
function answerNext() {
  waiting.shift()();
  if (waiting.length) afterATurn();
}
async function afterATurn() {
  await null;
  await null;
  await null;
  answerNext();
}
const secret = (value) => ({
  get() {
    const answer = new Promise((resolve) => {
      if (waiting.push(() => resolve(value)) === 1) afterATurn();
    });
    return { then: (...callbacks) => answer.then(...callbacks) };
  },
});

export default {
  // `n` requests for `path`, one after the other.
  async fetch(request, env) {
    const { searchParams } = new URL(request.url);
    const url = `http://127.0.0.1${searchParams.get("path")}`;
    const bindings = { UPSTREAMS: env.UPSTREAMS, TOKEN: secret(TOKEN) };
    for (let key = 0; key < 16; key += 1) {
      bindings[`KEY_${key}`] = secret(`bench-key-${key}-0123456789abcdef`);
    }
    const headers = new Headers(request.headers);
    headers.set("authorization", `Bearer ${TOKEN}`);
    const context = { waitUntil() {}, passThroughOnException() {} };
    for (let count = Number(searchParams.get("n")); count > 0; count -= 1) {
      const one = new Request(url, { headers, redirect: "manual" });
      const answer = await worker.fetch(one, bindings, context);
      if (answer.status !== 200) return answer;
    }
    return new Response(null, { status: 204 });
  },
};
