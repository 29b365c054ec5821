// What the page asks the node: lists, what this browser may do, orders, the stream of
// events. Everything is of the same origin; the session is a cookie that this script
// cannot read.

const base = "/api/v1/";

// problem is what an answer that is no success says.
async function problem(resp) {
  let doc = null;
  try {
    doc = await resp.json();
  } catch {
    // not ours: the status is all there is
  }
  const e = new Error(doc?.error?.message || `the node answers ${resp.status}`);
  e.hint = doc?.error?.hint || "";
  e.code = doc?.error?.code || "";
  e.status = resp.status;
  return e;
}

export async function get(path, signal) {
  const resp = await fetch(base + path, { signal, cache: "no-store", credentials: "same-origin" });
  if (!resp.ok) throw await problem(resp);
  return resp.json();
}

export async function post(path, params = {}, body = undefined) {
  const query = new URLSearchParams(params).toString();
  const resp = await fetch(base + path + (query && "?" + query), {
    method: "POST",
    credentials: "same-origin",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!resp.ok) throw await problem(resp);
  return resp.json();
}

// login exchanges the ticket behind the # of the address for a cookie, and takes it out
// of the address, so that it is not in the history.
export async function login() {
  const ticket = /^#t=([A-Za-z0-9_-]+)$/.exec(location.hash);
  if (ticket) {
    history.replaceState(null, "", location.pathname + location.search);
    try {
      await post("session", {}, { token: ticket[1] });
    } catch (e) {
      return { error: e };
    }
  }
  return {};
}

// poll asks for path again and again and gives each answer to tell, until the returned
// function is called. One question is under way at a time; the next one comes after at
// least every milliseconds, and not before half of the time that the last answer took has
// passed, so that a busy cluster is asked less. A page that nobody sees asks nothing.
export function poll(path, every, tell) {
  let ended = false, timer = 0, abort = null;
  const again = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(ask, ms);
  };
  const ask = async () => {
    if (ended) return;
    if (document.hidden) return; // visible starts it again
    const begun = performance.now();
    abort = new AbortController();
    const limit = setTimeout(() => abort.abort(), 15000);
    try {
      const data = await get(path, abort.signal);
      if (!ended) tell({ data, at: Date.now() });
    } catch (error) {
      if (!ended) tell({ error, at: Date.now() });
    }
    clearTimeout(limit);
    const took = performance.now() - begun;
    if (!ended) again(Math.max(every - took, took / 2, 100));
  };
  const visible = () => !document.hidden && again(0);
  document.addEventListener("visibilitychange", visible);
  ask();
  return () => {
    ended = true;
    clearTimeout(timer);
    abort?.abort();
    document.removeEventListener("visibilitychange", visible);
  };
}

// shared has the events of the stream that all pages of this browser share told, while look is
// said (stream.js); null where the browser has no SharedWorker.
function shared(tell) {
  if (typeof SharedWorker === "undefined") return null;
  const worker = new SharedWorker("/ui/stream.js", "loopmesh events");
  worker.port.onmessage = (m) => tell(JSON.parse(m.data));
  const say = (text) => worker.port.postMessage(text);
  let again = 0;
  const leave = () => {
    clearInterval(again);
    say("leave"); // also of a page that is kept for the way back
  };
  addEventListener("pagehide", leave);
  return {
    look: () => {
      clearInterval(again);
      again = setInterval(() => say("look"), 5000);
      say("look");
    },
    leave,
    close: () => {
      removeEventListener("pagehide", leave);
      leave();
      worker.port.close();
    },
  };
}

// own is the same with a stream of this page alone.
function own(tell) {
  let source = null;
  const leave = () => {
    source?.close();
    source = null;
  };
  const look = () => {
    if (source) return;
    source = new EventSource(base + "events/stream?since=5m");
    source.addEventListener("event", (m) => tell(JSON.parse(m.data)));
  };
  return { look, leave, close: leave };
}

// follow gives the events since a time and those that follow to tell, until the returned
// function is called; some of them twice. A page that nobody sees follows nothing, and asks
// for what it has missed when it is seen again.
export function follow(since, tell) {
  const stream = shared(tell) || own(tell);
  let again = 0, ended = false;
  const before = async () => {
    clearTimeout(again);
    try {
      const list = await get("events?since=" + since);
      if (!ended) list.items.forEach(tell);
    } catch {
      if (!ended && !document.hidden) again = setTimeout(before, 3000);
    }
  };
  const change = () => {
    if (document.hidden) return stream.leave();
    stream.look();
    before();
  };
  document.addEventListener("visibilitychange", change);
  addEventListener("pageshow", change);
  change();
  return () => {
    ended = true;
    clearTimeout(again);
    stream.close();
    document.removeEventListener("visibilitychange", change);
    removeEventListener("pageshow", change);
  };
}
