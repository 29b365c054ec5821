// The tasks of a lane as dots: filled while they run or are about to, a ring while they
// wait, red when they wait for themselves. Tasks of one name stand together; an arc joins
// who waits to whom it waits for.
import { html, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { plain } from "./format.js";

const step = 12, mid = 20, perName = 12;
const letter = 6.5; // width of one in the labels

// Names that differ in the number at their end, as those that loops give, are one.
const stem = (name) => name.replace(/[-#. ]?\d+$/, "") || name;

// groups are the tasks by name, those in circles first, then the many.
function groups(tasks) {
  const by = new Map();
  for (const t of tasks) {
    const name = t.circle ? t.name : stem(t.name), key = (t.circle ? "!" : "") + name;
    if (!by.has(key)) by.set(key, { name, circle: t.circle, tasks: [] });
    by.get(key).tasks.push(t);
  }
  return [...by.values()].sort((a, b) => b.circle - a.circle || b.tasks.length - a.tasks.length);
}

export function Tasks({ tasks, all }) {
  const box = useRef(null), [width, setWidth] = useState(200);
  useLayoutEffect(() => {
    const seen = new ResizeObserver(() => setWidth(box.current?.clientWidth || 200));
    seen.observe(box.current);
    return () => seen.disconnect();
  }, []);
  let x = 6, shown = 0;
  const places = new Map(), parts = [];
  for (const g of groups(tasks)) {
    const dots = g.tasks.slice(0, perName);
    let name = plain(g.tasks.length === 1 ? g.tasks[0].name : g.name);
    if (name.length > 16) name = name.slice(0, 15) + "…";
    const label = g.tasks.length > 1 ? name + " " + g.tasks.length : name;
    let text = label, wide = dots.length * step + label.length * letter + 4;
    if (x + wide > width - 36) {
      text = ""; // the dots alone, while they fit
      wide = dots.length * step - 8;
      if (x + wide > width - 36) break;
    }
    dots.forEach((t, i) => places.set(t.id, x + i * step));
    parts.push({ g, dots, label: text, x, at: x + dots.length * step - 3 });
    shown += g.tasks.length;
    x += wide + 12;
  }
  const arcs = [];
  for (const t of tasks) {
    const to = places.get(t.id);
    if (to === undefined) continue;
    for (const by of t.awaited_by) {
      const from = places.get(by);
      if (from === undefined || from === to) continue;
      const up = Math.min(16, 7 + Math.abs(to - from) * 0.11), back = from > to;
      arcs.push(html`<path class=${t.circle ? "arc circle" : "arc"} d=${`M${from} ${mid + (back ? 5 : -5)} Q${(from + to) / 2} ${mid + (back ? up + 8 : -up - 8)} ${to} ${mid + (back ? 5 : -5)}`} />`);
    }
  }
  const rest = all - shown;
  return html`<span class="tasks" ref=${box}><svg width=${width} height="40" aria-hidden="true">
    ${arcs}
    ${parts.map((p) => html`${p.dots.map((t, i) => html`<circle key=${t.id} class=${"task " + (t.circle ? "circle" : t.state)} cx=${p.x + i * step} cy=${mid} r=${t.circle ? 5 : 4} />`)}<text class=${p.g.circle ? "circle" : ""} x=${p.at} y=${mid + 4}>${p.label}</text>`)}
    ${rest > 0 && html`<text class="rest" x=${Math.min(x, width - 28)} y=${mid + 4}>+${rest}</text>`}
  </svg></span>`;
}
