// What is looked at stands in the address (?page=tasks&filter=…&sort=-name&id=…), so that
// a view can be kept, sent and gone back to.
import { useEffect, useState } from "./vendor/htm-preact.js";

const changed = new Set();

export function read() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

// go changes some of what is looked at; an empty value takes it out. replace: no new step
// to go back to.
export function go(change, replace = false) {
  const now = { ...read(), ...change };
  for (const k of Object.keys(now)) if (!now[k]) delete now[k];
  const query = new URLSearchParams(now).toString();
  history[replace ? "replaceState" : "pushState"](null, "", "/" + (query && "?" + query));
  for (const fn of changed) fn();
}

export const link = (view) => "/?" + new URLSearchParams(view);

// follow makes a click on a link of this page change the view without a new document.
export function follow(view) {
  return (e) => {
    if (e.metaKey || e.ctrlKey || e.shiftKey || e.button) return;
    e.preventDefault();
    go({ page: "", filter: "", sort: "", id: "", ...view });
  };
}

export function useRoute() {
  const [route, set] = useState(read);
  useEffect(() => {
    const fn = () => set(read());
    changed.add(fn);
    addEventListener("popstate", fn);
    return () => {
      changed.delete(fn);
      removeEventListener("popstate", fn);
    };
  }, []);
  return route;
}
