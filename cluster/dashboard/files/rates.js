// Rates out of counters: what grew between two answers. A counter that fell has begun
// anew and gives no rate once.

export class Rates {
  constructor() {
    this.last = new Map();
    this.rates = new Map();
    this.at = 0;
  }
  // feed takes an answer: its time, its items, their key, and the counters of one.
  feed(at, items, keyOf, counters) {
    if (at === this.at) return this.rates;
    const seconds = (at - this.at) / 1000, now = new Map(), rates = new Map();
    for (const item of items) {
      const key = keyOf(item), values = counters(item), before = this.last.get(key);
      now.set(key, values);
      if (!this.at || seconds <= 0) continue;
      const grown = values.map((v, i) => Math.max(0, v - (before ? before[i] : v)) / seconds);
      const was = this.rates.get(key);
      rates.set(key, grown.map((v, i) => (was ? was[i] * 0.5 + v * 0.5 : v)));
    }
    this.last = now;
    this.rates = rates;
    this.at = at;
    return rates;
  }
  of(key, i = 0) {
    return this.rates.get(key)?.[i] || 0;
  }
}
