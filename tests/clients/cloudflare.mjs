// The official SDK, pointed at the Worker: everything it can do with Secrets Store. It is started with
// the base URL, the account, a store and a token, and says what went wrong, if anything did.
import assert from "node:assert/strict";
import Cloudflare from "cloudflare";

const { BASE_URL: baseURL, ACCOUNT: account_id, STORE: store_id, TOKEN: apiToken } = process.env;
const { secretsStore } = new Cloudflare({ baseURL, apiToken, maxRetries: 0 });
const { secrets } = secretsStore.stores;
const account = { account_id };
const secret = { account_id, store_id };
const value = "5ecret of the SDK";
const scopes = ["workers"];

const all = async (pages) => {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
};
const names = (list) => list.map((it) => it.name);
const refuses = (promise, status, code, message) =>
  assert.rejects(Promise.resolve(promise), (error) => {
    assert.equal(error.status, status, error.message);
    assert.equal(error.errors[0].code, code, error.message);
    assert.match(error.errors[0].message, message);
    assert.ok(!error.message.includes("5ecret"));
    return true;
  });

assert.ok((await all(secretsStore.stores.list(account))).some((it) => it.id === store_id));
assert.equal((await secretsStore.stores.get(store_id, account)).id, store_id);

const [one] = await all(secrets.create(store_id, { ...account, body: [{ name: "sdk_1", value, scopes }] }));
const batch = ["sdk_2", "sdk_3"].map((name) => ({ name, value, scopes, comment: "batch" }));
const [two, three] = await all(secrets.create(store_id, { ...account, body: batch }));
assert.deepEqual(names([one, two, three]), ["sdk_1", "sdk_2", "sdk_3"]);

// Page by one through all of them, which the SDK follows by itself.
const query = { ...account, search: "sdk_", order: "name" };
assert.deepEqual(names(await all(secrets.list(store_id, { ...query, per_page: 1 }))), ["sdk_1", "sdk_2", "sdk_3"]);
assert.deepEqual(names(await all(secrets.list(store_id, { ...query, direction: "desc" }))), ["sdk_3", "sdk_2", "sdk_1"]);
assert.deepEqual(names(await all(secrets.list(store_id, { ...query, search: "batch" }))).length >= 2, true);

assert.equal((await secrets.get(one.id, secret)).name, "sdk_1");
const edited = await secrets.edit(one.id, { ...secret, value, scopes: ["workers", "dex"], comment: "edited" });
assert.deepEqual([edited.comment, edited.scopes], ["edited", ["workers", "dex"]]);
assert.deepEqual(names(await all(secrets.list(store_id, { ...query, scopes: ["dex"] }))), ["sdk_1"]);
const copy = await secrets.duplicate(one.id, { ...secret, name: "sdk_4", scopes });
assert.equal(copy.name, "sdk_4");
// Without scopes, which its types do not allow: the copy has its source's.
const like = await secrets.duplicate(one.id, { ...secret, name: "sdk_5" });
assert.deepEqual(like.scopes, ["workers", "dex"]);
const quota = await secretsStore.quota.get(account);
assert.ok(quota.secrets.usage >= 5 && quota.secrets.quota > quota.secrets.usage);

const create = (entry) => all(secrets.create(store_id, { ...account, body: [entry] }));
await refuses(create({ name: "sdk_1", value, scopes }), 409, 1003, /secret_name_already_exists/);
await refuses(create({ name: "", value, scopes }), 400, 1001, /secret_name_empty/);
await refuses(create({ name: "sdk_6", value, scopes: [] }), 400, 1001, /secret_scopes_empty/);
await refuses(create({ name: "sdk_6", value, scopes: ["x"] }), 400, 1001, /secret_scope_invalid/);
await refuses(secretsStore.stores.create({ ...account, name: "two" }), 409, 1003, /maximum_stores_exceeded/);
await refuses(secretsStore.stores.delete(store_id, account), 409, 1003, /store_not_empty/);
await refuses(secretsStore.stores.get("0".repeat(32), account), 404, 1001, /store_not_found/);
await refuses(secrets.get("0".repeat(32), secret), 404, 1001, /secret_not_found/);
await refuses(secretsStore.quota.get({ account_id: "1".repeat(32) }), 403, 10000, /Authentication error/);
const stranger = new Cloudflare({ baseURL, apiToken: "wrong", maxRetries: 0 });
await refuses(stranger.secretsStore.quota.get(account), 401, 10000, /Authentication error/);

await secrets.delete(one.id, secret);
await secrets.bulkDelete(store_id, account, { body: { secret_ids: [two.id, three.id, copy.id, like.id] } });
assert.deepEqual(await all(secrets.list(store_id, query)), []);
