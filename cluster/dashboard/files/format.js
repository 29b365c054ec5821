// Numbers, times and names for people.

export function count(n) {
  if (n === undefined || n === null) return "";
  return n < 10000 ? String(n) : n < 1e6 ? (n / 1e3).toFixed(n < 1e5 ? 1 : 0) + "k" : (n / 1e6).toFixed(1) + "M";
}

export function bytes(n) {
  if (n === undefined || n === null) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}

// micros is a duration given in microseconds.
export function micros(us) {
  if (us === undefined || us === null) return "";
  if (us < 1000) return Math.round(us) + " µs";
  if (us < 1e6) return (us / 1e3).toFixed(us < 1e4 ? 1 : 0) + " ms";
  return span(us / 1e6);
}

// span is a duration given in seconds, in its two largest units.
export function span(s) {
  if (s < 0) s = 0;
  if (s < 10) return s.toFixed(1) + " s";
  s = Math.round(s);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + "m " + (s % 60) + "s";
  if (s < 86400) return Math.floor(s / 3600) + "h " + Math.floor((s % 3600) / 60) + "m";
  return Math.floor(s / 86400) + "d " + Math.floor((s % 86400) / 3600) + "h";
}

// since is how long ago a time of the API was, by this machine's clock.
export function since(text) {
  const at = Date.parse(text);
  return at > 0 ? span((Date.now() - at) / 1000) : "";
}

export function percent(share) {
  if (share === undefined || share === null) return "";
  return (share * 100).toFixed(share < 0.1 ? 1 : 0) + " %";
}

export function clock(text) {
  const at = new Date(text);
  return isNaN(at) ? "" : at.toLocaleTimeString("en-GB") + "." + String(at.getMilliseconds()).padStart(3, "0");
}

// plain makes what steers the direction of text and other control characters visible:
// a name may not make the line beside it read differently.
export function plain(text) {
  return String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");
}

// placeOf is file and line of a call, without its folders.
export function placeOf(call) {
  const at = call?.lastIndexOf("(") ?? -1;
  return at < 0 ? call || "" : call.slice(at + 1, -1).split("/").pop();
}

// stateOfNode: a node that was told to leave still is a member, and ready for what it has.
export const stateOfNode = (n) => (n.draining && n.state === "ready" ? "draining" : n.state);
