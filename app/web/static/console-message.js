// Builds a message's DOM: text and entities become nodes, never markup.

const TAGS = {
  bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code", pre: "pre",
  blockquote: "blockquote", expandable_blockquote: "blockquote",
};

/** A list item for one message; `press` is called with the button's data. */
export function messageNode(message, { press, tookMs }) {
  const item = element("li", { class: `message ${message.user === 0 ? "bot" : "person"}` });
  item.dataset.id = message.message_id;
  item.append(bubble(message, tookMs), ...keyboard(message, press));
  return item;
}

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function bubble(message, tookMs) {
  const who = element("span", { class: "unseen" }, message.user === 0 ? "Firstlight: " : "You: ");
  const text = element("div", { class: "text" }, ...entityNodes(message.text, message.entities ?? []));
  const node = element("div", { class: "bubble" }, who);
  if (message.caption) node.append(element("div", { class: "photo" }, "photo"));
  node.append(text, element("div", { class: "meta" }, ...meta(message, tookMs)));
  return node;
}

function meta(message, tookMs) {
  const at = new Date(message.date * 1000);
  const time = element("time", { datetime: at.toISOString() });
  time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const parts = [message.edited ? "edited " : "", time];
  if (tookMs !== undefined) parts.push(element("span", { class: "took", title: "from your message to this reply" }, `${tookMs} ms`));
  return parts;
}

/** Entities are nested or apart, sorted by where they start, the longer first; offsets count UTF-16, as JS does. */
function entityNodes(text, entities, start = 0, end = text.length) {
  const nodes = [];
  let at = start;
  for (let i = 0; i < entities.length; ) {
    const outer = entities[i];
    const from = Math.max(at, outer.offset);
    const until = Math.min(end, outer.offset + outer.length);
    let next = i + 1;
    while (next < entities.length && entities[next].offset < until) next += 1;
    if (from > at) nodes.push(text.slice(at, from));
    nodes.push(entityNode(outer, entityNodes(text, entities.slice(i + 1, next), from, until), text.slice(from, until)));
    at = until + (isBlock(outer) && text[until] === "\n" && until < end ? 1 : 0); // a block ends its own line
    i = next;
  }
  if (at < end) nodes.push(text.slice(at, end));
  return nodes;
}

function isBlock(entity) {
  return entity.type === "pre" || entity.type.endsWith("blockquote");
}

function entityNode(entity, children, text) {
  if (TAGS[entity.type]) {
    const node = element(TAGS[entity.type], {}, ...children);
    if (entity.type === "pre") node.tabIndex = 0; // long lines scroll: let the keyboard reach them
    return node;
  }
  if (entity.type === "spoiler") return spoiler(children);
  const url = entity.type === "text_link" ? entity.url : entity.type === "url" ? text : null;
  if (url && /^https?:\/\//i.test(url)) {
    return element("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, ...children);
  }
  return element("span", { class: `entity ${entity.type}` }, ...children);
}

function spoiler(children) {
  const node = element("span", { class: "spoiler", tabindex: "0", role: "button", "aria-label": "Show spoiler" }, ...children);
  const show = () => {
    node.classList.add("shown");
    for (const name of ["tabindex", "role", "aria-label"]) node.removeAttribute(name);
  };
  node.addEventListener("click", show);
  node.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") show(); });
  return node;
}

function keyboard(message, press) {
  const rows = message.markup?.inline_keyboard ?? [];
  if (!rows.length) return [];
  const box = element("div", { class: "keyboard", role: "group", "aria-label": "Buttons" });
  for (const row of rows) box.append(element("div", { class: "row" }, ...row.map((button) => keyNode(button, press))));
  return [box];
}

function keyNode(button, press) {
  const node = element("button", { type: "button" }, button.text);
  if (button.callback_data === undefined) node.disabled = true;
  node.addEventListener("click", () => press(button, node));
  return node;
}
