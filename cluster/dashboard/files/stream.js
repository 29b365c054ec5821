// The stream of events that all pages of this browser share, in a SharedWorker. Why: a
// browser opens six connections to one host and no more, and a stream keeps one of them for
// as long as it is read. With a stream for each page the seventh window would not get a
// single answer, and the sixth only when another one is closed.
//
// A page says every few seconds that it looks, and once that it does not any more (it is
// hidden, or goes). What it says last may get lost with it, so one that has been silent for a
// while counts as gone, too. While anybody looks there is one stream; it begins some minutes
// back, so that a connection that was lost for a moment leaves no gap. Pages know events by
// their ids, and ask for what was before by themselves.
const silent = 15000; // milliseconds; pages speak every five seconds
const looking = new Map(); // port → when it spoke last
let source = null;

function settle() {
  for (const [port, at] of looking) if (Date.now() - at > silent) looking.delete(port);
  if (looking.size === 0) {
    source?.close();
    source = null;
  }
  if (looking.size === 0 || source) return;
  source = new EventSource("/api/v1/events/stream?since=5m");
  source.addEventListener("event", (m) => looking.forEach((_, port) => port.postMessage(m.data)));
  source.addEventListener("error", () => {
    // It connects again by itself, unless the node has refused it: then the next page that
    // looks tries anew.
    if (source?.readyState === EventSource.CLOSED) source = null;
  });
}

self.onconnect = (connect) => {
  const port = connect.ports[0];
  port.onmessage = (m) => {
    if (m.data === "look") looking.set(port, Date.now());
    else looking.delete(port);
    settle();
  };
};

setInterval(settle, 5000);
