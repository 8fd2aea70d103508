// The side panel: how warm the actors are, from /health and the actors' statistics.

import { element } from "./console-message.js";

const POLL_MS = 2000;
const DEADLINE_MS = 6000; // a little above the server's own

/** Shows health and statistics from now on. */
export function watchActors() {
  refreshActors().finally(() => setTimeout(watchActors, POLL_MS));
}

export async function refreshActors() {
  if (document.hidden) return;
  const [health, stats] = await Promise.all([read("/health"), read("/console/stats")]);
  showHealth(health?.status ?? "unreachable");
  showActors(health?.actors ?? {}, stats?.actors ?? {});
}

async function read(path) {
  try {
    const answer = await fetch(path, { signal: AbortSignal.timeout(DEADLINE_MS), cache: "no-store" });
    return await answer.json();
  } catch {
    return null; // shown as unreachable
  }
}

function showHealth(status) {
  const node = document.getElementById("health");
  if (node.textContent === status) return;
  node.textContent = status;
  node.dataset.state = status;
}

function showActors(health, stats) {
  const names = [...new Set([...Object.keys(stats), ...Object.keys(health)])];
  const cards = names.map((name) => card(name, stats[name] ?? {}, health[name]));
  const none = element("p", { class: "muted" }, "Nothing is known of them yet.");
  document.getElementById("actors").replaceChildren(...(cards.length ? cards : [none]));
}

function card(name, known, health) {
  const stats = typeof known === "string" ? { degraded: known } : known; // one line why there are none
  const warm = stats.warm ?? {};
  const said = typeof health === "string" ? health : health?.status;
  const status = stats.degraded ? "degraded" : warm.status ?? said ?? "unknown";
  const head = element("h3", {}, name, " ", element("span", { class: "pill", "data-state": status }, status));
  const list = element("dl", {}, ...facts(stats, warm, health?.reason).flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));
  return element("section", { class: "card" }, head, list);
}

function facts(stats, warm, reason) {
  const first = stats.first_request;
  const all = [
    ["warmed from", warm.source && warm.source !== "none" ? `${warm.source}, ${count(warm.loaded)} of ${count(warm.requested)}` : warm.source],
    ["warm took", warm.duration_ms === undefined ? undefined : `${warm.duration_ms.toFixed(1)} ms, ${plural(warm.store_reads, "store read")}`],
    ["first request", first ? `${first.duration_ms.toFixed(1)} ms, ${plural(first.store_reads, "store read")}` : undefined],
    ["cached", stats.entries === undefined ? undefined : `${plural(stats.entries, "entry", "entries")}, ${size(stats.bytes)}`],
    ["hits / misses", stats.hits === undefined ? undefined : `${count(stats.hits)} / ${count(stats.misses)}`],
    ["store reads", stats.store_reads ? plural(stats.store_reads.calls, "call") : undefined],
    ["store writes", stats.store_writes ? plural(stats.store_writes.calls, "call") : undefined],
    ["reason", stats.degraded || reason || undefined],
  ];
  return all.filter(([, value]) => value !== undefined);
}

function count(number) {
  return (number ?? 0).toLocaleString("en");
}

function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function size(bytes) {
  if (!bytes) return "0 B";
  const step = Math.min(3, Math.floor(Math.log(bytes) / Math.log(1000)));
  return `${(bytes / 1000 ** step).toFixed(step ? 1 : 0)} ${["B", "kB", "MB", "GB"][step]}`;
}
