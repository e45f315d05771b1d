// What stands around the measured Worker, in its own process: a Secrets Store and an upstream.
import { WorkerEntrypoint } from "cloudflare:workers";

// A binding of the Secrets Store; its `props` say what it answers, and after how many milliseconds.
export class Secret extends WorkerEntrypoint {
  get() {
    const { value, ms } = this.ctx.props;
    return ms ? scheduler.wait(ms).then(() => value) : value;
  }
}

const MIB = new Uint8Array(1024 * 1024);
const SMALL = JSON.stringify({ hello: "world", list: [1, 2, 3] });
const HEADERS = {
  "content-type": "application/json",
  "cache-control": "private, max-age=0",
  etag: '"33a64df551425fcc55e4d42a148795d9f25f89d4"',
  vary: "accept-encoding",
  "x-ratelimit-limit": "1000",
  "x-ratelimit-remaining": "999",
  "set-cookie": "session=1; HttpOnly",
};

// An upstream: `/small`; `/slow/{ms}`; `/download/{MiB}`; whatever is sent is read to its end.
export default {
  async fetch(request) {
    const [, what, number] = new URL(request.url).pathname.split("/");
    if (request.body) await request.body.pipeTo(new WritableStream());
    if (what === "slow") await scheduler.wait(Number(number));
    if (what !== "download") return new Response(SMALL, { headers: HEADERS });
    const { readable, writable } = new FixedLengthStream(Number(number) * MIB.length);
    const writer = writable.getWriter();
    (async () => {
      for (let mib = 0; mib < Number(number); mib += 1) await writer.write(MIB);
      await writer.close();
    })();
    return new Response(readable, { headers: HEADERS });
  },
};
