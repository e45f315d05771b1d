// The Worker as the runtime loads it: the one event, handed to Wasm.
//
// worker-build would put a class and four proxies around each call, for Durable Objects and RPC,
// which this Worker has not.
import { fetch as respond } from "./index.js";

// The runtime's own is a call out of JavaScript and a record of the request, each time that a future
// is woken; a promise's `then` is neither.
const settled = Promise.resolve();
globalThis.queueMicrotask = (callback) => {
  settled.then(callback);
};

export default {
  fetch(request, env, ctx) {
    const response = respond(request, env, ctx);
    // A request that its caller gives up runs to its end: it is logged, and what it holds is dropped,
    // where otherwise it would be forgotten in Wasm memory.
    ctx.waitUntil(response);
    return response;
  },
};
