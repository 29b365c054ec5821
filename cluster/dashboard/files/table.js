// A list of any length: only the rows that can be seen are in the document. Rows keep the
// order in which the node gives them until somebody sorts.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { plain } from "./format.js";
import { go } from "./route.js";

const rowHeight = 32; // as in app.css
const spare = 12; // rows above and below those that are seen

// compare orders numbers as numbers and texts as people do: 9 before 10.
const texts = new Intl.Collator("en", { numeric: true });
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return texts.compare(String(a ?? ""), String(b ?? ""));
}

// matches reports whether a row has all words of the filter in its texts. column:word
// looks at one column only, -word wants it not to be there.
function matcher(filter, columns) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean).map((w) => {
    const not = w.startsWith("-") && w.length > 1;
    if (not) w = w.slice(1);
    const at = w.indexOf(":");
    const of = at > 0 && columns.filter((c) => c.key === w.slice(0, at));
    return of && of.length ? { not, of, w: w.slice(at + 1) } : { not, of: columns, w };
  });
  return (item) => words.every(({ not, of, w }) => of.some((c) => text(c, item).toLowerCase().includes(w)) !== not);
}

const text = (c, item) => plain(c.show ? c.show(item) : item[c.key]);
const value = (c, item) => (c.value ? c.value(item) : item[c.key]);

// choose filters and sorts.
export function choose(items, columns, filter, sort) {
  let out = filter ? items.filter(matcher(filter, columns)) : items;
  const down = sort?.startsWith("-");
  const by = columns.find((c) => c.key === (down ? sort.slice(1) : sort));
  if (by) {
    const sign = down ? -1 : 1;
    out = [...out].sort((a, b) => sign * compare(value(by, a), value(by, b)));
  }
  return out;
}

// Table shows items. Keys: j and k or the arrows move, Enter opens, the header sorts.
export function Table({ name, items, columns, filter, sort, chosen, open, actions, keyOf }) {
  const shown = useMemo(() => choose(items, columns, filter, sort), [items, columns, filter, sort]);
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [at, setAt] = useState("");
  const index = shown.findIndex((i) => keyOf(i) === at);

  useLayoutEffect(() => {
    const seen = new ResizeObserver(() => setHeight(box.current?.clientHeight || 600));
    seen.observe(box.current);
    return () => seen.disconnect();
  }, []);
  useEffect(() => {
    box.current.scrollTop = 0;
    setTop(0);
  }, [name, filter, sort]);

  const move = (to) => {
    to = Math.max(0, Math.min(shown.length - 1, to));
    if (!shown.length) return;
    setAt(keyOf(shown[to]));
    const y = to * rowHeight, el = box.current;
    if (y < el.scrollTop) el.scrollTop = y;
    else if (y + 3 * rowHeight > el.scrollTop + el.clientHeight) el.scrollTop = y + 3 * rowHeight - el.clientHeight;
  };
  const keys = (e) => {
    if (e.target.closest("button") && e.key === "Enter") return;
    const page = Math.floor(height / rowHeight) - 2;
    const to = { j: index + 1, ArrowDown: index + 1, k: index - 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: shown.length - 1 }[e.key];
    if (to !== undefined) {
      e.preventDefault();
      move(to);
    } else if (e.key === "Enter" && index >= 0) {
      e.preventDefault();
      open(shown[index]);
    }
  };

  const first = Math.max(0, Math.min(Math.floor(top / rowHeight) - spare, shown.length));
  const last = Math.min(shown.length, Math.ceil((top + height) / rowHeight) + spare);
  const pad = (n) => n > 0 && html`<tr class="pad" aria-hidden="true"><td colspan=${columns.length + 1} style=${{ height: n * rowHeight + "px" }}></td></tr>`;
  return html`
    <div class="rows" ref=${box} tabindex="0" role="region" aria-label=${name + ", " + shown.length + " rows"} onScroll=${(e) => setTop(e.target.scrollTop)} onKeyDown=${keys}>
      <table aria-rowcount=${shown.length + 1}>
        <thead><tr aria-rowindex="1">${columns.map((c) => {
          const mine = sort === c.key || sort === "-" + c.key;
          const next = sort === c.key ? "-" + c.key : sort === "-" + c.key ? "" : c.number ? "-" + c.key : c.key;
          const now = c.number && !mine ? next : next;
          return html`<th scope="col" class=${c.number ? "num" : ""} aria-sort=${mine ? (sort[0] === "-" ? "descending" : "ascending") : "none"}>
            <button type="button" class="sort" onClick=${() => go({ sort: now }, true)}>${c.title}<span aria-hidden="true">${mine ? (sort[0] === "-" ? " ↓" : " ↑") : ""}</span></button></th>`;
        })}<th scope="col" class="acts"><span class="unseen">actions</span></th></tr></thead>
        <tbody>
          ${pad(first)}
          ${shown.slice(first, last).map((item, i) => {
            const key = keyOf(item);
            return html`<tr key=${key} data-key=${key} aria-rowindex=${first + i + 2} class=${(key === at ? "at " : "") + (key === chosen ? "open" : "")}
              onClick=${(e) => { if (!e.target.closest("button")) { setAt(key); open(item); } }}>
              ${columns.map((c) => html`<td class=${(c.number ? "num " : "") + (c.class || "")} title=${text(c, item)}>${c.badge ? html`<span class=${"badge " + c.badge(item)}>${text(c, item)}</span>` : text(c, item)}</td>`)}
              <td class="acts">${actions(item)}</td></tr>`;
          })}
          ${pad(shown.length - last)}
        </tbody>
      </table>
      ${!shown.length && html`<p class="nothing">${items.length ? "No row fits the filter." : "There is none."}</p>`}
    </div>`;
}
