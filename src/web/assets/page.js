// Keeps the page as it is on the server, and asks for what people press. Everything can be read without it.
"use strict";

const root = document.body.dataset.root;
const live = document.getElementById("live");
document.documentElement.classList.add("js");

// --- live: whatever changes is fetched as the page itself, and the parts that live are put in its place. ---

const EVERY = 2000;
// Ages go on where nothing changes; a stream that is refused is asked for again.
const AGES = 15000;
const AGAIN = 3000;
let events = null;
let due = 0;
let waiting = null;

const say = (state, text) => {
  live.className = `live ${state}`;
  live.textContent = text;
};

async function refresh() {
  waiting = null;
  due = Date.now() + EVERY;
  const from = location.href;
  try {
    const answer = await fetch(from, { cache: "no-store" });
    if (!answer.ok) return say("off", `not up to date: ${answer.status}`);
    // Meanwhile something else may be looked for.
    if (location.href !== from) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    document.getElementById("icon").href = fresh.getElementById("icon").href;
    const focused = document.activeElement;
    const label = focused && focused.closest("[data-live]") && (focused.id || focused.getAttribute("href"));
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other && other.innerHTML !== part.innerHTML) part.replaceChildren(...other.childNodes);
    }
    if (label) {
      const again = [...document.querySelectorAll("[data-live] a, [data-live] button")]
        .find((it) => it.id === label || it.getAttribute("href") === label);
      if (again) again.focus({ preventScroll: true });
    }
    if (events.readyState === EventSource.OPEN) say("on", "live");
  } catch {
    // The stream below says that nothing is heard any more.
  }
}

function soon() {
  if (waiting === null && !document.hidden) {
    waiting = setTimeout(refresh, Math.max(0, due - Date.now()));
  }
}

function listen() {
  events = new EventSource(`${root}api/v1/events`);
  events.addEventListener("open", () => say("on", "live"));
  events.addEventListener("changed", soon);
  events.addEventListener("error", () => {
    say("off", "not connected; tries again");
    // After an answer other than a stream it does not try again by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
  });
}

listen();
setInterval(soon, AGES);
document.addEventListener("visibilitychange", soon);

// --- what is looked for applies as it is chosen or typed; its address can be given to others ---

const form = document.querySelector("form.find");
let typed = null;

function find() {
  const fields = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...fields]) if (!value.trim()) fields.delete(name);
  history.replaceState(null, "", fields.size ? `?${fields}` : location.pathname);
  refresh();
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
  form.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(find, 150);
  });
  // As in many lists: a slash goes to the field, Escape empties it.
  document.addEventListener("keydown", (event) => {
    const field = form.elements.search;
    const writes = event.target.closest("input, select, dialog");
    if (event.key === "/" && !writes && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
      field.select();
    } else if (event.key === "Escape" && event.target === field && field.value) {
      field.value = "";
      find();
    }
  });
}

// --- a square of the map leads to its host in the list ---

document.addEventListener("click", (event) => {
  const map = event.target.closest("svg.map");
  if (!map) return;
  const box = map.getBoundingClientRect();
  const pitch = box.width / Number(map.dataset.columns);
  const at = [event.clientX - box.left, event.clientY - box.top].map((it) => Math.floor(it / pitch));
  location.href = `?offset=${(at[1] * map.dataset.columns + at[0]) * map.dataset.each}#hosts`;
});

// --- what people ask for: each button says what, and with which body ---

const dialog = document.getElementById("ask");
const field = (name) => dialog.querySelector(`[name=${name}]`);
const told = dialog.querySelector("output");
let asked = null;

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.ask");
  if (!button) return;
  asked = button.dataset;
  dialog.querySelector("h2").textContent = button.textContent;
  dialog.querySelector("p").textContent = asked.question;
  field("why").parentElement.hidden = asked.what !== "pause";
  field("token").value = sessionStorage.getItem("token") || "";
  field("who").value = sessionStorage.getItem("who") || "";
  told.textContent = "";
  dialog.showModal();
});

// Not a button that submits: the first of those is what Enter presses.
dialog.querySelector("button[type=button]").addEventListener("click", () => dialog.close());

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [token, who, why] = ["token", "who", "why"].map((name) => field(name).value.trim());
  const body = { ...JSON.parse(asked.body || "{}") };
  if (who) body.who = who;
  if (why && asked.what === "pause") body.why = why;
  told.textContent = "…";
  try {
    const answer = await fetch(`${root}api/v1/${asked.what}`, {
      method: "POST",
      // Not `Authorization`: proxies before us may keep that for their own.
      headers: { "x-calico-dcos-token": token, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    // A proxy answers as it likes.
    const said = await answer.json().catch(() => ({}));
    told.textContent = said.done || said.detail || `The answer was ${answer.status} ${answer.statusText}`;
    if (!answer.ok) return;
    sessionStorage.setItem("token", token);
    sessionStorage.setItem("who", who);
    soon();
    setTimeout(() => dialog.close(), 1500);
  } catch (error) {
    told.textContent = `It could not be sent: ${error.message}`;
  }
});
