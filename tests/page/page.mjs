// What must be true of the status page, opened in a browser on the running Worker. It is started with
// the name of a claim, addresses and tokens, and says what is wrong, if anything is.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { launch } from "./chromium.mjs";

const { ADMIN, TOKEN, ADMIN_URL, PAGE_URL, BROKEN_URL, STORE_URL, PICTURES } = process.env;
const DESKTOP = { width: 840, height: 600 };
const PHONE = { width: 360, height: 640 };
// The same under a name that is not this machine's own, and taken for as safe as one with TLS.
const [ADMIN_ELSEWHERE, PAGE_ELSEWHERE] = [ADMIN_URL, PAGE_URL].map((url) =>
  url.replace("127.0.0.1", "gateway.example.com"),
);

const browser = await launch([
  "--host-resolver-rules=MAP gateway.example.com 127.0.0.1",
  `--unsafely-treat-insecure-origin-as-secure=${ADMIN_ELSEWHERE},${PAGE_ELSEWHERE}`,
]);

/** Opens the page; `options` are the browser's. What it complains about is noted, and fails the claim. */
async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    // That an answer is no 200 is told in the page.
    if (!message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  await page.addInitScript(() =>
    addEventListener("securitypolicyviolation", (event) =>
      console.error(`the policy forbids ${event.violatedDirective} ${event.blockedURI}`),
    ),
  );
  await page.goto(url);
  return page;
}
const complaints = [];

const told = (page) => page.getByRole("status");
const refresh = (page) => page.getByRole("button", { name: "Refresh" });

/** Waits for what the status says. */
async function says(page, text) {
  await told(page).filter({ hasText: text }).waitFor();
}

/** Enters a token, and waits until something is known. */
async function enter(page, token, text = "Checked at") {
  await page.getByLabel("Admin token").fill(token);
  await page.getByRole("button", { name: "Check" }).click();
  await says(page, text);
}

/** Every group with its rows, as a reader finds them. */
const groups = (page) =>
  page.locator("#groups section").evaluateAll((sections) =>
    sections.map((section) => ({
      name: section.querySelector("h2").innerText,
      note: section.querySelector("h2 + p")?.innerText,
      rows: [...section.querySelectorAll("li")].map((row) => ({
        name: row.querySelector("code").innerText,
        role: row.querySelector(".role").innerText,
        state: row.querySelector("b").innerText,
        ms: row.querySelector(".ms").innerText,
        bar: row.querySelector(".bar i").getBoundingClientRect().width,
        words: row.querySelector("p")?.innerText,
        command: row.querySelector("pre")?.innerText,
      })),
    })),
  );

/** Tells the binding of the Worker `page` what to do. */
async function tell(does, value = null) {
  const body = JSON.stringify({ name: "LEDGER_KEY", does, value });
  assert.equal((await fetch(STORE_URL, { method: "POST", body })).status, 200);
}

const readyz = async (url) =>
  (await (await fetch(`${url}/readyz`, { headers: { authorization: `Bearer ${ADMIN}` } })).json()).result;

/** The ratio of contrast of each text to what is behind it (WCAG 2.2, success criterion 1.4.3). */
const contrasts = (page) =>
  page.evaluate(() => {
    const channels = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = (color) => {
      const [r, g, b] = channels(color).map((it) => {
        const share = it / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
      const color = getComputedStyle(element).backgroundColor;
      const alpha = channels(color)[3] ?? 1;
      if (alpha === 1) return color;
      if (alpha !== 0 || !element.parentElement) throw new Error(`what is behind ${element.tagName}?`);
      return behind(element.parentElement);
    };
    return [...document.body.querySelectorAll("*")]
      .filter(
        (it) =>
          it.checkVisibility() &&
          [...it.childNodes].some((child) => child.nodeType === 3 && child.data.trim()),
      )
      .map((it) => {
        const [one, other] = [getComputedStyle(it).color, behind(it)].map(luminance).sort();
        return [`${it.tagName} ${it.innerText}`, (other + 0.05) / (one + 0.05)];
      });
  });

const claims = {
  async it_asks_for_nothing_before_it_has_a_token() {
    const page = await open("about:blank");
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    const answer = await page.goto(`${PAGE_URL}/`, { waitUntil: "networkidle" });
    assert.deepEqual(asked, [`${PAGE_URL}/`]);
    assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "Secrets Store gateway");
    // No token at all is not sent either.
    await page.getByRole("button", { name: "Check" }).click();
    assert.equal(asked.length, 1);
    // The whole page is small.
    const size = gzipSync(await answer.body(), { level: 9 }).length;
    assert.ok(size <= 4096, `${size} bytes, gzipped`);
  },

  async each_way_to_get_no_answer_is_told_in_words() {
    const page = await open(PAGE_URL);
    const field = page.getByLabel("Admin token");
    // A caller's token is no admin's.
    await enter(page, TOKEN, "This is not an admin’s token.");
    assert.match(await told(page).innerText(), /callers of \[vars\.SECRETS_STORE_API\]/);
    assert.equal(await field.inputValue(), "");
    assert.ok(await field.evaluate((it) => it === document.activeElement));
    // What no header can carry is not sent.
    await field.fill("tökén");
    await page.getByRole("button", { name: "Check" }).click();
    assert.equal(await field.evaluate((it) => it.validity.patternMismatch), true);

    await tell("answer", "5ecret-ledger-key");
    await enter(page, ADMIN);
    await page.context().setOffline(true);
    await refresh(page).click();
    await says(page, "There is no answer.");
    assert.deepEqual(await groups(page), [], "what was known is not known any more");
    await page.context().setOffline(false);
    await refresh(page).click();
    await says(page, "Checked at");
    await page.route("**/readyz", (route) => route.fulfill({ status: 403, body: "<h1>Blocked</h1>" }));
    await refresh(page).click();
    await says(page, "The answer is not the gateway’s.");
    assert.match(await told(page).innerText(), /Its status is 403\./);

    const broken = await open(BROKEN_URL);
    const answer = broken.waitForResponse("**/readyz");
    await enter(broken, ADMIN, "The settings have a mistake.");
    const id = (await answer).headers()["x-request-id"];
    assert.ok((await told(broken).innerText()).includes(`request id ${id}`));
  },

  async every_binding_is_shown_with_its_state_and_what_mends_it() {
    const page = await open(ADMIN_ELSEWHERE);
    await enter(page, ADMIN);
    const [failing, administration, ...others] = await groups(page);
    assert.deepEqual([failing.name, administration.name, others], ["failing", "Administration", []]);
    const known = await readyz(ADMIN_URL);
    const roles = ({ rows }) => rows.map(({ name, role }) => [name, role]);
    const { credentials } = known.upstreams.failing;
    assert.deepEqual(roles(failing), [
      ["TOKEN", "caller token"],
      ...credentials.map(({ secret }) => [secret, "header credential"]),
    ]);
    assert.deepEqual(roles(administration), [
      ["NOT_BOUND", "admin token"],
      ["ADMIN", "admin token"],
      ["KEY", "API token"],
    ]);
    const rows = [...failing.rows, ...administration.rows];
    assert.deepEqual(new Set(rows.map((it) => it.name)), new Set(Object.keys(known.bindings)));
    for (const row of rows) {
      const { state, error, mend } = known.bindings[row.name];
      assert.match(row.ms, /^\d+ ms$/);
      if (state === "ok") {
        assert.deepEqual([row.state, row.words, row.command], ["✓ ok", undefined, undefined]);
        continue;
      }
      assert.equal(row.state, `✗ ${state.replaceAll("_", " ")}`);
      const end = mend ? "." : ". Refresh to try it again.";
      assert.equal(row.words, error.replaceAll("`", "") + end);
      assert.equal(row.command, mend ?? undefined);
    }
    const of = (name) => rows.find((it) => it.name === name);
    assert.equal(of("NOT_FOUND").command, "cargo xtask doctor --remote");
    assert.match(
      of("IS_EMPTY").command,
      /^npx wrangler secrets-store secret update .* --remote\n.*secret put IS_EMPTY$/,
    );
    assert.equal(of("HANGS").command, undefined);
    // A bar is as long as it took: five seconds fill it.
    const [full, short] = [of("HANGS").bar, of("TOKEN").bar];
    assert.ok(full > 60 && short > 0 && short < full / 2, `${short} of ${full}`);
    const failed = Object.values(known.bindings).filter((it) => it.state !== "ok").length;
    const count = Object.keys(known.bindings).length;
    const status = await told(page).innerText();
    assert.match(
      status,
      new RegExp(`^${failed} of ${count} bindings cannot be had\\.\\nChecked at .*, in 5\\d{3} ms\\.$`),
    );

    // On one's own machine, the commands are for what is there.
    const own = await open(PAGE_URL);
    await tell("answer", "5ecret-ledger-key");
    await enter(own, ADMIN);
    const [ledger, maps, stripe] = await groups(own);
    assert.deepEqual(roles(stripe), [
      ["GATEWAY_TOKEN", "caller token"],
      ["STRIPE_KEY", "bearer credential"],
      ["STRIPE_KEY_PREVIOUS", "fallback"],
    ]);
    assert.equal(stripe.rows[2].command, "cargo xtask doctor");
    assert.deepEqual(
      [maps.note, roles(maps)],
      ["Public: anyone may call it.", [["MAPS_KEY", "query credential"]]],
    );
    assert.equal(
      maps.rows[0].command,
      "npx wrangler secrets-store secret update <store id> --secret-id <id>",
    );
    assert.deepEqual(roles(ledger)[2], ["LEDGER_KEY", "basic credential"]);
  },

  async names_are_shown_as_text_whatever_is_in_them() {
    const page = await open(PAGE_URL);
    const markup = (name) => `<img src=x onerror=alert(1)>${name}</code><script>alert(1)</script>`;
    const [caller, key, fallback] = ["A", "B", "C"].map(markup);
    const failed = {
      state: markup("s"),
      ms: 1,
      error: `${markup("e")} \`${markup("f")}\``,
      mend: markup("m"),
    };
    const result = {
      bindings: { [caller]: failed, [key]: failed, [fallback]: failed },
      upstreams: {
        [markup("u")]: { callers: [caller], credentials: [{ type: markup("t"), secret: key, fallback }] },
      },
      secrets_store_api: { callers: [caller], token: key },
    };
    await page.route("**/readyz", (route) =>
      route.fulfill({ status: 503, json: { success: false, result } }),
    );
    const elements = () => page.locator("img, script").count();
    const before = await elements();
    await enter(page, ADMIN);
    const [group] = await groups(page);
    assert.equal(group.name, markup("u"));
    assert.deepEqual(
      group.rows.map((it) => it.name),
      [caller, key, fallback],
    );
    assert.equal(group.rows[1].role, `${markup("t")} credential`);
    assert.equal(group.rows[1].command, markup("m"));
    assert.equal(await elements(), before);
    assert.equal(before, 1, "the page's own script");
  },

  async a_refresh_shows_what_has_changed() {
    const page = await open(PAGE_URL);
    const state = async () => (await groups(page))[0].rows.find((it) => it.name === "LEDGER_KEY").state;
    await tell("throw", 'Secret "x" not found');
    await enter(page, ADMIN);
    assert.equal(await state(), "✗ not found");
    await says(page, "3 of 8 bindings cannot be had.");
    await tell("answer", "5ecret-ledger-key");
    await refresh(page).click();
    await says(page, "2 of 8 bindings cannot be had.");
    assert.equal(await state(), "✓ ok");
    await tell("answer", "");
    await refresh(page).click();
    await says(page, "3 of 8 bindings cannot be had.");
    assert.equal(await state(), "✗ empty");
  },

  async the_token_is_kept_nowhere() {
    await tell("answer", "5ecret-ledger-key");
    const page = await open(PAGE_URL);
    const field = page.getByLabel("Admin token");
    assert.deepEqual(await field.evaluate((it) => [it.type, it.name, it.autocomplete]), [
      "password",
      "",
      "one-time-code",
    ]);
    const finds = async () => {
      const everywhere = await page.evaluate(async () => ({
        document: document.documentElement.outerHTML,
        fields: [...document.querySelectorAll("input")].map((it) => it.value),
        address: [location.href, document.referrer, history.state, document.title, name],
        storage: [{ ...localStorage }, { ...sessionStorage }, document.cookie, await indexedDB.databases()],
        globals: Object.keys(window)
          .filter((it) => typeof window[it] === "string")
          .map((it) => window[it]),
      }));
      const state = await page.context().storageState({ indexedDB: true });
      return JSON.stringify([everywhere, state]).includes("5ecret");
    };
    await field.fill(ADMIN);
    assert.equal(await page.evaluate(() => document.querySelector("#token").value), ADMIN);
    assert.ok(await finds(), "the search itself works");
    await page.getByRole("button", { name: "Check" }).click();
    assert.equal(await field.inputValue(), "", "the field is cleared at once");
    await says(page, "Checked at");
    assert.equal(await finds(), false);
    // It is gone with the page, and on request.
    await page.reload();
    assert.ok(await field.isVisible());
    assert.deepEqual([await finds(), await groups(page)], [false, []]);
    await enter(page, ADMIN);
    await page.getByRole("button", { name: "Forget the token" }).click();
    assert.ok(await field.isVisible());
    assert.deepEqual([await finds(), await groups(page), await told(page).innerText()], [false, [], ""]);
    assert.equal(await refresh(page).isVisible(), false);
  },

  async it_works_by_keyboard_and_says_what_it_does() {
    await tell("answer", "5ecret-ledger-key");
    const page = await open(PAGE_URL);
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.innerText);
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    await press("Tab");
    assert.equal(await focused(), "token");
    // That it has the focus is seen.
    assert.notEqual(
      await page.getByLabel("Admin token").evaluate((it) => getComputedStyle(it).outlineStyle),
      "none",
    );
    await page.keyboard.type(ADMIN);
    await press("Enter");
    await says(page, "Checked at");
    assert.equal(await focused(), "Refresh");
    await press("Enter");
    await says(page, "Checked at");
    assert.equal(await focused(), "Refresh");
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
    const heard = (await page.locator("body").ariaSnapshot()).replaceAll(/\s+/g, " ");
    for (const part of [
      '- heading "Secrets Store gateway" [level=1]',
      "- status:",
      '- button "Refresh"',
      '- heading "stripe" [level=2]',
      "- code: STRIPE_KEY - text: bearer credential ✓ ok",
      '- heading "Routes" [level=2]',
    ]) {
      assert.ok(heard.includes(part), `${part} is not in ${heard}`);
    }
    await press("Tab", "Enter");
    assert.equal(await focused(), "token");
  },

  async it_fits_a_phone_and_can_be_read_in_light_and_dark() {
    await tell("hang");
    const backgrounds = new Set();
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(PAGE_URL, { viewport: PHONE, colorScheme });
      const checkAll = async () => {
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= PHONE.width, `${width} px wide`);
        const texts = await contrasts(page);
        assert.ok(texts.length > 10);
        assert.deepEqual(
          texts.filter(([, contrast]) => contrast < 4.5),
          [],
        );
      };
      await checkAll();
      await enter(page, "wrong", "not an admin’s token");
      await checkAll();
      await enter(page, ADMIN);
      await says(page, "3 of 8");
      await checkAll();
      backgrounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    }
    assert.equal(backgrounds.size, 2);
  },

  /** Into the folder $PICTURES, which is docs/ for those that are kept there. */
  async its_pictures_are_taken() {
    await tell("hang");
    const folder = PICTURES || mkdtempSync(join(tmpdir(), "pictures-"));
    for (const [name, viewport, colorScheme] of [
      ["light", DESKTOP, "light"],
      ["dark", DESKTOP, "dark"],
      ["phone", PHONE, "light"],
    ]) {
      const page = await open(PAGE_ELSEWHERE, { viewport, colorScheme });
      await enter(page, ADMIN);
      // Nothing has the focus, as where one looks on without a hand on the keyboard.
      await page.evaluate(() => document.activeElement.blur());
      const file = join(folder, `status-page-${name}.png`);
      const palette = { palette: true, effort: 10, dither: 0 };
      await sharp(await page.screenshot({ fullPage: true }))
        .png(palette)
        .toFile(file);
      const { width, height } = await sharp(readFileSync(file)).metadata();
      assert.ok(width === viewport.width && height > viewport.height, `${width} x ${height}`);
      assert.ok(statSync(file).size < 100_000, `${file} is large`);
    }
    if (!PICTURES) rmSync(folder, { recursive: true });
  },
};

const claim = claims[process.argv[2]];
try {
  assert.ok(claim, `there is no claim ${process.argv[2]}`);
  await claim();
  assert.deepEqual(complaints, []);
} finally {
  await browser.close();
}
