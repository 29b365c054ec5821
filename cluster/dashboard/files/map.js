// The live map: a card for each node, a lane for each of its loops with the heat of its
// lag and its tasks, and between them what is called and connected.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { history, note } from "./charts.js";
import { bytes, clock, count, micros, plain, since, span, stateOfNode } from "./format.js";
import { problems } from "./health.js";
import { colour, Heat } from "./heat.js";
import { curve, laneY, place } from "./layout.js";
import { Rates } from "./rates.js";
import { follow, link } from "./route.js";
import { Tasks } from "./taskdots.js";

const adminLoop = "admin"; // answers for its node; it is in the list of loops
const maxLinks = 40, maxPeers = 18, drawConnsBelow = 1500;

// ends cuts NODE/LOOP; the rest of an id is not looked at.
function ends(id) {
  const at = id.indexOf("/");
  return at < 0 ? [id, ""] : [id.slice(0, at), id.slice(at + 1)];
}

// gather puts calls and messages between the same two lanes together.
function gather(traffic, rates, calls, laneOf) {
  const out = new Map();
  const at = (from, to) => {
    const [fn, fl] = ends(from), [tn, tl] = ends(to);
    if (fn === tn) return null;
    const fi = laneOf(fn, fl), ti = laneOf(tn, tl), key = fn + "\n" + fi + "\n" + tn + "\n" + ti;
    if (!out.has(key)) out.set(key, { key, from: fn, fi, to: tn, ti, kind: "call", rate: 0, weighed: 0, total: 0, waiting: 0, oldest: null });
    return out.get(key);
  };
  for (const t of traffic) {
    const e = at(t.from, t.to);
    if (!e) continue;
    const perSecond = rates.of(t.id, 0) + rates.of(t.id, 1);
    e.rate += perSecond;
    e.weighed += rates.of(t.id, 2);
    e.calls = (e.calls || 0) + rates.of(t.id, 0);
    e.total += t.calls + t.messages;
  }
  for (const c of calls) {
    const e = at(c.from, c.to);
    if (!e) continue;
    e.waiting++;
    if (!e.oldest || c.for_us > e.oldest.for_us) e.oldest = c;
  }
  return [...out.values()].filter((e) => e.rate >= 0.05 || e.waiting).sort((a, b) => b.rate + b.waiting - a.rate - a.waiting).slice(0, maxLinks);
}

// connected finds connections whose two ends are both here, by their addresses.
function connected(conns, rates, laneOf) {
  // All connections that a server took have its address: only both addresses tell one.
  const ends = (from, to) => from + "|" + to;
  const byEnds = new Map(conns.map((c) => [ends(c.local, c.peer), c]));
  const out = new Map(), inside = new Map();
  for (const c of conns) {
    const o = byEnds.get(ends(c.peer, c.local));
    if (!o || o === c) continue;
    inside.set(c.node + "/" + c.loop, (inside.get(c.node + "/" + c.loop) || 0) + 1);
    if (c.node >= o.node) continue; // within a node it is no line; else each is met twice
    const fi = laneOf(c.node, c.loop), ti = laneOf(o.node, o.loop), key = [c.node, fi, o.node, ti].join("\n");
    const e = out.get(key) || { key: "c" + key, from: c.node, fi, to: o.node, ti, kind: "conn", conns: 0, rate: 0 };
    e.conns++;
    e.rate += rates.of(c.id, 0) + rates.of(c.id, 1);
    out.set(key, e);
  }
  return { links: [...out.values()], inside };
}

function Spark({ values }) {
  const w = 72, h = 20, most = Math.max(1e-9, ...values);
  const points = values.map((v, i) => `${((i * w) / Math.max(values.length - 1, 1)).toFixed(1)},${(h - 1.5 - (v / most) * (h - 4)).toFixed(1)}`).join(" ");
  return html`<svg class="spark" width=${w} height=${h} aria-hidden="true"><polyline points=${points} /></svg>`;
}

const series = {}; // of the numbers above the map
function remember(name, at, value) {
  const s = (series[name] ||= []);
  if (s.at(-1)?.at !== at) s.push({ at, value });
  if (s.length > 60) s.shift();
  return s.map((p) => p.value);
}

function Figure({ name, at, value, text, more, view }) {
  const values = remember(name, at, value);
  return html`<a class="number" href=${link(view)} onClick=${follow(view)}><span class="what">${name}</span><span class="value">${text ?? count(value)}</span><${Spark} values=${values} /><span class="more">${more}</span></a>`;
}

// Peers are what is connected from outside: a point for each, up to maxPeers.
function Peers({ card, index, n, slow }) {
  const drawn = Math.min(n, maxPeers), down = card.side === "bottom";
  const y0 = laneY(card, index), out = card.side === "left" ? -1 : 1;
  const points = [];
  for (let i = 0; i < drawn; i++) {
    const t = drawn === 1 ? 0 : (i / (drawn - 1)) * 2 - 1;
    const reach = 30 + 16 * Math.cos(t * 1.35) + (i % 2) * 7;
    points.push(down ? [card.x + card.w + reach, y0 + t * Math.min(24, 5 * drawn)] : [(out < 0 ? card.x : card.x + card.w) + out * reach, y0 + t * Math.min(24, 5 * drawn)]);
  }
  const x0 = down || out > 0 ? card.x + card.w : card.x, ox = down ? 1 : out;
  return html`<g class="peers">${points.map(([x, y], i) => html`<path class="thread" d=${`M${x0} ${y0} Q${x0 + ox * 16} ${y0} ${x.toFixed(1)} ${y.toFixed(1)}`} /><circle class=${i < slow ? "slow" : ""} cx=${x.toFixed(1)} cy=${y.toFixed(1)} r="2.6" />`)}
    <text x=${x0 + ox * 66} y=${y0 + 4} text-anchor=${ox < 0 ? "end" : "start"}>${count(n)}</text></g>`;
}

function Lane({ loop, lags, tasks }) {
  const blocked = loop.state === "blocked", lag = loop.measured?.lag_p99_us;
  return html`<a class=${"lane" + (blocked ? " blocked" : "")} href=${link({ page: "tasks", filter: "loop:" + loop.name })} onClick=${follow({ page: "tasks", filter: loop.id + "/" })}>
    <span class="name"><span class="unseen">${plain(loop.node)}/</span>${plain(loop.name)}</span>
    <${Heat} lags=${lags} />
    <span class="unseen">lag</span><span class="lag" style=${{ "--heat": colour(blocked ? 1e6 : lag || 0) }}>${blocked ? "blocked" : micros(lag)}</span>
    <span class="busy">${blocked ? span(loop.blocked_ms / 1000) : loop.measured ? Math.round(loop.measured.busy * 100) + " % busy" : ""}</span>
    ${blocked ? html`<span class="frame">${plain(loop.frame || "a callback does not return")}</span>` : html`<${Tasks} tasks=${tasks} all=${loop.tasks} />`}
    <span class="chips">${loop.servers.length > 0 && html`<span title=${"serves " + loop.servers.join(" ")}>on ${plain(loop.servers[0].replace(/^.*:/, ":"))}${loop.servers.length > 1 ? " +" + (loop.servers.length - 1) : ""}</span>`}${loop.children > 0 && html`<span>${loop.children} child${loop.children > 1 ? "ren" : ""}</span>`}</span>
  </a>`;
}

function Card({ node, card, lanes, tasksOf }) {
  const gone = node.state === "dead" || node.state === "left";
  const past = history(), state = stateOfNode(node);
  return html`<section class=${"card " + state} aria-label=${plain(`node ${node.id}, ${state}`)} style=${{ left: card.x + "px", top: card.y + "px", width: card.w + "px", height: card.h + "px" }}>
    <header><span class="dot"></span><b>${plain(node.id)}</b><span class="state">${state}</span>
      <span class="about">${gone || node.state === "suspect" || node.state === "silent" ? "last seen " + since(node.last_seen) + " ago" : [node.host, node.pid && "pid " + node.pid, node.started && "up " + since(node.started)].filter(Boolean).map(plain).join(" · ")}</span></header>
    ${gone ? html`<p class="why">${plain(node.why || "")}</p>` : !lanes.length ? html`<p class="why">no loop has answered</p>` : lanes.map((l) => html`<${Lane} key=${l.id} loop=${l} lags=${past.map((s) => s.lags[l.id])} tasks=${tasksOf(l.id)} />`)}
  </section>`;
}

// speed is a class: the animation is in the style sheet.
const speed = (rate) => (rate > 300 ? "s4" : rate > 50 ? "s3" : rate > 5 ? "s2" : "s1");

function Link({ e, line }) {
  const w = 1.2 + Math.min(3.4, Math.log10(1 + e.rate) * (e.kind === "conn" ? 0.4 : 1));
  const late = e.oldest && e.oldest.for_us > 1e6;
  return html`<g class=${"link " + e.kind + (late ? " late" : "")}><path class="base" d=${line.d} style=${{ strokeWidth: w }} />
    ${e.rate >= 0.05 && html`<path class=${"flow " + speed(e.kind === "conn" ? e.rate / 1000 : e.rate)} d=${line.d} style=${{ strokeWidth: w + 2.2 }} />`}
    <circle cx=${line.end[0]} cy=${line.end[1]} r=${w + 1.6} /></g>`;
}

function labelOf(e) {
  if (e.kind === "conn") return [`${e.conns} conn${e.conns > 1 ? "s" : ""}`, e.rate >= 1 ? bytes(e.rate) + "/s" : ""];
  const first = e.rate >= 0.05 ? (e.rate < 10 ? e.rate.toFixed(1) : count(Math.round(e.rate))) + "/s" : `${e.waiting} wait${e.waiting > 1 ? "" : "s"}`;
  const late = e.oldest && e.oldest.for_us > 1e6;
  return [first, late ? `${e.oldest.function} ${micros(e.oldest.for_us)}` : e.calls > 0.05 ? micros(e.weighed / e.calls) : ""];
}

// spread moves labels apart that would cover each other, by the widths of their texts.
function spread(all) {
  const out = [];
  for (const l of [...all].sort((a, b) => a.y - b.y)) {
    l.text = labelOf(l.e);
    l.w = l.text.join(" ").length * 6.3 + 24;
    const covers = (o) => Math.abs(o.x - l.x) < (o.w + l.w) / 2 && Math.abs(o.y - l.y) < 24;
    for (let o = out.find(covers); o; o = out.find(covers)) l.y = o.y + 24.5;
    out.push(l);
  }
  return out;
}

function Health({ all, nodes }) {
  if (!all.length) return html`<p class="health good"><span class="dot"></span>${nodes.length === 1 ? "The node is ready" : `All ${nodes.length} nodes are ready`}; no loop is late, nothing waits for itself.</p>`;
  return html`<ul class="health">${all.slice(0, 4).map((p) => html`<li class=${p.level}><span class="dot"></span><a href=${link(p.view)} onClick=${follow(p.view)}>${p.text}</a></li>`)}${all.length > 4 && html`<li class="quiet">and ${all.length - 4} more</li>`}</ul>`;
}

function Ticker({ events }) {
  return html`<section class="ticker" aria-label="the newest events"><h2>Events</h2>${events.length === 0 ? html`<p class="quiet">nothing has happened in the last ten minutes</p>` : html`<ol>${events.slice(0, 4).map((e) => html`<li key=${e.id}><time>${clock(e.time).slice(0, 8)}</time><span class=${"dot " + e.level}></span><code>${e.code}</code><b>${plain(e.node)}</b><span>${plain(e.text)}${e.subject && !e.text.includes(e.subject) ? html` <span class="quiet">${plain(e.subject)}</span>` : ""}${e.why ? html` <span class="quiet">${plain(e.why)}</span>` : ""}</span></li>`)}</ol>`}</section>`;
}

function Legend() {
  return html`<p class="legend"><span><i class="scale"></i>lag 0.1 ms – 1 s</span><span><i class="task run"></i>task runs</span><span><i class="task"></i>waits</span><span><i class="task circle"></i>waits for itself</span><span><i class="line call"></i>calls</span><span><i class="line conn"></i>connections</span></p>`;
}

export function LiveMap({ useAnswers, useEvents, Banner }) {
  const nodes = useAnswers("nodes", 1000), loops = useAnswers("loops?measure=400ms&timeout=4s", 1000), tasks = useAnswers("tasks?stack=1", 1500);
  const traffic = useAnswers("traffic", 1000), calls = useAnswers("calls", 1000);
  const many = (loops.data?.items || []).reduce((n, l) => n + l.conns, 0);
  const conns = useAnswers(many > 0 && many < drawConnsBelow ? "conns" : "", 1500);
  const events = useEvents("10m");
  const [rates] = useState(() => new Rates()), [flows] = useState(() => new Rates());
  const box = useRef(null), [[width, room], setSize] = useState([0, 0]);
  useLayoutEffect(() => {
    const look = () => box.current && setSize([box.current.clientWidth, box.current.parentElement.clientHeight]);
    const seen = new ResizeObserver(look);
    seen.observe(box.current.parentElement);
    look();
    return () => seen.disconnect();
  }, []);
  note(loops.data, loops.at);
  rates.feed(traffic.at, traffic.data?.items || [], (t) => t.id, (t) => [t.calls, t.messages, t.waited_us]);
  flows.feed(conns.at, conns.data?.items || [], (c) => c.id, (c) => [c.bytes_in, c.bytes_out]);

  const allNodes = nodes.data?.items || [], allLoops = loops.data?.items || [], allTasks = (tasks.data?.items || []).filter((t) => !t.name.startsWith("loopmesh."));
  const lanesOf = useMemo(() => {
    const out = {};
    for (const l of allLoops) if (l.name !== adminLoop) (out[l.node] ||= []).push(l);
    return out;
  }, [loops.data]);
  const byLoop = useMemo(() => {
    const out = {};
    for (const t of allTasks) (out[t.node + "/" + t.loop] ||= []).push(t);
    return out;
  }, [tasks.data]);
  const gone = (n) => n.state === "dead" || n.state === "left";
  const shape = place(allNodes.map((n) => ({ id: n.id, lanes: gone(n) ? 0 : (lanesOf[n.id] || []).length })), width || 1000, room);
  const laneOf = (node, name) => (lanesOf[node] || []).findIndex((l) => l.name === name);
  const drawn = connected(conns.data?.items || [], flows, laneOf);
  const links = [...drawn.links, ...gather(traffic.data?.items || [], rates, calls.data?.items || [], laneOf)]
    .map((e) => ({ e, a: shape.cards.get(e.from), b: shape.cards.get(e.to) })).filter((l) => l.a && l.b)
    .map((l) => ({ ...l, line: curve(l.a, l.e.fi, l.b, l.e.ti, l.e.kind === "conn" ? 0 : l.e.from < l.e.to ? -7 : 7, width) }));
  const labels = spread(links.map((l) => ({ e: l.e, x: l.line.x, y: l.line.y })));
  const wrong = problems({ nodes: allNodes, loops: allLoops, tasks: allTasks, calls: calls.data?.items || [], partial: loops.data?.partial || [] });

  const ready = allNodes.filter((n) => stateOfNode(n) === "ready").length, users = allLoops.filter((l) => l.name !== adminLoop);
  const worst = Math.max(0, ...users.map((l) => (l.state === "blocked" ? l.blocked_ms * 1000 : l.measured?.lag_p99_us || 0)));
  const perSecond = (i) => [...rates.rates.values()].reduce((n, r) => n + r[i], 0);
  const sum = (key) => users.reduce((n, l) => n + l[key], 0);
  const old = nodes.error || loops.error;
  return html`
    <div class="bar"><h1>Map</h1><${Health} all=${nodes.data && loops.data ? wrong : []} nodes=${allNodes} /></div>
    <${Banner} answers=${nodes.error ? nodes : loops} />
    <div class=${"numbers" + (old ? " old" : "")}>
      <${Figure} name="nodes ready" at=${nodes.at} value=${ready} text=${`${ready} of ${allNodes.length}`} view=${{ page: "nodes" }} />
      <${Figure} name="worst lag" at=${loops.at} value=${worst} text=${micros(worst)} view=${{ page: "loops", sort: "-lag" }} />
      <${Figure} name="tasks" at=${loops.at} value=${sum("tasks")} view=${{ page: "tasks" }} />
      <${Figure} name="connections" at=${loops.at} value=${sum("conns")} view=${{ page: "conns" }} />
      <${Figure} name="calls a second" at=${traffic.at} value=${perSecond(0)} text=${count(Math.round(perSecond(0)))} view=${{ page: "calls" }} />
      <${Figure} name="messages a second" at=${traffic.at} value=${perSecond(1)} text=${count(Math.round(perSecond(1)))} view=${{ page: "actors" }} />
    </div>
    <div class=${"map" + (old ? " old" : "")} tabindex="0" role="region" aria-label="map of the cluster">
      <div class="plane" ref=${box} style=${{ height: shape.height + "px" }}>
        <svg class="links" width=${width} height=${shape.height} aria-hidden="true">
          ${allNodes.filter((n) => !gone(n)).flatMap((n) => (lanesOf[n.id] || []).map((l, i) => {
            const outside = l.conns - (drawn.inside.get(l.id) || 0);
            return outside > 0 && html`<${Peers} key=${l.id} card=${shape.cards.get(n.id)} index=${i} n=${outside} slow=${l.paused} />`;
          }))}
          ${links.map((l) => html`<${Link} key=${l.e.key} e=${l.e} line=${l.line} />`)}
        </svg>
        ${allNodes.map((n) => html`<${Card} key=${n.id} node=${n} card=${shape.cards.get(n.id)} lanes=${lanesOf[n.id] || []} tasksOf=${(id) => byLoop[id] || []} />`)}
        ${labels.map(({ e, x, y, text }) => html`<span key=${e.key} class=${"label " + e.kind + (e.oldest?.for_us > 1e6 ? " late" : "")} style=${{ left: x + "px", top: y + "px" }}><b>${text[0]}</b> ${plain(text[1])}</span>`)}
      </div>
    </div>
    <${Legend} />
    <${Ticker} events=${events} />`;
}
