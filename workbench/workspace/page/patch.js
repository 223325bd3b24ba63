// New HTML for a part of the page; what is the same stays: focus, scroll, what is unfolded.

/** What tells a node from its siblings, if anything does. */
function keyOf(node) {
  return node.nodeType === 1 ? node.getAttribute("data-key") : null;
}

/** Whether a node can become another by its attributes and children. */
function isAlike(a, b) {
  if (a.nodeType !== b.nodeType || a.nodeName !== b.nodeName || keyOf(a) !== keyOf(b)) return false;
  return a.nodeName !== "INPUT" || a.type === b.type;
}

/** Whether the person is busy with a control. */
function isHeld(control) {
  return control.getRootNode().activeElement === control;
}

/** Give an element the attributes of another. */
function takeAttributes(a, b) {
  const own = (name) => a.nodeName === "DETAILS" && name === "open";
  for (const name of a.getAttributeNames()) {
    if (!b.hasAttribute(name) && !own(name)) a.removeAttribute(name);
  }
  for (const { name, value } of b.attributes) {
    if (a.getAttribute(name) !== value && !own(name)) a.setAttribute(name, value);
  }
}

/** Make a node like another of its kind. */
function become(a, b) {
  if (a.nodeType !== 1) {
    if (a.data !== b.data) a.data = b.data;
    return;
  }
  takeAttributes(a, b);
  becomeChildren(a, b);
  if (a.nodeName === "SELECT" && a.value !== b.value) a.value = b.value;
  if (a.nodeName === "INPUT" && !isHeld(a)) {
    if (a.type === "checkbox") a.checked = b.hasAttribute("checked");
    else if (a.value !== b.value) a.value = b.value;
  }
}

/** Make the children of an element those of another. */
function becomeChildren(a, b) {
  const want = [...b.childNodes];
  const keyed = new Map();
  for (const node of a.childNodes) if (keyOf(node) !== null) keyed.set(keyOf(node), node);
  want.forEach((next, i) => {
    const here = a.childNodes[i] || null;
    const had = keyOf(next) === null ? here : keyed.get(keyOf(next));
    if (!had || !isAlike(had, next)) {
      a.insertBefore(next, here);
      return;
    }
    if (had !== here) a.insertBefore(had, here);
    become(had, next);
  });
  while (a.childNodes.length > want.length) a.lastChild.remove();
}

/** Make the children of an element what HTML says. */
export function patch(host, html) {
  const next = document.createElement("template");
  next.innerHTML = html;
  becomeChildren(host, next.content);
}
