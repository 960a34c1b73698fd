// The page: signing in, the stream of changes, and what keys do.

import { Board, legend } from "./board.js";
import { byId, count, el, fill, plural, setText } from "./dom.js";
import { Model } from "./model.js";
import { Panel } from "./panel.js";
import { Plots } from "./plots.js";
import { ServiceList } from "./services.js";
import { NODE } from "./states.js";
import { Stream, ask, askJson, session } from "./stream.js";

const HIDDEN_MS = 5000; // who does not look for so long needs no stream

const model = new Model();
const board = new Board(model, { onTask: openTask, onNode: openNode });
const services = new ServiceList(model, toggleService);
const panel = new Panel(model, {
	onTask: openTask, onNode: openNode, onService: (id, opener) => openService(id, opener), onClose: closePanel, onSignedOut: showGate,
});

const plots = new Plots(model, board, panel);
board.onNear = () => plots.look();

// ---------------------------------------------------------------- signing in and out

function showGate(why = "") {
	stream.stop();
	plots.stop();
	panel.close();
	session.key = "";
	byId("app").hidden = true;
	byId("gate").hidden = false;
	setText(byId("gate-error"), why);
	byId("token").focus();
}

function showApp() {
	byId("gate").hidden = true;
	byId("app").hidden = false;
	if (!document.hidden) stream.start(); // else when somebody looks
}

async function signIn(event) {
	event.preventDefault();
	const form = byId("sign-in"), button = form.querySelector("button"), field = byId("token");
	button.disabled = true;
	setText(byId("gate-error"), "");
	try {
		const answer = await askJson("sign-in", { method: "POST", body: new URLSearchParams({ token: field.value.trim() }) });
		session.key = answer.key;
		field.value = "";
		showApp();
	} catch (error) {
		setText(byId("gate-error"), error.name === "TypeError" ? "The manager is not reached." : error.message);
		field.select();
	} finally {
		button.disabled = false;
	}
}

async function signOut() {
	await ask("sign-out", { method: "POST", body: new URLSearchParams() }).catch(() => {});
	showGate();
}

// ---------------------------------------------------------------- the stream

const stream = new Stream("events", {
	event(type, data) {
		if (type === "reset") model.reset();
		else if (type === "whole") model.complete();
		else model.apply(data);
		if (type === "whole") {
			model.dirty.order = true;
			model.dirty.services.add("");
		}
		renderSoon();
	},
	state(name, why) {
		if (name === "signed-out") return showGate(model.whole ? "You were signed out: the token has ended." : "");
		const texts = { connecting: model.whole ? "Reconnecting" : "Connecting", live: "Live", broken: "Reconnecting", ended: "Stopped" };
		byId("live").dataset.state = name === "connecting" && model.whole ? "broken" : name;
		byId("live").title = why || "";
		setText(byId("live-text"), texts[name] || name);
		document.body.classList.toggle("stale", model.whole && name !== "live");
	},
});

let asked = 0;
function renderSoon() {
	// Without a visible window no frame comes; then nobody needs one now. A snapshot is shown when it is whole.
	if (!asked && !model.partial) asked = requestAnimationFrame(render);
}

function render() {
	asked = 0;
	const dirty = model.takeDirty();
	// Which services count as running depends on their nodes, too.
	for (const id of dirty.nodes) for (const task of model.nodes.get(id)?.tasks || []) dirty.services.add(task.service);
	model.count(dirty.services);
	board.update(dirty);
	services.update(dirty);
	summarise();
	panel.refresh();
}

function summarise() {
	const nodes = [...model.nodes.values()], ready = nodes.filter((node) => node.state === NODE.READY).length;
	const { running, want: wanted } = model.sum;
	fill(byId("summary"),
		el("span", { "data-kind": ready < nodes.length ? "bad" : null }, el("b", {}, `${count(ready)}/${count(nodes.length)}`), " nodes"),
		el("span", {}, el("b", {}, count(model.services.size)), model.services.size === 1 ? " service" : " services"),
		el("span", { "data-kind": running < wanted ? "warn" : null }, el("b", {}, `${count(running)}/${count(wanted)}`), " tasks run"));
	document.title = ready < nodes.length ? `${plural(nodes.length - ready, "node")} down · Skein` : running < wanted ? `${count(running)}/${count(wanted)} · Skein` : "Skein";
	announce(ready, nodes.length, running, wanted);
}

// Said aloud by screen readers, not more often than one can listen to.
let told = "", tellTimer = 0;
function announce(ready, nodes, running, wanted) {
	const text = `${ready} of ${nodes} nodes ready, ${running} of ${wanted} tasks run`;
	if (text === told || tellTimer || !model.whole) return;
	tellTimer = setTimeout(() => {
		tellTimer = 0;
		setText(byId("told"), (told = text));
	}, 4000);
}

// ---------------------------------------------------------------- choosing

function openTask(id, opener) {
	panel.show("task", id, opener);
	plots.look();
}
function openNode(id, opener) {
	panel.show("node", id, opener);
	plots.look();
}
function openService(id, opener) {
	choose(id);
	panel.show("service", id, opener);
}
function toggleService(id, opener) {
	if (services.chosen === id) return closePanel();
	openService(id, opener);
}
function choose(id) {
	services.choose(id);
	board.setService(id);
}
function closePanel() {
	panel.close();
	choose("");
}

function filter(text) {
	board.setFilter(text);
	services.setFilter(text);
}

// ---------------------------------------------------------------- keys

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = [
	["← ↑ → ↓", "from tile to tile, and along the services"], ["Enter", "open what has the focus"], ["Esc", "close, then clear the filter"],
	["/", "filter by name, address or id"], ["?", "this list"],
];

function onKey(event) {
	const target = event.target, typing = target.matches("input");
	if (byId("app").hidden || byId("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
	if (event.key === "Escape") {
		if (panel.open) closePanel();
		else if (byId("search").value) filter((byId("search").value = ""));
		else if (typing) target.blur();
		else return;
		event.preventDefault();
	} else if (typing) {
		return;
	} else if (event.key === "/") {
		byId("search").focus();
		byId("search").select();
		event.preventDefault();
	} else if (event.key === "?") {
		showHelp();
		event.preventDefault();
	} else if (ARROWS[event.key] && target.closest(".board") && target.tagName === "BUTTON") {
		board.move(target, ...ARROWS[event.key]);
		event.preventDefault();
	}
}

function showHelp() {
	const dialog = byId("help");
	fill(dialog, el("form", { method: "dialog" }, el("header", {}, el("h2", { id: "help-title" }, "Keys and colours"), el("button", { class: "quiet close", "aria-label": "Close (Esc)" }, "×")),
		el("dl", { class: "keys" }, KEYS.flatMap(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)])),
		el("ul", { class: "legend" }, legend())));
	dialog.showModal();
}

// ---------------------------------------------------------------- begin

byId("sign-in").addEventListener("submit", signIn);
byId("sign-out").addEventListener("click", signOut);
byId("help-open").addEventListener("click", showHelp);
byId("search").addEventListener("input", (event) => filter(event.target.value));
document.addEventListener("keydown", onKey);
addEventListener("online", () => stream.hurry());

// A browser has six connections to a manager, for all its tabs: those that nobody sees keep none of them.
let hidden = 0;
document.addEventListener("visibilitychange", () => {
	clearTimeout(hidden);
	if (byId("app").hidden) return;
	if (document.hidden) {
		panel.rest();
		plots.stop();
		hidden = setTimeout(() => stream.stop(), HIDDEN_MS);
	} else {
		stream.start();
		stream.hurry();
		panel.goOn();
		plots.look();
		renderSoon();
	}
});

board.sayEmpty(0, 0);
if (session.key) showApp();
else showGate();
