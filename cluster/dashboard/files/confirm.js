// The question before anything is stopped: what will happen to which thing, and why it is
// done, which goes into the events. Escape and "no" do nothing.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { post } from "./api.js";
import { plain } from "./format.js";

export function Confirm({ order, done }) {
  const { action, item } = order;
  const box = useRef(null), first = useRef(null);
  const [reason, setReason] = useState("");
  const [state, setState] = useState({});

  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    first.current.focus();
    return () => before?.focus?.();
  }, []);

  const run = async (e) => {
    e.preventDefault();
    setState({ busy: true });
    try {
      const params = { id: item.id, ...action.params };
      if (action.reason) params.reason = reason || "by an operator, in the dashboard";
      await post(action.path, params);
      done(`${plain(item.id)}: ${action.verb} was asked for`);
    } catch (error) {
      setState({ error });
    }
  };
  return html`
    <dialog ref=${box} aria-labelledby="confirm-what" onCancel=${(e) => { e.preventDefault(); done(""); }}>
      <form onSubmit=${run}>
        <h2 id="confirm-what">${plain(action.what(item))}?</h2>
        <p>${action.effect}</p>
        ${action.reason && html`<label>Why <input ref=${first} value=${reason} maxlength="200" placeholder="by an operator, in the dashboard" onInput=${(e) => setReason(e.target.value)} /></label>
        <p class="quiet">It stands in the events of ${plain(String(item.id).split("/")[0])}, with this reason.</p>`}
        ${state.error && html`<p class="failed" role="alert">${plain(state.error.message)}${state.error.hint ? " – " + plain(state.error.hint) : ""} ${state.error.code}</p>`}
        <div class="buttons">
          <button type="button" ref=${action.reason ? null : first} onClick=${() => done("")}>no</button>
          <button type="submit" class=${action.hard ? "hard" : "main"} disabled=${state.busy}>${action.verb}</button>
        </div>
      </form>
    </dialog>`;
}
