// The heat of a lane: a cell for each look at the loop, the newest at the right, coloured
// by how late the loop's timers ran (logarithmic: 0.1 ms to 1 s).
import { html, useEffect, useRef } from "./vendor/htm-preact.js";

const stops = [[0, 13, 110, 104], [0.25, 22, 163, 116], [0.5, 202, 190, 28], [0.72, 245, 140, 30], [0.88, 239, 68, 68], [1, 217, 30, 120]];

// warmth is 0 to 1 for a lag in microseconds.
export const warmth = (us) => Math.max(0, Math.min(1, Math.log10(Math.max(us, 100) / 100) / 4));

export function colour(us) {
  const w = warmth(us);
  const i = Math.max(1, stops.findIndex((s) => s[0] >= w));
  const [a, b] = [stops[i - 1], stops[i]];
  const t = (w - a[0]) / (b[0] - a[0]);
  return "rgb(" + [1, 2, 3].map((k) => Math.round(a[k] + (b[k] - a[k]) * t)).join(" ") + ")";
}

const cell = 5, high = 14;

export function Heat({ lags }) {
  const box = useRef(null);
  useEffect(() => {
    const el = box.current, dpr = devicePixelRatio || 1, width = el.clientWidth;
    el.width = width * dpr;
    el.height = high * dpr;
    const g = el.getContext("2d");
    g.scale(dpr, dpr);
    const fits = Math.floor(width / cell);
    const seen = lags.slice(-fits);
    const empty = getComputedStyle(el).getPropertyValue("--line");
    for (let i = 0; i < fits; i++) {
      const us = seen[seen.length - fits + i];
      g.globalAlpha = us === undefined || us === null ? 0.45 : 1;
      g.fillStyle = us === undefined || us === null ? empty : colour(us);
      g.beginPath();
      g.roundRect(width - (fits - i) * cell, 0, cell - 1.2, high, 1.4);
      g.fill();
    }
  });
  return html`<canvas class="heat" ref=${box} aria-hidden="true"></canvas>`;
}
