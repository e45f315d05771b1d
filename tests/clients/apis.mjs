// What official API clients get through the Worker. It runs after the `js` blocks of docs/clients.md,
// which make the clients, in one file; the test upstream plays the APIs.
import assert from "node:assert/strict";

setTimeout(() => assert.fail("it took too long"), 60_000).unref();

const messages = [{ role: "user", content: "Hello" }];
const model = "any";
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What of a stream `text` finds something in. The upstream sends the first, and waits with the
 * rest until the gate is open: an answer that does not stream never comes to its end. */
const streamed = async (stream, gate, text) => {
  const got = [];
  for await (const event of stream) {
    if (text(event)) got.push(text(event));
    if (got.length === 1) await fetch(`${process.env.STAND_IN}/open/${gate}`);
  }
  return got;
};
const refused = (promise, Error, status, message) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof Error, error.stack);
    assert.equal(error.status ?? error.statusCode, status, error.message);
    assert.match(error.message, message);
    assert.ok(!error.message.includes("5ecret"));
    return true;
  });
const file = (name) => new File(["x".repeat(300_000)], name);

/** By its base URL, with a bearer. */
const tryOpenAI = async () => {
  for (const client of [openai, new OpenAI()]) {
    const { choices } = await client.chat.completions.create({ model, messages });
    assert.equal(choices[0].message.content, "Hello there!");
  }
  const gate = "openai-js";
  const stream = await openai.chat.completions.create({ model, messages, stream: true, user: gate });
  const said = await streamed(stream, gate, (chunk) => chunk.choices[0].delta.content);
  assert.deepEqual(said, ["Hello", " there", "!"]);

  const uploaded = await openai.files.create({ file: file("a.jsonl"), purpose: "batch" });
  assert.deepEqual([uploaded.filename, uploaded.purpose, uploaded.bytes], ["a.jsonl", "batch", 300_000]);

  // It tries again by itself after a 429.
  assert.deepEqual((await openai.models.list()).data.map((it) => it.id), ["gpt-5"]);
  await assert.rejects(openai.withOptions({ maxRetries: 0 }).models.list(), OpenAI.RateLimitError);
  await refused(openai.models.retrieve("no-such-model"), OpenAI.NotFoundError, 404, /does not exist/);
  const error = await openai.models.retrieve("no-such-model").catch((error) => error);
  assert.equal(error.code, "model_not_found");
  assert.match(error.requestID, uuid);

  const stranger = openai.withOptions({ apiKey: "wrong" });
  await refused(stranger.models.list(), OpenAI.AuthenticationError, 401, /^401 /);
  // It tries again where the gateway cannot reach the API.
  let tries = 0;
  const counted = (...request) => (tries++, fetch(...request));
  const baseURL = `${process.env.GATEWAY}/proxy/unreachable`;
  const lost = openai.withOptions({ baseURL, fetch: counted, maxRetries: 1 });
  await refused(lost.models.list(), OpenAI.InternalServerError, 502, /^502 /);
  assert.equal(tries, 2);
};

/** By its base URL, with a header of its own. */
const tryAnthropic = async () => {
  const wanted = { model, messages, max_tokens: 9 };
  for (const client of [anthropic, new Anthropic()]) {
    const { content } = await client.messages.create(wanted);
    assert.equal(content[0].text, "Hello there!");
  }
  const metadata = { user_id: "anthropic-js" };
  const stream = anthropic.messages.stream({ ...wanted, metadata });
  const said = await streamed(stream, metadata.user_id, (event) => event.delta?.text);
  assert.deepEqual(said, ["Hello", " there", "!"]);
  assert.equal((await stream.finalMessage()).stop_reason, "end_turn");

  // It tries again by itself after a 529.
  assert.deepEqual((await anthropic.models.list({ limit: 1 })).data.map((it) => it.id), ["claude-1"]);
  const none = anthropic.messages.create({ ...wanted, model: "no-such-model" });
  await refused(none, Anthropic.NotFoundError, 404, /model: no-such-model/);
  const stranger = anthropic.withOptions({ apiKey: "wrong" });
  const refusal = /Authentication required/;
  await refused(stranger.messages.create(wanted), Anthropic.AuthenticationError, 401, refusal);
};

/** By its host alone. */
const tryStripe = async () => {
  // It tries again by itself after a 503, with the same idempotency key.
  const customer = await stripe.customers.create({ email: "a@example.com" });
  assert.equal(customer.id, "cus_1");
  const ids = [];
  for await (const { id } of stripe.customers.list({ limit: 2 })) ids.push(id);
  assert.deepEqual(ids, ["cus_1", "cus_2", "cus_3"]);
  const { StripeCardError } = Stripe.errors;
  const charge = stripe.charges.create({ amount: 1, currency: "eur", source: "tok_chargeDeclined" });
  await refused(charge, StripeCardError, 402, /Your card was declined/);
  await assert.rejects(charge, { code: "card_declined", requestId: "req_1" });
  // A client that is refused takes the envelope for a customer.
  const stranger = await stripe.customers.retrieve("cus_1", {}, { apiKey: "wrong" });
  assert.equal(stranger.errors[0].message, "Authentication required");
};

/** By its base URL, with a scheme of its own. */
const tryOctokit = async () => {
  // Its answer is packed.
  const { data } = await octokit.rest.repos.get({ owner: "o", repo: "r" });
  assert.equal(data.full_name, "o/r");
  const wanted = { owner: "o", repo: "r", per_page: 1 };
  const issues = await octokit.paginate(octokit.rest.issues.listForRepo, wanted);
  assert.deepEqual(issues.map((it) => it.number), [1, 2]);
  const none = octokit.rest.repos.get({ owner: "o", repo: "none" });
  await assert.rejects(none, { name: "HttpError", status: 404, message: /^Not Found/ });
  const stranger = new Octokit({ auth: "wrong", baseUrl: `${process.env.GATEWAY}/proxy/github` });
  const refusal = { name: "HttpError", status: 401, message: /Authentication required/ };
  await assert.rejects(stranger.rest.repos.get(wanted), refusal);
};

/** By its base URL, with a user and a password. */
const tryMailgun = async () => {
  const mail = { from: "a@example.com", to: "b@example.com", subject: "Hello", text: "Hello there!" };
  const attachment = { filename: "a.txt", data: "x".repeat(300_000) };
  const sent = await mailgun.messages.create("mg.example.com", { ...mail, attachment });
  assert.equal(sent.message, "Queued, 300000 bytes attached");
  const none = mailgun.messages.create("none.example.com", mail);
  await assert.rejects(none, { status: 404, details: "Domain not found" });
  const url = `${process.env.GATEWAY}/proxy/mailgun`;
  const stranger = new Mailgun(FormData).client({ username: "api", key: "wrong", url });
  await assert.rejects(stranger.messages.create("mg.example.com", mail), { status: 401, message: "Unauthorized" });
};

await Promise.all([tryOpenAI(), tryAnthropic(), tryStripe(), tryOctokit(), tryMailgun()]);
// Stripe's client leaves the answer unread that made it try again, and so its connection open.
process.exit();
