// The gateway as a good author would write it in JavaScript: the measure of `cargo xtask bench`.
//
// It has the duties of the Rust Worker on the routes that are measured, and the documented patterns
// of the binding API: every secret by `await env.NAME.get()`, all of a request at once, none kept.
//
// - settings from `env.UPSTREAMS`, read once an isolate; upstream by `/proxy/{name}/{path}`
// - callers: four places of a token, compared in constant time, 401 before anything about credentials
// - `methods` and `paths`, dot segments refused; 404, 405, 403
// - credentials: bearer, basic, header, query; a fallback when the primary fails, or on a 401
// - a `.get()` has 5 s, the upstream has `timeout_ms`
// - headers: what belongs to the connection, to the network before, to cookies and to the caller's
//   token does not go on; CDN-Loop; Set-Cookie does not come back
// - x-request-id, Server-Timing, the envelope, one JSON log line
// - `POST /batch`
//
// What it leaves out costs nothing on the measured routes: the messages for wrong settings, the REST
// API, /readyz, the withholding of query credentials from answers.

const HOP_BY_HOP = new Set([
  "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
  "trailer", "transfer-encoding", "upgrade",
]);
const NOT_SENT_ON = new Set([...HOP_BY_HOP, "cookie", "x-real-ip", "true-client-ip"]);
const DOT_SEGMENT = /(^|[/\\]|%2f|%5c)(\.|%2e){1,2}($|[/\\]|%2f|%5c)/i;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;
const NOT_HEADER_SAFE = /^\s|\s$|[^\x20-\x7e]/;
const GET_TIMEOUT_MS = 5000;
const MAX_REPEATED_BODY = 64 * 1024;
const MAX_BODY = 1024 * 1024;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Refusal extends Error {
  constructor(status, code, message, { kind = message, cause, headers } = {}) {
    super(message);
    Object.assign(this, { status, code, kind, why: cause, headers });
  }
}

const unauthenticated = () =>
  new Refusal(401, 40101, "Authentication required", {
    headers: { "www-authenticate": 'Bearer realm="gateway"' },
  });

// The settings name bindings; they are no secret and may outlive a request.
let settings;
let settingsOf;
function readSettings(env) {
  if (settingsOf !== env.UPSTREAMS) {
    settingsOf = env.UPSTREAMS;
    const upstreams = typeof settingsOf === "string" ? JSON.parse(settingsOf) : settingsOf;
    settings = new Map(
      Object.entries(upstreams).map(([name, it]) => [
        name,
        {
          ...it,
          name,
          base_url: it.base_url.replace(/\/$/, ""),
          timeout_ms: it.timeout_ms ?? 30_000,
          hasFallback: it.credentials.some((credential) => credential.fallback),
          ownHeaders: it.credentials
            .filter((credential) => credential.type === "header")
            .map(({ name, prefix = "" }) => ({ name: name.toLowerCase(), prefix })),
        },
      ]),
    );
  }
  return settings;
}

// One `.get()` for a binding and request.
class Secrets {
  #env;
  #gets = new Map();
  #deadline;
  constructor(env) {
    this.#env = env;
  }

  get(name) {
    let get = this.#gets.get(name);
    if (!get) this.#gets.set(name, (get = this.#fetch(name)));
    return get;
  }

  async #fetch(name) {
    const binding = this.#env[name];
    if (binding === undefined) throw new Error(`${name}: not bound`);
    let value = binding;
    if (typeof binding !== "string") value = await this.#inTime(binding.get());
    if (typeof value !== "string" || value === "") throw new Error(`${name}: no value`);
    if (NOT_HEADER_SAFE.test(value)) throw new Error(`${name}: not header safe`);
    return value;
  }

  // Gets that start together share one timer.
  async #inTime(get) {
    const now = Date.now();
    if (this.#deadline?.started !== now) {
      const deadline = { started: now, users: 0 };
      deadline.promise = new Promise((_, reject) => {
        deadline.timer = setTimeout(
          () => reject(new Error("a secret timed out")),
          GET_TIMEOUT_MS,
        );
      });
      this.#deadline = deadline;
    }
    const deadline = this.#deadline;
    deadline.users += 1;
    try {
      return await Promise.race([get, deadline.promise]);
    } finally {
      deadline.users -= 1;
      if (deadline.users === 0) clearTimeout(deadline.timer);
    }
  }

  async withFallback({ secret, fallback }) {
    try {
      return await this.get(secret);
    } catch (error) {
      if (!fallback) throw error;
      return await this.get(fallback);
    }
  }
}

function shownTokens(headers, upstream) {
  const shown = [];
  const authorization = headers.get("authorization");
  if (authorization !== null) {
    const space = authorization.indexOf(" ");
    const scheme = authorization.slice(0, space).toLowerCase();
    const rest = authorization.slice(space + 1).trimStart();
    if (scheme === "bearer" && rest) shown.push(["authorization", rest]);
    if (scheme === "basic") {
      try {
        const pair = atob(rest);
        const colon = pair.indexOf(":");
        if (colon >= 0 && colon + 1 < pair.length) {
          shown.push(["authorization", pair.slice(colon + 1)]);
        }
      } catch {
        // Not base64: no token.
      }
    }
  }
  const proxy = headers.get("proxy-authorization");
  if (proxy !== null && /^bearer +./i.test(proxy)) {
    shown.push(["proxy-authorization", proxy.slice(7).trimStart()]);
  }
  for (const { name, prefix } of upstream.ownHeaders) {
    const value = headers.get(name);
    if (value) shown.push([name, value.startsWith(prefix) ? value.slice(prefix.length) : value]);
  }
  return shown;
}

function isEqual(a, b) {
  const [left, right] = [encoder.encode(a), encoder.encode(b)];
  return left.byteLength === right.byteLength && crypto.subtle.timingSafeEqual(left, right);
}

// The caller's binding, and the tokens that are known.
async function admit(upstream, shown, secrets) {
  if (upstream.callers === "public") return { tokens: [] };
  if (shown.length === 0) throw unauthenticated();
  const results = await Promise.allSettled(upstream.callers.map((name) => secrets.get(name)));
  const tokens = results.flatMap((it) => (it.status === "fulfilled" ? [it.value] : []));
  let caller;
  for (const [, token] of shown) {
    results.forEach((it, index) => {
      if (it.status === "fulfilled" && isEqual(token, it.value)) caller ??= upstream.callers[index];
    });
  }
  if (caller === undefined) throw unauthenticated();
  return { tokens, caller };
}

function refusalOf(upstream, method, pathAndQuery) {
  if (upstream.methods ? !upstream.methods.includes(method) : method === "TRACE") {
    const allow = upstream.methods?.join(", ") ?? "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    return new Refusal(405, 40501, "Method not allowed", { headers: { allow } });
  }
  const query = pathAndQuery.indexOf("?");
  const path = query < 0 ? pathAndQuery : pathAndQuery.slice(0, query);
  const matches = (pattern) =>
    pattern.endsWith("*") ? path.startsWith(pattern.slice(0, -1)) : path === pattern;
  if (DOT_SEGMENT.test(path) || (upstream.paths && !upstream.paths.some(matches))) {
    return new Refusal(403, 40301, "Path not allowed");
  }
}

function mentions(value, token) {
  if (value.includes(token)) return true;
  if (!/^basic /i.test(value)) return false;
  try {
    return atob(value.slice(6).trim()).includes(token);
  } catch {
    return false;
  }
}

function place(headers, url, credentials, values) {
  credentials.forEach((credential, index) => {
    const value = values[index];
    switch (credential.type) {
      case "bearer":
        headers.set("authorization", `Bearer ${value}`);
        break;
      case "basic":
        headers.set("authorization", `Basic ${btoa(`${credential.username}:${value}`)}`);
        break;
      case "header":
        headers.set(credential.name, `${credential.prefix ?? ""}${value}`);
        break;
      case "query": {
        const parameter = `${encodeURIComponent(credential.name)}=${encodeURIComponent(value)}`;
        url += `${url.includes("?") ? "&" : "?"}${parameter}`;
        break;
      }
    }
  });
  return url;
}

// What an upstream answers in the time that it has.
async function inTime(answer, ms) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Refusal(504, 50401, "Upstream timed out")), ms);
  });
  try {
    return await Promise.race([answer, timeout]);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(502, 50201, "Upstream unreachable");
  } finally {
    clearTimeout(timer);
  }
}

// The one way of a call: the caller, the credentials, the upstream, the answer.
async function call({ upstream, request, pathAndQuery, host, headers, isRepeatable, progress }, secrets) {
  const shown = shownTokens(headers, upstream);
  if (upstream.callers !== "public" && shown.length === 0) throw unauthenticated();
  const started = Date.now();
  const refusal = refusalOf(upstream, request.method, pathAndQuery);
  // One wave. A stranger's answer waits for the tokens alone.
  const credentials = refusal
    ? []
    : Promise.all(upstream.credentials.map((credential) => secrets.withFallback(credential))).catch(
        (error) => error,
      );
  const { tokens, caller } = await admit(upstream, shown, secrets);
  progress.caller = caller;
  if (refusal) throw refusal;
  const values = await credentials;
  if (values instanceof Error) {
    throw new Refusal(500, 50001, "Configuration error", { kind: "secret", cause: values.message });
  }
  const secretsMs = Date.now() - started;

  const hops = headers.get("cdn-loop");
  if (hops?.split(",").some((hop) => hop.split(";")[0].trim().toLowerCase() === host)) {
    throw new Refusal(500, 50001, "Configuration error", { kind: "loop" });
  }
  const send = async (request, values) => {
    const outgoing = new Request(upstream.base_url + pathAndQuery, request);
    const own = outgoing.headers;
    const connection = own.get("connection")?.toLowerCase().split(/[ ,]+/);
    const isWebSocket = own.get("upgrade")?.toLowerCase() === "websocket";
    for (const [name, value] of [...own]) {
      if (
        NOT_SENT_ON.has(name) ||
        name.startsWith("cf-") ||
        name.startsWith("x-forwarded-") ||
        connection?.includes(name) ||
        tokens.some((token) => mentions(value, token))
      ) {
        own.delete(name);
      }
    }
    if (isWebSocket) own.set("upgrade", "websocket");
    own.set("cdn-loop", hops ? `${hops}, ${host}` : host);
    const url = place(own, outgoing.url, upstream.credentials, values);
    const target = url === outgoing.url ? outgoing : new Request(url, outgoing);
    return inTime(fetch(target), upstream.timeout_ms);
  };

  const sent = Date.now();
  const again = isRepeatable && upstream.hasFallback ? request.clone() : undefined;
  let answer = await send(request, values);
  if (answer.status === 401 && again) {
    const fallbacks = await Promise.all(
      upstream.credentials.map(({ fallback }, index) =>
        fallback ? secrets.get(fallback).catch(() => values[index]) : values[index],
      ),
    );
    if (fallbacks.some((value, index) => value !== values[index])) {
      answer.body?.cancel();
      progress.retries = 1;
      answer = await send(again, fallbacks);
    }
  }
  const response = new Response(answer.body, answer);
  const back = response.headers;
  const connection = back.get("connection")?.toLowerCase().split(/[ ,]+/);
  for (const name of [...back.keys()]) {
    if (HOP_BY_HOP.has(name) || name === "set-cookie" || connection?.includes(name)) {
      back.delete(name);
    }
  }
  back.append("server-timing", `secrets;dur=${secretsMs}, upstream;dur=${Date.now() - sent}`);
  return response;
}

function isRepeatable(request) {
  return (
    request.body === null || Number(request.headers.get("content-length") ?? NaN) <= MAX_REPEATED_BODY
  );
}

function answerOf(refusal) {
  const { status, code, message, headers } = refusal;
  return new Response(JSON.stringify({ success: false, errors: [{ code, message }] }), {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
  });
}

// A body of at most so many bytes: the runtime's own `text()` would hold one of any length.
async function readBody(body, limit) {
  if (!body) return new Uint8Array();
  const reader = body.getReader({ mode: "byob" });
  const chunks = [];
  let length = 0;
  for (let wanted = 16 * 1024; ; wanted = Math.min(2 * wanted, limit - length + 1)) {
    const { value } = await reader.readAtLeast(wanted, new Uint8Array(wanted));
    const read = value?.byteLength ?? 0;
    length += read;
    if (length > limit) {
      reader.cancel();
      throw new Refusal(413, 41301, "Too large");
    }
    if (read < wanted && length === read) return value;
    if (value) chunks.push(value);
    if (read < wanted) return new Uint8Array(await new Blob(chunks).arrayBuffer());
  }
}

// An answer as it stands in a batch: text, or else base64.
async function whole(answer, ms) {
  const bytes = await inTime(readBody(answer.body, MAX_BODY), ms);
  const result = { status: answer.status, headers: Object.fromEntries(answer.headers) };
  try {
    result.body = decoder.decode(bytes);
  } catch {
    result.body = bytes.toBase64();
    result.encoding = "base64";
  }
  return result;
}

async function batch(request, upstreams, host, secrets) {
  if (request.method !== "POST") {
    throw new Refusal(405, 40501, "Method not allowed", { headers: { allow: "POST" } });
  }
  const bytes = await readBody(request.body, MAX_BODY);
  let requests;
  try {
    ({ requests } = JSON.parse(decoder.decode(bytes)));
  } catch {
    throw new Refusal(400, 40001, "must be JSON");
  }
  if (!Array.isArray(requests)) throw new Refusal(400, 40001, "requests: must be a list");
  if (requests.length > 16) throw new Refusal(413, 41301, "Too large");
  const results = await Promise.all(
    requests.map(async ({ upstream: name, method = "GET", path = "", headers, body }) => {
      const upstream = upstreams.get(name);
      if (!upstream) throw new Refusal(404, 40401, "Not found");
      try {
        const inner = new Request(upstream.base_url, {
          method,
          headers,
          body: typeof body === "string" || body == null ? body : JSON.stringify(body),
          redirect: "manual",
          signal: request.signal,
        });
        const answer = await call(
          {
            upstream, request: inner, pathAndQuery: path, host, headers: request.headers,
            isRepeatable: true, progress: {},
          },
          secrets,
        );
        return await whole(answer, upstream.timeout_ms);
      } catch (error) {
        if (!(error instanceof Refusal) || error.status === 401) throw error;
        return await whole(answerOf(error), upstream.timeout_ms);
      }
    }),
  );
  return new Response(JSON.stringify({ success: true, result: results }), {
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}

async function route(request, env, line) {
  const url = request.url;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const host = url.slice(url.indexOf("://") + 3, start);
  const pathAndQuery = url.slice(start);
  const upstreams = readSettings(env);
  const secrets = new Secrets(env);
  if (pathAndQuery === "/batch") {
    line.route = "batch";
    return batch(request, upstreams, host, secrets);
  }
  if (pathAndQuery.startsWith("/proxy/")) {
    const rest = pathAndQuery.slice(7);
    const end = rest.search(/[/?]/);
    const upstream = upstreams.get(end < 0 ? rest : rest.slice(0, end));
    if (upstream) {
      line.route = "proxy";
      line.upstream = upstream.name;
      return call(
        {
          upstream, request, pathAndQuery: end < 0 ? "" : rest.slice(end), host,
          headers: request.headers, isRepeatable: isRepeatable(request), progress: line,
        },
        secrets,
      );
    }
  }
  throw new Refusal(404, 40401, "Not found");
}

async function respond(request, env) {
  const started = Date.now();
  const given = request.headers.get("x-request-id");
  const request_id = given !== null && REQUEST_ID.test(given) ? given : crypto.randomUUID();
  const line = { request_id, route: "unknown" };
  let response;
  try {
    response = await route(request, env, line);
  } catch (error) {
    const refusal =
      error instanceof Refusal
        ? error
        : new Refusal(500, 50001, "Configuration error", { kind: "unknown" });
    line.error = refusal.kind;
    line.cause = refusal.why;
    response = answerOf(refusal);
  }
  response.headers.set("x-request-id", request_id);
  line.status = response.status;
  line.ms = Date.now() - started;
  console.log(JSON.stringify(line));
  return response;
}

export default {
  fetch(request, env, ctx) {
    // A request that its caller gives up runs to its end, so that it is logged.
    const response = respond(request, env);
    ctx.waitUntil(response);
    return response;
  },
};
