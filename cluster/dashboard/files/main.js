// The frame of the page: navigation, what this browser may do, the view that the address
// names, the banner when the node does not answer, and the keys.
import { html, render, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { follow, get, login, poll, post } from "./api.js";
import { Charts } from "./charts.js";
import { Confirm } from "./confirm.js";
import { plain, span } from "./format.js";
import { LiveMap } from "./map.js";
import { pages } from "./pages.js";
import { follow as linkTo, go, link, read, useRoute } from "./route.js";
import { Table } from "./table.js";

const groups = [
  ["cluster", ["map", "nodes", "loops", "events"]],
  ["running", ["tasks", "conns", "servers", "procs", "actors", "calls", "funcs"]],
  ["stored", ["names", "timers", "commands", "dead"]],
];
const titles = { map: "Map", ...Object.fromEntries(Object.entries(pages).map(([k, p]) => [k, p.title])) };

// useAnswers asks for a path and keeps the last good answer beside the last error: what
// is old is shown as old, and not taken away.
export function useAnswers(path, every) {
  const [state, set] = useState({ path, data: null, at: 0, error: null });
  useEffect(() => {
    set({ path, data: null, at: 0, error: null });
    if (!path) return;
    return poll(path, every, (r) => set((was) => (r.data ? { path, data: r.data, at: r.at, error: null } : { ...was, path, error: r.error })));
  }, [path, every]);
  return state.path === path ? state : { path, data: null, at: 0, error: null };
}

const maxEvents = 2000;

// useEvents follows the events of all nodes, the newest first.
export function useEvents(since) {
  const [events, set] = useState([]);
  useEffect(() => {
    let known = new Set(), waiting = [];
    const flush = setInterval(() => {
      if (!waiting.length) return;
      const news = waiting.reverse();
      waiting = [];
      set((was) => [...news, ...was].sort((a, b) => Date.parse(b.time) - Date.parse(a.time)).slice(0, maxEvents));
    }, 250);
    const end = follow(since, (e) => {
      if (known.has(e.id)) return;
      if (known.size > 4 * maxEvents) known = new Set();
      known.add(e.id);
      waiting.push(e);
    });
    return () => {
      clearInterval(flush);
      end();
    };
  }, [since]);
  return events;
}

// Banner says that what is shown is old, and how old.
function Banner({ answers }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const t = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(t);
  }, []);
  const e = answers.error;
  if (!e) return null;
  if (e.status === 401) return html`<div class="banner" role="alert">This browser has no session any more: ${plain(e.message)}. ${plain(e.hint)}</div>`;
  if (e.status && answers.data === null) return html`<div class="banner calm" role="status">${plain(e.message)}${e.hint ? ". " + plain(e.hint) : ""} ${e.code}</div>`;
  const age = answers.at ? " What you see is " + span((Date.now() - answers.at) / 1000) + " old." : "";
  return html`<div class="banner" role="alert"><b>Reconnecting.</b> The node does not answer: ${plain(e.message)}.${age}</div>`;
}

// Partial names who did not answer.
function Partial({ list }) {
  if (!list?.partial?.length) return null;
  const all = list.partial;
  return html`<details class="partial"><summary>${all.length === 1 ? plain(all[0].id) + " did not answer in full" : all.length + " nodes or loops did not answer in full"}: this list is not whole</summary>
    <ul>${all.map((m) => html`<li><b>${plain(m.id)}</b> ${plain(m.error.message)}${m.error.hint ? " – " + plain(m.error.hint) : ""} ${m.error.code || ""}</li>`)}</ul></details>`;
}

// Detail is everything about one thing.
function Detail({ page, item, actions }) {
  const [full, setFull] = useState(null);
  useEffect(() => {
    setFull(null);
    if (!page.detail) return;
    let ended = false;
    get(page.detail.ask).then((l) => ended || setFull(l.items.find((i) => page.keyOf(i) === page.keyOf(item)) || null), () => {});
    return () => (ended = true);
  }, [page.name, page.keyOf(item)]);
  const all = { ...item, ...(full || {}) };
  const show = (v) => (Array.isArray(v) ? v.map(show).join(", ") : v !== null && typeof v === "object" ? Object.entries(v).map(([k, w]) => k + " " + show(w)).join(", ") : String(v));
  return html`<aside class="detail" aria-label="details">
    <header><h2>${plain(item.name || item.id)}</h2><button type="button" onClick=${() => go({ id: "" })} aria-label="close details">×</button></header>
    <div class="buttons">${actions(item)}</div>
    ${all.stack?.length && html`<h3>where it is</h3><ol class="stack">${all.stack.map((c) => html`<li>${plain(c)}</li>`)}</ol>`}
    <dl>${Object.entries(all).filter(([k]) => k !== "stack").map(([k, v]) => html`<dt>${k}</dt><dd>${plain(show(v))}</dd>`)}</dl>
  </aside>`;
}

// Filter keeps its text in the address.
function Filter({ value }) {
  return html`<input id="filter" type="search" placeholder="filter: words, column:word, -word" aria-label="filter" value=${value || ""}
    onInput=${(e) => go({ filter: e.target.value }, true)} onKeyDown=${(e) => {
      if (e.key === "Escape") { go({ filter: "" }, true); e.target.blur(); }
      if (e.key === "Enter" || e.key === "ArrowDown") { e.preventDefault(); document.querySelector(".rows")?.focus(); }
    }} />`;
}

// List is one page with a table.
function List({ page, route, may, ask }) {
  const live = useAnswers(page.ask || "", page.every || 1000);
  const events = page.ask ? null : useEventsPage();
  const [held, hold] = useState(null);
  const answers = held || live;
  const source = page.ask ? answers.data?.items : held ? held.events : events;
  const items = useMemo(() => (source || []).filter(page.keep), [source, page]);
  const chosen = items.find((i) => page.keyOf(i) === route.id);
  useEffect(() => hold(null), [page]);
  const actions = useCallback((item) => (may ? page.actions(item).map((a) => html`<button type="button" class=${"act" + (a.hard ? " hard" : "")} aria-label=${a.verb + " " + plain(item.id)} onClick=${() => ask({ action: a, item })}>${a.verb}</button>`) : null), [may, page]);
  return html`
    <div class="bar"><h1>${page.title}</h1><span class="quiet many">${items.length}</span><${Filter} value=${route.filter} />
      <button type="button" id="pause" aria-pressed=${held ? "true" : "false"} onClick=${() => hold(held ? null : page.ask ? live : { events })}>${held ? "go on" : "pause"}</button></div>
    ${page.ask && html`<${Banner} answers=${live} />`}
    <${Partial} list=${page.ask ? answers.data : null} />
    ${page.charts && html`<${Charts} list=${live.data} at=${live.at} />`}
    <div class=${"body" + (live.error ? " old" : "")}>
      ${page.ask && !answers.data && !live.error ? html`<p class="nothing">asking…</p>` : html`<${Table} name=${page.title} items=${items} columns=${page.columns} filter=${route.filter || ""} sort=${route.sort || ""} chosen=${route.id} keyOf=${page.keyOf} actions=${actions} open=${(i) => go({ id: page.keyOf(i) })} />`}
      ${chosen && html`<${Detail} page=${page} item=${chosen} actions=${actions} />`}
    </div>`;
}

const useEventsPage = () => useEvents("24h");

// Login takes a token by hand.
function Login({ done, error }) {
  const [token, setToken] = useState(""), [failed, setFailed] = useState(error);
  const send = async (e) => {
    e.preventDefault();
    try {
      await post("session", {}, { token });
      setToken("");
      done();
    } catch (e) {
      setFailed(e);
    }
  };
  return html`<form class="login" onSubmit=${send}><label>token <input type="password" autocomplete="off" value=${token} onInput=${(e) => setToken(e.target.value)} /></label><button type="submit" class="main">sign in</button>
    <p class="quiet">Or open the link that <code>loopmesh dashboard</code> prints on the node's machine.</p>
    ${failed && html`<p class="failed" role="alert">${plain(failed.message)}${failed.hint ? " – " + plain(failed.hint) : ""}</p>`}</form>`;
}

const help = [["/", "filter"], ["j k ↑ ↓", "move"], ["Enter", "open"], ["Esc", "close, clear"], ["p", "pause"], ["g then m n l t c e", "go to map, nodes, loops, tasks, connections, events"], ["?", "these keys"]];
const goKeys = { m: "map", n: "nodes", l: "loops", t: "tasks", c: "conns", s: "servers", a: "actors", f: "funcs", e: "events" };

function Help({ close }) {
  const box = useRef(null);
  useEffect(() => box.current.showModal(), []);
  return html`<dialog ref=${box} aria-label="keys" onClose=${close}><h2>Keys</h2><dl class="keys">${help.map(([k, t]) => html`<dt><kbd>${k}</kbd></dt><dd>${t}</dd>`)}</dl>
    <div class="buttons"><button type="button" autofocus onClick=${() => box.current.close()}>close</button></div></dialog>`;
}

function useKeys(showHelp) {
  const before = useRef("");
  useEffect(() => {
    const on = (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, dialog")) return;
      const last = before.current;
      before.current = e.key;
      if (last === "g" && goKeys[e.key]) {
        before.current = "";
        go({ page: goKeys[e.key], filter: "", sort: "", id: "" });
      } else if (e.key === "/") {
        e.preventDefault();
        document.getElementById("filter")?.focus();
      } else if (e.key === "p") document.getElementById("pause")?.click();
      else if (e.key === "?") showHelp(true);
      else if (e.key === "Escape") go({ id: "" });
    };
    addEventListener("keydown", on);
    return () => removeEventListener("keydown", on);
  }, []);
}

const themes = { "": "dark", dark: "light", light: "" };
function Theme() {
  const [theme, set] = useState(localStorage.getItem("loopmesh-theme") || "");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("loopmesh-theme", theme);
  }, [theme]);
  return html`<button type="button" class="quiet" onClick=${() => set(themes[theme])}>theme: ${theme || "system"}</button>`;
}

function App({ failed }) {
  const route = useRoute();
  const [session, setSession] = useState(null), [error, setError] = useState(failed);
  const [order, setOrder] = useState(null), [said, say] = useState(""), [help, showHelp] = useState(false), [signing, sign] = useState(!!failed);
  const ask = useCallback(() => get("session").then((s) => { setSession(s); setError(null); sign(false); }, (e) => { setError(e); if (e.status === 401) sign(true); }), []);
  useEffect(() => { ask(); if (failed) sign(true); }, []);
  useKeys(showHelp);
  useEffect(() => {
    if (!said) return;
    const t = setTimeout(() => say(""), 6000);
    return () => clearTimeout(t);
  }, [said]);
  const name = titles[route.page] ? route.page : "map";
  useEffect(() => { document.title = titles[name] + " · loopmesh"; }, [name]);
  const may = !!session?.may_change && route.readonly !== "1";
  return html`
    <nav aria-label="pages">
      <a class="brand" href="/" onClick=${linkTo({ page: "map" })}><img src="/ui/icon.svg" alt="" width="22" height="22" />loopmesh</a>
      ${groups.map(([title, names]) => html`<div class="group"><h2>${title}</h2>${names.map((n) => html`<a href=${link({ page: n })} aria-current=${n === name ? "page" : null} onClick=${linkTo({ page: n })}>${titles[n]}</a>`)}</div>`)}
      <div class="foot">
        ${session && html`<p>asking <b>${plain(session.node)}</b></p>`}
        ${session && (session.may_change
          ? html`<button type="button" class="quiet" id="mode" aria-pressed=${may ? "false" : "true"} onClick=${() => go({ readonly: may ? "1" : "" }, true)}>${may ? "may change things" : "read-only"}</button>`
          : html`<button type="button" class="quiet" id="mode" onClick=${() => sign(!signing)}>read-only: sign in</button>`)}
        <${Theme} />
        <button type="button" class="quiet" onClick=${() => showHelp(true)}>keys: ?</button>
      </div>
    </nav>
    <main>
      ${signing && !session?.may_change && html`<${Login} done=${ask} error=${failed} />`}
      ${session && (name === "map" ? html`<${LiveMap} useAnswers=${useAnswers} useEvents=${useEvents} Banner=${Banner} />` : html`<${List} key=${name} page=${pages[name]} route=${route} may=${may} ask=${setOrder} />`)}
      ${!session && error && error.status !== 401 && html`<div class="banner" role="alert"><b>The node does not answer:</b> ${plain(error.message)}. <button type="button" onClick=${ask}>try again</button></div>`}
    </main>
    ${order && html`<${Confirm} order=${order} done=${(text) => { setOrder(null); say(text); }} />`}
    ${help && html`<${Help} close=${() => showHelp(false)} />`}
    <div class="said" role="status">${said}</div>`;
}

login().then(({ error }) => {
  const at = document.getElementById("app");
  at.textContent = "";
  render(html`<${App} failed=${error || null} />`, at);
});
