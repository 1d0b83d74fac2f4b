// Build and change the page. Text goes in as text only: a probe named "<script>" is just a name.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// h("p", {class: "x"}, "text", child): an element with its attributes and children.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// The same for SVG.
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// The setters below touch the document only when something differs: that is what keeps 1,000 rows cheap.

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function setClass(element, value) {
  if (element.getAttribute("class") !== value) element.setAttribute("class", value);
}

export function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

// Make the children of `parent` these nodes in this order, moving as few as it can.
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const node of nodes) {
    // One that went down the list (a probe that recovered) is taken out, instead of all after it moved up.
    if (at !== null && at !== node && at.nextElementSibling === node) {
      at.remove();
      at = node;
    }
    if (at === node) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}

// A list of things that have a key: makes, updates and removes one view for each, and arranges them.
export function keyed(parent, make) {
  const views = new Map();
  return (items, keyOf) => {
    const seen = new Set();
    const ordered = items.map((item) => {
      const key = keyOf(item);
      seen.add(key);
      if (!views.has(key)) views.set(key, make(item));
      const view = views.get(key);
      view.update(item);
      return view;
    });
    for (const key of views.keys()) if (!seen.has(key)) views.delete(key);
    arrange(parent, ordered.map((view) => view.element));
    return ordered;
  };
}
