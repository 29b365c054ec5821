// Where things are on the map, from nothing but the list of nodes and the width: pure, so
// that cards stay where they are from one answer to the next.

export const lane = 64, head = 42, foot = 10;
const fringe = 74; // room beside the cards for what is connected from outside

// heightOf is that of a card with so many lanes.
export const heightOf = (lanes) => head + Math.max(lanes, 1) * lane + foot;

// place gives each node a card: x, y, w, h, and on which side its peers are drawn. Three
// nodes stand in a triangle, so that no line crosses a card; more stand in rows.
export function place(nodes, width, room) {
  const n = nodes.length;
  const perRow = n <= 2 ? Math.max(n, 1) : n <= 4 ? 2 : Math.max(2, Math.min(Math.floor((width - 2 * fringe) / 420), Math.ceil(Math.sqrt(n))));
  const fit = Math.max(1, Math.min(perRow, Math.floor((width - 2 * fringe + 60) / 400)));
  const gapX = fit === 1 ? 0 : Math.max(60, Math.min(320, (width - 2 * fringe - fit * 390) / (fit - 1)));
  const w = Math.min(520, (width - 2 * fringe - gapX * (fit - 1)) / fit);
  const cards = new Map();
  const high = [];
  for (let i = 0; i < n; i += fit) high.push(Math.max(...nodes.slice(i, i + fit).map((node) => heightOf(node.lanes))));
  // What is left of the height goes between the rows, where the lines are.
  const needs = high.reduce((a, b) => a + b, 0), least = n > 4 ? 64 : 96;
  const gapY = high.length < 2 ? 0 : Math.max(least, Math.min(150, (room - needs - 60) / (high.length - 1)));
  const above = Math.max(14, Math.min(90, (room - needs - gapY * (high.length - 1)) / 2.4));
  let y = above;
  for (let i = 0; i < n; i += fit) {
    const row = nodes.slice(i, i + fit);
    const all = row.length * w + (row.length - 1) * gapX;
    let x = (width - all) / 2;
    for (const node of row) {
      cards.set(node.id, { id: node.id, x, y, w, h: heightOf(node.lanes), row: i / fit, side: row.length === 1 ? (i === 0 || fit === 1 ? "right" : "bottom") : x + w / 2 < width / 2 ? "left" : "right" });
      x += w + gapX;
    }
    y += high[i / fit] + gapY;
  }
  return { cards, height: Math.max(40, y - gapY + 24) };
}

// laneY is the middle of a lane; index -1 is the head of the card.
export const laneY = (card, index) => card.y + (index < 0 ? head / 2 : head + index * lane + lane / 2);

// curve joins two lanes with a line that leaves and arrives at the sides that face each
// other. shift moves it, so that there and back are two lines.
export function curve(a, ai, b, bi, shift, width) {
  const ay = laneY(a, ai) + shift, by = laneY(b, bi) + shift;
  const apart = a.x + a.w < b.x || b.x + b.w < a.x;
  if (apart) {
    const right = a.x < b.x;
    const x1 = right ? a.x + a.w : a.x, x2 = right ? b.x : b.x + b.w;
    const c = Math.max(50, Math.abs(x2 - x1) * 0.5) * (right ? 1 : -1);
    return path([x1, ay], [x1 + c, ay], [x2 - c, by], [x2, by]);
  }
  if (Math.abs(a.x - b.x) < 1) {
    const inner = a.x + a.w / 2 <= width / 2;
    const x = inner ? a.x + a.w : a.x, c = (inner ? 1 : -1) * (60 + Math.abs(shift) * 2);
    return path([x, ay], [x + c, ay], [x + c, by], [x, by]);
  }
  const up = a.y < b.y ? a : b, low = up === a ? b : a;
  const right = up.x < low.x;
  const ux = right ? up.x + up.w : up.x, uy = up === a ? ay : by;
  const lx = low.x + low.w / 2 + (right ? -1 : 1) * low.w * 0.22 + shift * 1.6, ly = low.y;
  const c = right ? 90 : -90, top = [lx, ly], beside = [ux, uy];
  const one = [ux + c, uy], two = [lx, ly - Math.max(60, (ly - uy) * 0.5)];
  // The label is where the line runs alone, nearer to the lower card.
  return up === a ? path(beside, one, two, top, 0.62 + shift / 60) : path(top, two, one, beside, 0.38 + shift / 60);
}

// path is a Bézier curve, and where its label stands.
function path(p, q, r, s, at = 0.5) {
  const back = 1 - at;
  const mid = [0, 1].map((i) => back ** 3 * p[i] + 3 * back * back * at * q[i] + 3 * back * at * at * r[i] + at ** 3 * s[i]);
  const f = (v) => v.map((n) => n.toFixed(1)).join(" ");
  return { d: `M${f(p)} C${f(q)} ${f(r)} ${f(s)}`, x: mid[0], y: mid[1], start: p, end: s };
}
