// The page: chats, the stream of what happens in them, and what the person does.

import { element, messageNode } from "./console-message.js";
import { refreshActors, watchActors } from "./console-panel.js";

const TYPING_MS = 5000; // Telegram shows it for 5 s
const KEPT = 1000; // messages a chat, as the simulator keeps them
const FALLBACK = [{ command: "start", description: "Begin" }, { command: "help", description: "What it can do" }];

const $ = (id) => document.getElementById(id);
const chats = new Map(); // id -> {chat, type, title, messages: Map, unread, typingUntil, askedAt, took}
let current = null;
let commands = FALLBACK;
let following = true; // the newest message is in view

// ---------------------------------------------------------------- the stream

function connect() {
  const stream = new EventSource("/console/events");
  stream.addEventListener("hello", (event) => hello(JSON.parse(event.data)));
  stream.addEventListener("chat", () => {}); // its first message, or the answer to "New chat", brings it
  stream.addEventListener("message", (event) => arrived(JSON.parse(event.data).message));
  stream.addEventListener("edit", (event) => edited(JSON.parse(event.data).message));
  stream.addEventListener("typing", (event) => typing(JSON.parse(event.data).chat));
  stream.addEventListener("toast", (event) => notice(JSON.parse(event.data).text ?? ""));
  stream.onerror = () => {
    online(false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 1000); // refused: the browser gives up, we do not
  };
}

async function hello({ chats: known }) {
  chats.clear();
  for (const each of known) keep(each);
  online(true);
  loadBootstrap();
  if (!chats.size) await openChat();
  select(chats.has(current) ? current : chats.keys().next().value);
}

function keep({ chat, type, title, messages = [] }) {
  const kept = new Map(messages.map((each) => [each.message_id, each]));
  chats.set(chat, { chat, type, title, messages: kept, unread: 0, typingUntil: 0, askedAt: 0, took: new Map() });
}

function arrived(message) {
  if (!chats.has(message.chat)) keep({ chat: message.chat, type: "private", title: `Chat ${message.chat}` });
  const chat = chats.get(message.chat);
  timed(chat, message);
  chat.messages.set(message.message_id, message);
  if (chat.messages.size > KEPT) chat.messages.delete(chat.messages.keys().next().value);
  if (message.user === 0) chat.typingUntil = 0;
  if (message.chat === current) showMessage(chat, message);
  else if (message.user === 0) chat.unread += 1;
  showChats();
  showTyping();
}

/** How long the first reply to a person's message took, as this page saw it. */
function timed(chat, message) {
  if (message.user !== 0) chat.askedAt = performance.now();
  else if (chat.askedAt) {
    chat.took.set(message.message_id, Math.max(1, Math.round(performance.now() - chat.askedAt)));
    chat.askedAt = 0;
  }
}

function edited(message) {
  const chat = chats.get(message.chat);
  if (!chat) return;
  chat.messages.set(message.message_id, message);
  const old = $("messages").querySelector(`[data-id="${message.message_id}"]`);
  if (old && message.chat === current) old.replaceWith(nodeOf(chat, message));
}

function typing(id) {
  const chat = chats.get(id);
  if (!chat) return;
  chat.typingUntil = performance.now() + TYPING_MS;
  showTyping();
  setTimeout(showTyping, TYPING_MS + 50);
}

// ---------------------------------------------------------------- what is shown

function select(id) {
  current = id;
  const chat = chats.get(id);
  chat.unread = 0;
  $("chat-title").textContent = chat.title;
  $("messages").replaceChildren(...[...chat.messages.values()].map((each) => nodeOf(chat, each)));
  following = true;
  follow();
  showChats();
  showTyping();
  showSuggestions();
}

function showMessage(chat, message) {
  const list = $("messages");
  list.append(nodeOf(chat, message));
  if (list.children.length > KEPT) list.firstElementChild.remove();
  if (message.user !== 0) following = true;
  follow();
  showSuggestions();
}

/** Keeps the newest message in view, unless the person has scrolled up to read. */
function follow() {
  if (following) $("messages").scrollTop = $("messages").scrollHeight;
}

function nodeOf(chat, message) {
  const press = (button, node) => pressed(message, button, node);
  return messageNode(message, { press, tookMs: chat.took.get(message.message_id) });
}

function showChats() {
  const items = [...chats.values()].map((chat) => {
    const last = [...chat.messages.values()].at(-1);
    const button = element("button", { type: "button" },
      element("span", { class: "title" }, chat.title),
      element("span", { class: "last" }, last ? last.text.slice(0, 60) : "no messages yet"));
    if (chat.unread) button.append(element("span", { class: "badge", "aria-label": `${chat.unread} unread` }, `${chat.unread}`));
    if (chat.chat === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => { select(chat.chat); drawer("chats", false); $("text").focus(); });
    return element("li", {}, button);
  });
  const focused = [...$("chat-list").children].indexOf(document.activeElement?.closest("li"));
  $("chat-list").replaceChildren(...items);
  items[focused]?.firstElementChild.focus(); // rebuilding must not take the keyboard's place away
}

function showTyping() {
  const chat = chats.get(current);
  $("typing").hidden = !chat || chat.typingUntil < performance.now();
}

function showSuggestions() {
  const begun = $("text").value;
  const fits = commands.filter((each) => `/${each.command}`.startsWith(begun) && (begun || chats.get(current)?.messages.size < 40));
  $("suggestions").replaceChildren(...fits.map((each) => {
    const chip = element("button", { type: "button", title: each.description }, `/${each.command}`);
    chip.addEventListener("click", () => { say(`/${each.command}`); $("text").value = ""; $("text").focus(); });
    return chip;
  }));
}

function online(yes) {
  $("connection").textContent = yes ? "connected" : "reconnecting";
  $("connection").dataset.state = yes ? "ok" : "waiting";
  if (!yes) $("typing").hidden = true;
}

function notice(text) {
  const node = $("notice");
  node.textContent = text;
  node.hidden = !text;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => { node.hidden = true; }, 6000);
}

function drawer(id, open) {
  $(id).classList.toggle("open", open);
  $(`toggle-${id}`).setAttribute("aria-expanded", String(open));
  if (open) $(id).focus();
}

// ---------------------------------------------------------------- what the person does

async function post(path, body = {}) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.text()) || `refused (${answer.status})`);
  return answer.json();
}

/** Runs an action; what goes wrong is told to the person. Gives whether it went well. */
async function attempt(action) {
  try {
    await action();
    return true;
  } catch (error) {
    notice(error instanceof TypeError ? "The server can't be reached." : error.message);
    return false;
  }
}

function say(text) {
  return attempt(() => post("/console/say", { chat: current, text }));
}

async function pressed(message, button, node) {
  node.disabled = true;
  const chat = chats.get(message.chat);
  chat.askedAt = performance.now();
  await attempt(() => post("/console/press", { chat: message.chat, message_id: message.message_id, text: button.text, data: button.callback_data }));
  node.disabled = false;
  node.focus();
}

async function openChat() {
  await attempt(async () => {
    const opened = await post("/console/chats", { type: "private" });
    if (!chats.has(opened.chat)) keep(opened);
    select(opened.chat);
    drawer("chats", false);
  });
}

async function restartCold() {
  $("restart").disabled = true;
  $("restarted").textContent = "restarting";
  const began = performance.now();
  const done = await attempt(() => post("/console/restart"));
  $("restarted").textContent = done ? `restarted cold in ${Math.round(performance.now() - began)} ms` : "";
  $("restart").disabled = false;
  refreshActors();
}

async function loadBootstrap() {
  const { bot, commands: offered, can_restart: canRestart } = await (await fetch("/console/bootstrap")).json();
  $("bot").textContent = `@${bot.username}`;
  $("restart").hidden = !canRestart;
  commands = offered.length ? offered : FALLBACK;
  showSuggestions();
}

async function submit() {
  const text = $("text").value.trim();
  if (!text || current === null) return;
  $("text").value = "";
  grow();
  if (!(await say(text)) && !$("text").value) $("text").value = text; // nothing typed is lost
}

function grow() {
  $("text").style.height = "auto";
  $("text").style.height = `${Math.min(160, $("text").scrollHeight)}px`;
  showSuggestions();
}

$("compose").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
$("text").addEventListener("input", grow);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
});
$("new-chat").addEventListener("click", async () => { await openChat(); $("text").focus(); });
$("restart").addEventListener("click", restartCold);
for (const id of ["chats", "panel"]) {
  $(`toggle-${id}`).addEventListener("click", () => drawer(id, !$(id).classList.contains("open")));
}
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const id of ["chats", "panel"]) {
    if ($(id).classList.contains("open")) $(`toggle-${id}`).focus();
    drawer(id, false);
  }
});

$("messages").addEventListener("scroll", () => {
  const list = $("messages");
  following = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
}, { passive: true });
new ResizeObserver(follow).observe($("messages"));

connect();
watchActors();
$("text").focus();
