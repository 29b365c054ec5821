// Lag over time, a line for each loop: what was seen since this page is open, five
// minutes at most.
import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { micros } from "./format.js";

const keep = 300, maxLines = 12;
const seen = []; // {t, lags: {loop: µs}}

// note keeps an answer of loops; called with the same one again it does nothing.
export function note(list, at) {
  if (!list || seen.at(-1)?.t === at / 1000) return;
  const lags = {};
  for (const l of list.items) lags[l.id] = l.state === "blocked" ? l.blocked_ms * 1000 : l.measured?.lag_p99_us ?? null;
  seen.push({ t: at / 1000, lags });
  if (seen.length > keep) seen.shift();
}

export const history = () => seen;

const colours = ["#14b8a6", "#f59e0b", "#8b5cf6", "#ef4444", "#3b82f6", "#84cc16", "#ec4899", "#06b6d4", "#f97316", "#a3a3a3", "#10b981", "#6366f1"];

export function Charts({ list, at }) {
  const box = useRef(null), plot = useRef(null);
  note(list, at);
  // The loops that were latest are drawn; names in the order of the list keep their colours.
  const worst = (id) => Math.max(...seen.map((s) => s.lags[id] ?? 0));
  const ids = (list?.items || []).map((l) => l.id).sort((a, b) => worst(b) - worst(a)).slice(0, maxLines).sort();
  const key = ids.join("\n");
  useEffect(() => {
    if (!ids.length || !window.uPlot) return;
    const css = getComputedStyle(document.documentElement), ink = css.getPropertyValue("color") || "#888";
    const axis = { stroke: ink, grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8883" } };
    plot.current = new window.uPlot({
      width: box.current.clientWidth, height: 170, cursor: { drag: { x: false, y: false } },
      legend: { live: true },
      scales: { y: { distr: 3, log: 10, range: (u, lo, hi) => [10, Math.max(10000, hi || 0)] } },
      axes: [axis, { ...axis, size: 64, values: (u, all) => all.map((v) => (v === null ? "" : micros(v))) }],
      series: [{ value: (u, v) => (v ? new Date(v * 1000).toLocaleTimeString("en-GB") : "") }, ...ids.map((id, i) => ({ label: id, stroke: colours[i], width: 1.5, points: { show: false }, value: (u, v) => (v === null ? "" : micros(v)) }))],
    }, [[], ...ids.map(() => [])], box.current);
    const fit = new ResizeObserver(() => plot.current?.setSize({ width: box.current.clientWidth, height: 170 }));
    fit.observe(box.current);
    return () => {
      fit.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [key]);
  useEffect(() => {
    plot.current?.setData([seen.map((s) => s.t), ...ids.map((id) => seen.map((s) => (s.lags[id] == null ? null : Math.max(10, s.lags[id]))))]);
  });
  return html`<figure class="chart"><figcaption>lag p99 of each loop: how late everything that is sent to it runs</figcaption><div ref=${box}></div></figure>`;
}
