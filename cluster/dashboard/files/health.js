// What is wrong, in sentences, from the same answers as everything else: the worst first.
// Each says where to look.
import { micros, plain, since, span } from "./format.js";

// circles follows who waits for whom among tasks that wait for themselves, each once.
export function circles(tasks) {
  const inCircle = new Map(tasks.filter((t) => t.circle).map((t) => [t.id, t]));
  const waitsFor = new Map(); // task → those it waits for
  for (const t of inCircle.values()) for (const by of t.awaited_by) if (inCircle.has(by)) waitsFor.set(by, t.id);
  const seen = new Set(), out = [];
  for (const id of inCircle.keys()) {
    if (seen.has(id)) continue;
    const way = [];
    let at = id;
    while (at && !seen.has(at)) {
      seen.add(at);
      way.push(inCircle.get(at));
      at = waitsFor.get(at);
    }
    if (way.length) out.push(way);
  }
  return out;
}

export function problems({ nodes, loops, tasks, calls, partial }) {
  const out = [];
  const add = (level, text, view) => out.push({ level, text: plain(text), view });
  for (const n of nodes) {
    if (n.state === "dead") add("bad", `${n.id} is dead, last seen ${since(n.last_seen)} ago`, { page: "events", filter: n.id });
    if (n.draining && n.state === "ready") add("warn", `${n.id} is being drained`, { page: "events", filter: n.id });
    if (n.state === "suspect" || n.state === "silent") add("warn", `${n.id} is ${n.state}, last heard of ${since(n.last_seen)} ago`, { page: "nodes" });
  }
  for (const l of loops) if (l.state === "blocked") add("bad", `${l.id} is blocked for ${span(l.blocked_ms / 1000)} in ${l.frame || "a callback"}`, { page: "loops", id: l.id });
  for (const way of circles(tasks)) add("bad", `${way.length} tasks on ${way[0].node}/${way[0].loop} wait for each other: ${[...way, way[0]].map((t) => t.name).join(" → ")}`, { page: "tasks", filter: "circle" });
  for (const l of loops) if (l.measured?.lag_p99_us > 50000) add("warn", `${l.id} runs ${micros(l.measured.lag_p99_us)} late, ${Math.round(l.measured.busy * 100)} % busy`, { page: "loops", id: l.id });
  for (const l of loops) if (l.paused > 0) add("warn", `${l.paused} ${l.paused === 1 ? "peer does" : "peers do"} not read on ${l.id}`, { page: "conns", filter: l.id + " slow" });
  const old = calls.filter((c) => c.for_us > 2e6);
  if (old.length) add("warn", `${old.length === 1 ? "a call waits" : old.length + " calls wait"} for more than 2 s: ${old[0].function} on ${old[0].to}, ${micros(old[0].for_us)}`, { page: "calls" });
  for (const m of partial) if (m.id.includes("/") && !loops.some((l) => l.id === m.id)) add("warn", `${m.id} does not answer: ${m.error.message}`, { page: "loops" });
  return out;
}
