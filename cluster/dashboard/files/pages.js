// The lists: for each kind of thing its question, its columns, and what can be done to one.
import { bytes, clock, count, micros, percent, placeOf, since, span, stateOfNode } from "./format.js";

const nodeOf = { key: "node", title: "node" };
const loopOf = { key: "loop", title: "loop" };
const num = (key, title, show) => ({ key, title, number: true, show: show ? (i) => show(i[key]) : (i) => count(i[key]) });

const stateOfConn = (c) => (c.closing ? "closing" : c.paused ? "peer slow" : !c.reading ? "not reading" : "open");
const stateOfTask = (t) => (t.circle ? "circle" : t.state);
const stateOfChild = (p) => (p.ended ? "ended" : p.closing ? "closing" : "running");

const bad = { dead: "bad", blocked: "bad", circle: "bad", error: "bad", suspect: "warn", silent: "warn", warn: "warn", "peer slow": "warn", "not reading": "warn", cancelling: "warn", draining: "warn", restarting: "warn", closing: "warn", paused: "warn", info: "calm", left: "calm", ended: "calm", waiting: "calm" };
const badge = (of) => (i) => bad[of(i)] || "good";
const state = (of) => ({ key: "state", title: "state", show: of, value: of, badge: badge(of) });

const at = (key, title) => ({ key, title, show: (i) => (i[key] ? since(i[key]) + " ago" : ""), value: (i) => i[key] || "" });

// An action is a button beside a row. path and params are the request, what is the sentence
// of the question; hard ones are red.
const cancel = { verb: "cancel", path: "tasks/cancel", reason: true, what: (t) => `Cancel the task ${t.name} (${t.id})`, effect: "Its wait ends with a CancelledError; it may clean up first, or refuse." };
const closeConn = { verb: "close", path: "conns/close", reason: true, what: (c) => `Close the connection ${c.id} of ${c.peer || "its peer"}`, effect: "What was written is sent first; then the peer sees the end." };
const abort = { verb: "abort", path: "conns/close", reason: true, params: { abort: "true" }, hard: true, what: (c) => `Abort the connection ${c.id} of ${c.peer || "its peer"}`, effect: "It ends at once; what was not sent is lost." };
const closeServer = { verb: "close", path: "servers/close", reason: true, hard: true, what: (s) => `Close the server ${s.id} on ${s.addresses.join(" ")}`, effect: "It takes no more connections; those that there are go on." };
const signal = (verb, sig, effect, hard) => ({ verb, path: "procs/signal", reason: true, hard, params: { signal: sig }, what: (p) => `Send ${sig} to process ${p.pid}: ${p.args.join(" ")}`, effect });
const stop = { verb: "stop", path: "actors/stop", hard: true, what: (a) => `Stop the actor ${a.id}`, effect: "It handles what it is handling, tells its watchers and ends." };
const fire = { verb: "fire now", path: "timers/fire", reason: true, what: (t) => `Make the timer ${t.id} due now`, effect: "Its function runs as soon as its owner has time." };
const cancelTimer = { verb: "cancel", path: "timers/cancel", reason: true, hard: true, what: (t) => `Take the timer ${t.id} back`, effect: "Its function does not run." };
const requeue = { verb: "requeue", path: "commands/requeue", reason: true, what: (c) => `Let the dead letter ${c.id} wait in its queue again`, effect: "It runs again, from its first attempt." };

export const pages = {
  nodes: {
    title: "Nodes", ask: "nodes?all=true", every: 1000,
    columns: [
      { key: "id", title: "node", class: "id" },
      state(stateOfNode),
      at("last_seen", "last seen"), num("loops", "loops"), num("tasks", "tasks"), num("conns", "conns"), num("served", "served"), num("calls", "calls"), num("calls_failed", "failed"),
      { key: "started", title: "age", show: (n) => (n.started ? since(n.started) : ""), value: (n) => n.started || "" },
      { key: "host", title: "host" }, num("pid", "pid", (v) => v || ""), { key: "version", title: "version" }, { key: "why", title: "why" },
    ],
  },
  loops: {
    title: "Loops", ask: "loops?measure=400ms&timeout=4s", every: 1000, charts: true,
    columns: [
      { key: "id", title: "loop", class: "id" },
      state((l) => l.state),
      { key: "busy", title: "busy", number: true, show: (l) => percent(l.measured?.busy), value: (l) => l.measured?.busy ?? -1 },
      { key: "lag", title: "lag p99", number: true, show: (l) => (l.state === "blocked" ? span(l.blocked_ms / 1000) : micros(l.measured?.lag_p99_us)), value: (l) => (l.state === "blocked" ? l.blocked_ms * 1000 : l.measured?.lag_p99_us ?? -1) },
      { key: "longest", title: "longest turn", number: true, show: (l) => micros(l.measured?.longest_turn_us), value: (l) => l.measured?.longest_turn_us ?? -1 },
      num("queue", "queue"), num("tasks", "tasks"), num("conns", "conns"), num("paused", "peer slow"), num("unsent_bytes", "unsent", bytes), num("timers", "timers"), num("children", "children"),
      { key: "servers", title: "serves", show: (l) => l.servers.join(" ") }, { key: "frame", title: "blocked in" },
    ],
  },
  tasks: {
    title: "Tasks", ask: "tasks?stack=1", every: 1500, detail: { ask: "tasks?stack=64" },
    columns: [
      { key: "id", title: "task", class: "id" }, { key: "name", title: "name" },
      state(stateOfTask),
      { key: "waits", title: "waits in" },
      { key: "waits_us", title: "for", number: true, show: (t) => (t.waits_us === undefined ? "" : micros(t.waits_us)), value: (t) => t.waits_us ?? -1 },
      { key: "at", title: "at", show: (t) => placeOf(t.stack?.[0]) },
      { key: "awaited_by", title: "awaited by", show: (t) => t.awaited_by.join(" ") }, { key: "parent", title: "made by" },
    ],
    actions: () => [cancel],
  },
  conns: {
    title: "Connections", ask: "conns", every: 1500,
    columns: [
      { key: "id", title: "connection", class: "id" }, { key: "peer", title: "peer" }, { key: "local", title: "local" },
      state(stateOfConn),
      num("bytes_in", "in", bytes), num("bytes_out", "out", bytes),
      { key: "write_buffer_bytes", title: "unsent of mark", number: true, show: (c) => bytes(c.write_buffer_bytes) + " / " + bytes(c.high_bytes), value: (c) => c.write_buffer_bytes },
      { key: "protocol", title: "protocol" }, { key: "tls", title: "tls" }, { key: "paused", title: "why paused" },
    ],
    actions: () => [closeConn, abort],
  },
  servers: {
    title: "Servers", ask: "servers", every: 2000,
    columns: [{ key: "id", title: "server", class: "id" }, { key: "addresses", title: "addresses", show: (s) => s.addresses.join(" ") }, state((s) => (s.serving ? "serving" : "paused")), num("failed", "failed")],
    actions: () => [closeServer],
  },
  procs: {
    title: "Children", ask: "procs", every: 2000,
    columns: [{ key: "id", title: "child", class: "id" }, num("pid", "pid", String), state(stateOfChild), { key: "args", title: "command", show: (p) => p.args.join(" ") }, { key: "dir", title: "folder" }],
    actions: (p) => (p.ended ? [] : [signal("terminate", "TERM", "Most programs end in order when they get it.", false), signal("kill", "KILL", "It ends at once and cannot clean up.", true)]),
  },
  actors: {
    title: "Actors", ask: "actors", every: 2000,
    columns: [{ key: "id", title: "actor", class: "id" }, loopOf, state((a) => (a.restart_due ? "restarting" : "running")), num("queued", "queued"), num("limit", "limit", (v) => v || ""), num("asks", "asks")],
    actions: () => [stop],
  },
  calls: {
    title: "Calls", ask: "calls", every: 1000,
    columns: [
      { key: "id", title: "call", class: "id" }, { key: "function", title: "function" }, { key: "from", title: "from" }, { key: "to", title: "to" },
      { key: "for_us", title: "for", number: true, show: (c) => micros(c.for_us) }, { key: "left_us", title: "left", number: true, show: (c) => micros(c.left_us) },
    ],
  },
  funcs: {
    title: "Functions", ask: "funcs", every: 5000,
    columns: [{ key: "id", title: "function", class: "id" }, { key: "in", title: "takes" }, { key: "out", title: "gives" }, { key: "nodes", title: "nodes", show: (f) => f.nodes.join(" ") }],
    keep: (f) => !f.internal, keyOf: (f) => f.id + "\u0000" + f.in + "\u0000" + f.out,
  },
  names: {
    title: "Names", ask: "names", every: 3000,
    columns: [{ key: "id", title: "name", class: "id" }, nodeOf, loopOf, { key: "token", title: "token", number: true, show: (n) => String(n.token) }, at("since", "since")],
  },
  timers: {
    title: "Timers", ask: "timers", every: 3000,
    columns: [{ key: "id", title: "timer", class: "id" }, { key: "function", title: "function" }, { key: "due", title: "due", show: (t) => (t.due ? new Date(t.due).toLocaleString("en-GB") : ""), value: (t) => t.due || "" }, { key: "rule", title: "rule" }, state((t) => t.state), num("attempts", "attempts"), { key: "error", title: "last error" }],
    actions: () => [fire, cancelTimer],
  },
  commands: {
    title: "Commands", ask: "commands", every: 3000,
    columns: [{ key: "id", title: "command", class: "id" }, { key: "queue", title: "queue" }, { key: "key", title: "key" }, { key: "function", title: "function" }, num("attempts", "attempts"), state((c) => c.state), at("sent", "sent"), { key: "error", title: "last error" }],
  },
  dead: {
    title: "Dead letters", ask: "commands/dead", every: 3000,
    columns: [{ key: "id", title: "command", class: "id" }, { key: "queue", title: "queue" }, { key: "key", title: "key" }, { key: "function", title: "function" }, num("attempts", "attempts"), at("ended", "ended"), { key: "error", title: "why" }],
    actions: () => [requeue],
  },
  events: {
    title: "Events",
    columns: [
      { key: "time", title: "time", show: (e) => clock(e.time), value: (e) => e.time }, { key: "level", title: "level", show: (e) => e.level, badge: badge((e) => e.level) },
      { key: "code", title: "code" }, { key: "kind", title: "kind" }, nodeOf, { key: "subject", title: "about", class: "id" }, { key: "text", title: "what" }, { key: "why", title: "why" },
    ],
  },
};

for (const [name, page] of Object.entries(pages)) {
  page.name = name;
  page.keyOf ||= (i) => i.id;
  page.actions ||= () => [];
  page.keep ||= () => true;
}
