"use strict";
// Everything that came from a stranger goes into the page as text (textContent, append(string)), never as markup.

const MOST = {sessions: 200, steps: 600, lines: 400, log: 200, samples: 360};
const PROSE = ["p", "li", "small", "cite", "dt", "dd"];
const at = (id) => document.getElementById(id);
const state = {sessions: new Map(), items: new Map(), samples: [], seconds: 0, selected: "", next: 0, shown: 0,
               lastState: "", loading: false, again: false, messages: new Set(), lineCount: 0, textBlock: null,
               hasToldLf: false, isAtEnd: true, lastCode: 0};
const CLOSING = [221, 421];     // what a server says last

// An element with this class and these children, strings or elements.
function make(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...(PROSE.includes(tag) ? children.map(typeset) : children));
  return made;
}

// French as it is printed: no line begins with these signs. What was typed, in code and pre, stays as it is.
function typeset(text) {
  return typeof text === "string" ? text.replace(/ (?=[;:!?»])|(?<=«) /g, "\u00a0") : text;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("fr-FR");
}

function plural(count, noun) {
  return `${count} ${noun}${count > 1 ? "s" : ""}`;
}

function showCount(name, count, noun, rest) {
  at(`count-${name}`).textContent = count;
  at(`count-${name}`).previousElementSibling.textContent = noun + (count > 1 ? "s" : "") + rest;
}

// -- what kind of server it is

// address: "" if it listens everywhere, and so where the page is as well.
function showFacts({address, port, domain, lines}) {
  at("domain").textContent = domain;
  document.title = `Serveur SMTP ${domain}`;
  at("facts").replaceChildren(...lines.flatMap(([name, text]) => [make("dt", "", name), make("dd", "", text)]));
  at("example").textContent = [`telnet ${address || location.hostname.replace(/[[\]]/g, "")} ${port}`, "HELO moi",
    "MAIL FROM:<moi@exemple.fr>", `RCPT TO:<compte@${domain}>`, "DATA", "Subject: essai", "", "Bonjour.", ".", "QUIT",
  ].join("\n");
}

// -- sessions

function takeSnapshot(data) {
  showFacts(data.facts);
  state.sessions.clear();
  state.items.clear();
  at("session-list").replaceChildren();
  state.samples = data.samples;
  state.seconds = data.seconds;
  drawCurves(at("curves"), state.samples, state.seconds);
  at("log").replaceChildren();
  takeLog(data.log);
  takeQueue(data.queue);
  takeSessions(data);
  if (data.missed) {
    notify(`Ce navigateur était trop lent, et a manqué ${plural(data.missed, "nouvelle")} : tout a été relu.`);
  }
}

function takeSessions({sessions, leftOut}) {
  for (const session of sessions) takeSession(session);
  prune();
  at("first-steps").hidden = state.sessions.size > 0;
  if (!state.selected && state.sessions.size) at("dialogue-about").textContent = "Choisissez une session.";
  showFound();
  at("left-out").textContent = leftOut ? `Trop à la fois : il en manque ${leftOut}.` : "";
  showCount("sessions", [...state.sessions.values()].filter((session) => !session.over).length, "session", " en cours");
  if (!at("session-list").querySelector("[tabindex='0']")) reachByTab(at("session-list").firstChild);
  followNewest();
  if (sessions.some((session) => session.name === state.selected)) { showNow(); loadMore(); }
}

function followNewest() {
  const newest = newestName();
  if (at("follow").checked && newest && newest !== state.selected) select(newest);
}

function takeSession(session) {
  const before = state.sessions.get(session.name);
  state.sessions.set(session.name, session);
  const item = state.items.get(session.name) || make("li", "");
  if (!before) {
    item.append(make("button", ""));
    item.firstChild.type = "button";
    item.firstChild.tabIndex = -1;
    item.firstChild.addEventListener("click", () => { at("follow").checked = false; select(session.name); });
    state.items.set(session.name, item);
    at("session-list").prepend(item);
  }
  item.hidden = !isWanted(session);
  fillItem(item.firstChild, session);
}

// Of the whole list, Tab reaches one session; arrows reach the others.
function reachByTab(item) {
  for (const other of at("session-list").querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
  if (item) item.firstChild.tabIndex = 0;
}

function isWanted({number, client, address, login}) {
  const wanted = at("wanted").value.trim().toLowerCase();
  return [`${number}.`, client, address, login].some((text) => text.toLowerCase().includes(wanted));
}

function showFound() {
  const isFound = [...state.items.values()].some((item) => !item.hidden);
  at("no-session").hidden = isFound;
  at("no-session").textContent = state.sessions.size ? "Aucune de ce nom, ni de cette adresse." : "Aucune session.";
}

function fillItem(button, session) {
  const title = make("strong", "", `${session.number}. ${session.client || session.address}`);
  if (!session.over) title.append(make("span", "open", " en cours"));
  const marks = [clock(session.began), session.address];
  if (session.tls) marks.push("TLS");
  if (session.login) marks.push(session.login);
  const news = [];
  if (session.messages.length) news.push(make("small", "", plural(session.messages.length, "message") +
                                              ` accepté${session.messages.length > 1 ? "s" : ""}`));
  if (session.refusals) news.push(make("small", "refused", `${session.refusals} refus`));
  if (!session.over) news.push(make("small", "", session.state));
  button.replaceChildren(title, make("small", "", marks.join(" · ")), ...news);
  button.setAttribute("aria-current", String(session.name === state.selected));
}

function newestName() {
  const first = at("session-list").querySelector("li:not([hidden])");
  for (const [name, item] of state.items) if (item === first) return name;
  return "";
}

function prune() {
  for (const [name, item] of state.items) {
    if (state.items.size <= MOST.sessions) return;
    if (name === state.selected) continue;
    item.remove();
    state.items.delete(name);
    state.sessions.delete(name);
  }
}

at("session-list").addEventListener("keydown", (event) => {
  const shown = [...at("session-list").querySelectorAll("li:not([hidden])")];
  const place = shown.indexOf(event.target.closest("li"));
  const to = {ArrowDown: shown[place + 1], ArrowUp: shown[place - 1], Home: shown[0],
              End: shown[shown.length - 1]}[event.key];
  if (to) { event.preventDefault(); to.firstChild.focus(); }
});
at("session-list").addEventListener("focusin", (event) => reachByTab(event.target.closest("li")));
at("wanted").addEventListener("input", () => {
  for (const [name, item] of state.items) item.hidden = !isWanted(state.sessions.get(name));
  showFound();
  followNewest();
});
at("follow").addEventListener("change", followNewest);

// -- one dialogue

function select(name) {
  const before = state.selected;
  Object.assign(state, {selected: name, next: 0, shown: 0, lastState: "", lineCount: 0, textBlock: null,
                        hasToldLf: false, isAtEnd: true, lastCode: 0});
  state.messages.clear();
  reachByTab(state.items.get(name));
  for (const changed of [before, name]) {
    if (state.items.has(changed)) fillItem(state.items.get(changed).firstChild, state.sessions.get(changed));
  }
  at("steps").replaceChildren();
  at("fate-list").replaceChildren();
  at("fates").hidden = true;
  showNow();
  loadMore();
}

function showNow() {
  const session = state.sessions.get(state.selected);
  at("now").hidden = !session || session.over;
  const text = at("now").hidden ? "" : typeset(session.state);
  if (at("now").textContent !== text) at("now").textContent = text;
}

function keepAtEnd() {
  if (state.isAtEnd) at("steps").scrollTop = at("steps").scrollHeight;
}
at("steps").addEventListener("scroll", () => {
  const place = at("steps");
  state.isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 40;
});
new ResizeObserver(keepAtEnd).observe(at("steps"));

async function loadMore() {
  if (state.loading) { state.again = true; return; }
  state.loading = true;
  do {
    state.again = false;
    const name = state.selected, from = state.next;
    let answer;
    try {
      answer = await fetch(`dialogue?name=${encodeURIComponent(name)}&from=${from}`);
      if (!answer.ok) throw new Error(String(answer.status));
      answer = await answer.json();
    } catch (error) {
      at("dialogue-about").textContent = "Ce dialogue n'est plus gardé, ou le serveur ne répond pas.";
      break;
    }
    if (name !== state.selected) { state.again = true; continue; }
    state.next = answer.next;
    showSteps(answer.steps);
    if (answer.steps.length) state.again = true;
  } while (state.again);
  state.loading = false;
}

function showSteps(steps) {
  const place = at("steps");
  const session = state.sessions.get(state.selected);
  if (session) {
    at("dialogue-about").textContent = `Session ${session.number}, ${session.address}, commencée à ` +
      `${clock(session.began)}, ${session.over ? "finie" : "en cours"}.`;
  }
  for (const step of steps) (SHOW[step.kind] || (() => {}))(step);
  while (place.childElementCount > MOST.steps) place.firstChild.remove();
  if (state.shown > MOST.steps && place.firstChild.className !== "event cut") {
    place.firstChild.remove();
    place.prepend(make("p", "event cut", "Le début de ce long dialogue n'est plus affiché."));
  }
  keepAtEnd();
}

function add(...elements) {
  at("steps").append(...elements);
  state.shown += elements.length;
}

function addState(text) {
  if (!text || text === state.lastState) return;
  state.lastState = text;
  add(make("p", "state", text));
}

function bubble(kind, ...children) {
  const step = make("div", `step ${kind}`, make("div", "", ...children));
  add(step);
  return step.firstChild;
}

// Said once in each dialogue.
function tellLf() {
  if (state.hasToldLf) return;
  state.hasToldLf = true;
  add(make("p", "event", "⏎LF : ligne finie par LF seul. Ce serveur l'accepte ; SMTP demande CRLF (RFC 5321 2.3.8)."));
}

function meaning(step) {
  const parts = step.meaning ? [[step.what, step.section, step.meaning]] : [];
  return [...parts, ...(step.parameters || [])].map(([what, section, text]) =>
    make("p", "", text + " ", make("cite", "", `(${what}, ${section})`)));
}

const SHOW = {
  arrived: (step) => add(make("p", "event", `${clock(step.when)} : connexion de ${step.address}, ` +
                                            `servie par le processus ${step.pid}`)),
  heard: (step) => {
    state.textBlock = null;
    addState(step.state);
    const line = make("code", "", step.line || " ");
    if (step.lf) line.append(make("span", "mark", " ⏎LF"));
    bubble("client", line, ...meaning(step));
    if (step.lf) tellLf();
  },
  said: (step) => {
    const kind = step.code >= 500 ? "server bad" : step.code >= 400 ? "server later" : "server";
    bubble(kind, ...step.lines.map((line) => make("code", "", line)), ...meaning(step));
    addState(step.state);
    state.lastCode = step.code;
    if (step.code === 354) { state.lineCount = 0; state.textBlock = null; }
  },
  text: (step) => {
    if (!state.textBlock) state.textBlock = bubble("client", make("p", "", "le texte du message"), make("pre", "text"));
    const block = state.textBlock.lastChild;
    for (const [text, more, end] of step.lines) {
      if (++state.lineCount > MOST.lines) continue;
      const line = make("span", "", text);
      if (more > 0) line.append(make("span", "mark", ` [… encore ${more} octets]`));
      if (end === "LF") line.append(make("span", "mark", " ⏎LF"));
      block.append(line, "\n");
    }
    if (block.scrollHeight > block.clientHeight) block.tabIndex = 0;
    if (step.lines.some((line) => line[2] === "LF")) tellLf();
  },
  end: (step) => {
    if (state.textBlock && state.lineCount > MOST.lines) {
      state.textBlock.append(make("p", "mark", `… et encore ${plural(state.lineCount - MOST.lines, "ligne")}`));
    }
    state.textBlock = null;
    state.lineCount = 0;
    add(make("p", "event", `fin du message : ${plural(step.octets, "octet")}, ` +
                          "sans l'en-tête que le serveur ajoute"));
  },
  chunk: (step) => {
    state.textBlock = null;
    add(make("p", "event", `morceau de ${plural(step.octets, "octet")}${step.dropped ? ", lu et jeté" : ""}`));
  },
  accepted: (step) => {
    state.messages.add(step.id);
    loadFate(step.id);
  },
  secured: (step) => {
    add(make("p", "event", `TLS commence : ${step.cipher}`));
    addState(step.state);
  },
  full: () => add(make("p", "event", "Ce dialogue est trop long : la suite n'est pas gardée.")),
  gone: (step) => {
    const how = CLOSING.includes(state.lastCode) ? "" : ", sans QUIT";
    add(make("p", "event", `${clock(step.when)} : fin de la session${how}`));
  },
};

// -- log, curves

function takeLog(lines) {
  const log = at("log"), isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  for (const line of lines) {
    const flag = / (<=|=>|->|==|\*\*) /.exec(line.slice(19, 45));
    log.append(make("span", (flag && KINDS[flag[1]]) || "", line, "\n"));
  }
  while (log.childElementCount > MOST.log) log.firstChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function takeSample(sample) {
  state.samples.push(sample);
  while (state.samples.length > MOST.samples) state.samples.shift();
  drawCurves(at("curves"), state.samples, state.seconds);
}

// -- the stream

function notify(text) {
  at("notice").textContent = typeset(text);
  at("notice").hidden = !text;
}

function showLive(className, text) {
  at("live").className = className;
  at("live").textContent = text;
}

function listen() {
  const events = new EventSource("events");
  const takers = {snapshot: takeSnapshot, sessions: takeSessions, log: takeLog, messages: takeMessages,
                  queue: takeQueue, sample: takeSample};
  for (const [name, take] of Object.entries(takers)) {
    events.addEventListener(name, (event) => take(JSON.parse(event.data)));
  }
  events.onopen = () => { showLive("on", "en direct"); };
  events.onerror = () => {
    if (events.readyState !== EventSource.CLOSED) { showLive("off", "coupé, nouvelle tentative…"); return; }
    showLive("off", "coupé");
    notify("Le serveur a redémarré, ou ne montre plus rien : ouvrez l'adresse qu'il a affichée en démarrant.");
  };
}

// The token stays in a cookie, and out of what a projector shows.
history.replaceState(null, "", location.pathname);
listen();
