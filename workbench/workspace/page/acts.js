// What a person does with a page that Python makes: `data-act` says what an element is for.

const LAST = 12; // messages that go along with the newest
export const TYPED = "INPUT, SELECT, TEXTAREA";

/** Tell Python what a person did. */
export function tell(w, name, value, how = "replace") {
  const said = { name, value: value === undefined ? null : value, how, seq: ++w.seq };
  w.last = [...(w.last || []).slice(1 - LAST), said]; // what follows fast is not lost
  w.model.set("act", { seq: w.seq, last: w.last });
  w.model.save_changes();
}

/** What the keys held down make of a selection. */
export function howOf(e) {
  if (e.altKey) return "remove";
  if (e.ctrlKey || e.metaKey) return "add";
  return e.shiftKey ? "within" : "replace";
}

/** The value that an element carries. */
export function valueOf(element_) {
  const text = element_.getAttribute("data-value");
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A control that has changed: a value, with what the control carries. */
export function onChange(w, e) {
  const [control] = e.composedPath();
  const name = control.getAttribute && control.getAttribute("data-act");
  if (!name) return;
  clearTimeout(w.often);
  if (name === "page.go") {
    window.location.search = control.value;
    return;
  }
  const value = control.type === "checkbox" ? control.checked : control.value;
  tell(w, name, valueOf(control) === null ? value : [valueOf(control), value]);
}

/** Let a root be dark as JupyterLab says, or else as the machine does; returns what ends that. */
export function followTheme(root) {
  const machine = matchMedia("(prefers-color-scheme: dark)");
  const lab = (light) => !!document.querySelector(`[data-jp-theme-light="${light}"]`);
  const take = () =>
    root.classList.toggle("dark", lab("false") || (machine.matches && !lab("true")));
  take();
  machine.addEventListener("change", take);
  return () => machine.removeEventListener("change", take);
}
