// A Secrets Store whose bindings do what their `props` say: also what no real one can be made to do.
import { WorkerEntrypoint } from "cloudflare:workers";

// How often each binding was asked, and how many that meet are waiting.
const gets = {};
const waiting = { meet: new Set(), pair: new Set(), early: new Set() };
// What the bindings that do as they are told are to do now: `{ does, value }` by their name.
const told = {};

export class Secret extends WorkerEntrypoint {
  async get() {
    const { name, ...props } = this.ctx.props;
    const { does, value } = (props.does === "as told" && told[name]) || props;
    gets[name] = (gets[name] ?? 0) + 1;
    switch (does) {
      case "answer":
        return value;
      case "throw":
        throw new Error(value);
      case "hang":
        await scheduler.wait(60_000);
        return "too late";
      case "change":
        return `${value}-${gets[name]}`;
      // Answers after `value.ms`.
      case "take":
        await scheduler.wait(value.ms);
        return value.value;
      // Answers once as many as `value.of` says are asked at the same time; otherwise hangs.
      case "meet":
      case "pair":
      case "early":
        waiting[does].add(name);
        while (waiting[does].size < value.of) await scheduler.wait(5);
        return value.value;
      case "nothing":
        return undefined;
      default:
        throw new Error(`the test store does not know ${does}`);
    }
  }
}

export default {
  // Tells the counts; what is posted, `{ name, does, value }`, tells a binding what to do from now on.
  async fetch(request) {
    if (request.method === "POST") {
      const { name, ...state } = await request.json();
      told[name] = state;
    }
    return Response.json(gets);
  },
};
