"use strict";
// Everything that came from a stranger goes into the page as text (textContent, append(string)), never as markup.

const MOST = {sessions: 200, steps: 600, lines: 400, log: 200, samples: 360};
const at = (id) => document.getElementById(id);
const state = {sessions: new Map(), items: new Map(), samples: [], seconds: 0, selected: "", next: 0, shown: 0,
               lastState: "", loading: false, again: false, messages: new Set(), lineCount: 0, textBlock: null};

// An element with this class and these children, strings or elements.
function make(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
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

// -- sessions

function takeSnapshot(data) {
  at("domain").textContent = data.domain;
  document.title = `Serveur SMTP ${data.domain}`;
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
  at("no-session").hidden = state.sessions.size > 0;
  at("left-out").textContent = leftOut ? `Trop à la fois, sans être montrées : ${plural(leftOut, "session")}.` : "";
  showCount("sessions", [...state.sessions.values()].filter((session) => !session.over).length, "session", " en cours");
  const newest = newestName();
  if (at("follow").checked && newest && newest !== state.selected) select(newest);
  else if (sessions.some((session) => session.name === state.selected)) loadMore();
}

function takeSession(session) {
  const before = state.sessions.get(session.name);
  state.sessions.set(session.name, session);
  const item = state.items.get(session.name) || make("li", "");
  if (!before) {
    item.append(make("button", ""));
    item.firstChild.type = "button";
    item.firstChild.addEventListener("click", () => { at("follow").checked = false; select(session.name); });
    state.items.set(session.name, item);
    at("session-list").prepend(item);
  }
  fillItem(item.firstChild, session);
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
  const first = at("session-list").firstChild;
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
  const item = event.target.closest("li");
  const list = at("session-list");
  const to = {ArrowDown: item && item.nextSibling, ArrowUp: item && item.previousSibling, Home: list.firstChild,
              End: list.lastChild}[event.key];
  if (to) { event.preventDefault(); to.firstChild.focus(); }
});
at("follow").addEventListener("change", () => { if (at("follow").checked && newestName()) select(newestName()); });

// -- one dialogue

function select(name) {
  const before = state.selected;
  Object.assign(state, {selected: name, next: 0, shown: 0, lastState: "", lineCount: 0, textBlock: null});
  state.messages.clear();
  for (const changed of [before, name]) {
    if (state.items.has(changed)) fillItem(state.items.get(changed).firstChild, state.sessions.get(changed));
  }
  at("steps").replaceChildren();
  at("fate-list").replaceChildren();
  at("fates").hidden = true;
  loadMore();
}

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
  const place = at("steps"), isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 40;
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
  if (isAtEnd) place.scrollTop = place.scrollHeight;
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

function meaning(step) {
  return step.meaning ? [make("p", "", step.meaning + " ", make("cite", "", `(${step.what}, ${step.section})`))] : [];
}

const SHOW = {
  arrived: (step) => add(make("p", "event", `${clock(step.when)} : connexion de ${step.address}, ` +
                                            `prise par le processus ${step.pid}`)),
  heard: (step) => {
    state.textBlock = null;
    addState(step.state);
    const line = make("code", "", step.line || " ");
    if (step.lf) line.append(make("span", "mark", " ⏎LF"));
    bubble("client", line, ...meaning(step));
  },
  said: (step) => {
    const kind = step.code >= 500 ? "server bad" : step.code >= 400 ? "server later" : "server";
    bubble(kind, ...step.lines.map((line) => make("code", "", line)), ...meaning(step));
    addState(step.state);
    if (step.code === 354) { state.lineCount = 0; state.textBlock = null; }
  },
  text: (step) => {
    if (!state.textBlock) state.textBlock = bubble("client", make("p", "", "le texte du message"), make("pre", "text"));
    const block = state.textBlock.lastChild;
    block.tabIndex = 0;
    for (const [text, more, end] of step.lines) {
      if (++state.lineCount > MOST.lines) continue;
      const line = make("span", "", text);
      if (more > 0) line.append(make("span", "mark", ` [… encore ${more} octets]`));
      if (end === "LF") line.append(make("span", "mark", " ⏎LF"));
      block.append(line, "\n");
    }
  },
  end: (step) => {
    if (state.textBlock && state.lineCount > MOST.lines) {
      state.textBlock.append(make("p", "mark", `… et encore ${plural(state.lineCount - MOST.lines, "ligne")}`));
    }
    state.textBlock = null;
    state.lineCount = 0;
    add(make("p", "event", `fin du message : ${plural(step.octets, "octet")}`));
  },
  chunk: (step) => {
    state.textBlock = null;
    add(make("p", "event", `morceau de ${plural(step.octets, "octet")}${step.dropped ? ", lu et jeté" : ""}`));
  },
  accepted: (step) => {
    state.messages.add(step.id);
    loadFate(step.id);
  },
  secured: (step) => add(make("p", "event", `TLS commence : ${step.cipher}`)),
  full: () => add(make("p", "event", "Ce dialogue est trop long : la suite n'est pas gardée.")),
  gone: (step) => add(make("p", "event", `${clock(step.when)} : fin de la session`)),
};

// -- where a message went

async function loadFate(id) {
  let told;
  try {
    told = await (await fetch(`message?id=${encodeURIComponent(id)}`)).json();
  } catch (error) { return; }
  if (!state.messages.has(id)) return;
  const shown = showFate(told, `Message ${id}`);
  shown.dataset.id = id;
  const before = [...at("fate-list").children].find((element) => element.dataset.id === id);
  if (before) before.replaceWith(shown); else at("fate-list").append(shown);
  at("fates").hidden = false;
}

function showFate(told, title) {
  const list = make("ul", "fate");
  for (const event of told.events) if (event.label) list.append(fateEvent(event));
  for (const recipient of told.queue ? told.queue.recipients : []) {
    if (recipient.state === "waiting") list.append(waiting(recipient, told.queue.aside));
  }
  const shown = make("div", "", make("strong", "", title), list);
  for (const bounce of told.bounces || []) {
    shown.append(showFate(bounce, `Avis d'échec ${bounce.id}, pour l'expéditeur`));
  }
  return shown;
}

function fateEvent({when, flag, label, text}) {
  const kind = {"=>": "done", "->": "done", "==": "later", "**": "bad"}[flag] || (flag ? "" : "done");
  const to = flag && flag !== "<=" ? text.slice(3).split(" ")[0].replace(/:$/, "") : "";
  const sentence = to ? `${label} : ${to}${flag === "==" ? "" : whereTo(text)}` : label;
  return make("li", kind, `${when} ${sentence}`, make("code", "", text === "Completed" ? "" : text));
}

// What a log line says of the place that a message went to.
function whereTo(text) {
  if (/ T=maildir/.test(text)) return ", dans sa boîte (Maildir)";
  if (/ T=mail_spool/.test(text)) return ", dans sa boîte (mbox)";
  const host = / H=(\S+ \[[^\]]*\])/.exec(text);
  return host ? `, hôte ${host[1]}` : "";
}

function waiting(recipient, aside) {
  const to = recipient.mailbox ? `la boîte de ${recipient.mailbox}` : recipient.address;
  const when = new Date(recipient.next * 1000).toLocaleString("fr-FR");
  const next = recipient.next ? `prochaine le ${when}` : "la première bientôt";
  const text = aside ? `mis de côté, pour ${to}`
    : `en file d'attente pour ${to} : ${plural(recipient.tries, "tentative")}, ${next}`;
  return make("li", "later", text, make("code", "", recipient.reply));
}

// ids: of messages that the log tells more of; a bounce belongs to the message that it is about.
function takeMessages(ids) {
  for (const id of state.messages) {
    const shown = [...at("fate-list").children].find((element) => element.dataset.id === id);
    if (ids.some((other) => other === id || (shown && shown.textContent.includes(other)))) loadFate(id);
  }
}

// -- queue, log, curves

function takeQueue(queue) {
  showCount("queue", queue.count, "message", " en file");
  const rows = queue.messages.map((message) => make("div", "", make("strong", "", message.id),
    ` de <${message.sender}>, ${plural(message.octets, "octet")}${message.aside ? ", mis de côté" : ""}`,
    make("ul", "fate", ...message.recipients.filter((recipient) => recipient.state === "waiting")
      .map((recipient) => waiting(recipient, message.aside)))));
  if (!rows.length) rows.push(make("p", "empty", "Vide : rien n'attend d'être porté plus loin."));
  const more = queue.count - queue.messages.length;
  if (more > 0) rows.push(make("p", "note", `… et encore ${plural(more, "message")}.`));
  at("queue").replaceChildren(...rows);
  for (const id of state.messages) loadFate(id);
}

function takeLog(lines) {
  const log = at("log"), isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  for (const line of lines) log.append(make("span", "", line, "\n"));
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
  at("notice").textContent = text;
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
