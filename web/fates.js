"use strict";
// Where messages went, and what still waits in the queue. The sentences about the log's lines come from the server.

const KINDS = {"=>": "done", "->": "done", "==": "later", "**": "bad"};
const REFRESH_MILLISECONDS = 5000;

async function loadFate(id) {
  if (!fateOf(id)) at("fate-list").prepend(placed(make("div", ""), id));      // the newest on top, whoever is told first
  let told;
  try {
    told = await (await fetch(`message?id=${encodeURIComponent(id)}`)).json();
  } catch (error) { return; }
  if (!state.messages.has(id)) return;
  fateOf(id).replaceWith(placed(showFate(told, `Message ${id}`), id));
  at("fates-title").textContent = state.messages.size > 1 ? "Où sont passés les messages" : "Où est passé le message";
  at("fates").hidden = false;
}

function placed(element, id) {
  element.dataset.id = id;
  return element;
}

function fateOf(id) {
  return [...at("fate-list").children].find((element) => element.dataset.id === id);
}

// ids: of messages that the log tells more of; a report or a part belongs to the message that it comes from.
function takeMessages(ids) {
  for (const id of state.messages) {
    const shown = fateOf(id);
    if (ids.some((other) => other === id || (shown && shown.textContent.includes(other)))) loadFate(id);
  }
}

function showFate(told, title) {
  const list = make("ul", "fate");
  const waiters = told.queue ? told.queue.recipients.filter((recipient) => recipient.state === "waiting") : [];
  const isWaiting = (event) => event.flag === "==" && waiters.some((recipient) => isAbout(event, recipient));
  for (const event of told.events) if (event.sentence && !isWaiting(event)) list.append(fateEvent(event));
  for (const recipient of waiters) {
    const last = told.events.find((event) => event.flag === "==" && isAbout(event, recipient));
    list.append(waiting(recipient, told.queue.aside, last));
  }
  const shown = make("div", "", make("strong", "", title), list);
  if (waiters.length) shown.append(whereItWaits(told.queue));
  for (const report of told.reports || []) shown.append(showFate(report, `Avis ${report.id}, à l'expéditeur`));
  for (const part of told.parts || []) shown.append(showFate(part, `La suite, sous le nom ${part.id}`));
  return shown;
}

function isAbout(event, recipient) {
  return [recipient.address, recipient.mailbox].includes(event.to);
}

function fateEvent({when, flag, sentence, why, text}) {
  return make("li", KINDS[flag] || "", `${when} ${sentence}`, ...reason(why),
              ...(flag ? [make("code", "", text)] : []));
}

function reason(why) {
  return why ? [make("p", "why", why)] : [];
}

// last: the log's event of the attempt before, if it is known.
function waiting(recipient, aside, last) {
  const to = recipient.mailbox ? `la boîte ${recipient.mailbox}` : recipient.address;
  const text = [aside ? `mis de côté, pour ${to}` : `en file d'attente pour ${to}`];
  if (!aside && !recipient.next) text.push(" : première tentative d'un instant à l'autre");
  if (!aside && recipient.next) {
    text.push(` : ${plural(recipient.tries, "tentative")}, la prochaine ${moment(recipient.next)} (`,
              countdown(recipient.next), ")");
  }
  const said = make("code", "", last ? last.text : recipient.reply);
  return make("li", "later", ...text, ...reason((last && last.why) || recipient.why), said);
}

// warned: who hears of it when it is given up, "" if nobody.
function whereItWaits({path, until, warned, aside}) {
  const end = aside ? "" : `, jusqu'au ${day(until)} au plus tard` +
    (warned ? ` : <${warned}> recevra alors un avis d'échec` : "");
  return make("p", "note", "Il est dans ", make("code", "", path), `${end}.`);
}

// -- moments

function day(seconds) {
  return new Date(seconds * 1000).toLocaleDateString("fr-FR");
}

function moment(seconds) {
  return (day(seconds) === day(Date.now() / 1000) ? "à " : `le ${day(seconds)} à `) + clock(seconds);
}

function countdown(seconds) {
  const made = make("span", "countdown", remaining(seconds));
  made.dataset.until = seconds;
  return made;
}

function remaining(seconds) {
  const left = Math.round(seconds - Date.now() / 1000);
  if (left <= 0) return "d'un instant à l'autre";
  if (left < 90) return `dans ${left} s`;
  return left < 5400 ? `dans ${Math.round(left / 60)} min` : `dans ${Math.round(left / 3600)} h`;
}

setInterval(() => {
  for (const shown of document.querySelectorAll(".countdown")) shown.textContent = remaining(shown.dataset.until);
}, REFRESH_MILLISECONDS);

// -- the queue

function takeQueue(queue) {
  showCount("queue", queue.count, "message", " en file");
  const rows = queue.messages.map((message) => make("div", "", make("strong", "", message.id),
    ` de <${message.sender}>, ${plural(message.octets, "octet")}${message.aside ? ", mis de côté" : ""}`,
    make("ul", "fate", ...message.recipients.filter((recipient) => recipient.state === "waiting")
      .map((recipient) => waiting(recipient, message.aside)))));
  if (!rows.length) rows.push(make("p", "empty", "Vide : rien n'attend d'être acheminé."));
  const more = queue.count - queue.messages.length;
  if (more > 0) rows.push(make("p", "note", `… et encore ${plural(more, "message")}.`));
  at("queue").replaceChildren(...rows);
  for (const id of state.messages) loadFate(id);
}
