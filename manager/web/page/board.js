// Nodes as columns, their tasks as tiles. A card makes its tiles only while it is near the window: a cluster of thousands
// of nodes costs what can be seen.

import { byId, count, el, fill, order, plural, setAttr, setText } from "./dom.js";
import { Flight } from "./flight.js";
import { lookOf, looks, nodeTrouble, stateText } from "./states.js";

const COMPACT_NODES = 36, COMPACT_TILES = 36; // from here on tiles are small squares without a name
const STILL_NODES = 200; // and from here on they do not fly: measuring would cost more than all the rest
const WAITING_MAX = 24; // of many the first tell enough
const PATIENCE_MS = 1500;

export class Board {
	constructor(model, { onTask, onNode }) {
		this.model = model;
		this.on = { onTask, onNode };
		this.cards = new Map();
		this.root = byId("nodes");
		this.strip = byId("waiting");
		this.flight = new Flight();
		this.filter = "";
		this.service = "";
		this.seen = new IntersectionObserver((entries) => this.onSeen(entries), { rootMargin: "400px 0px" });
		this.root.addEventListener("click", (event) => this.onClick(event));
		this.strip.addEventListener("click", (event) => this.onClick(event));
	}

	// ---- what is shown

	matches(node) {
		if (!this.filter) return true;
		if (`${node.name} ${node.address} ${node.id}`.toLowerCase().includes(this.filter)) return true;
		return [...node.tasks].some((task) => this.taskMatches(task));
	}
	taskMatches(task) {
		return !this.filter || `${this.model.taskName(task)} ${task.id} ${this.model.nodeName(task.node)}`.toLowerCase().includes(this.filter);
	}

	setFilter(text) {
		this.filter = text.trim().toLowerCase();
		this.all();
	}
	// Tiles of other services step back.
	setService(id) {
		this.service = id;
		this.root.classList.toggle("choosing", id !== "");
		this.strip.classList.toggle("choosing", id !== "");
		for (const card of this.cards.values()) for (const tile of card.tiles.values()) this.markChosen(tile);
		for (const tile of this.strip.querySelectorAll(".tile")) this.markChosen(tile);
	}
	markChosen(tile) {
		tile.classList.toggle("chosen", this.service !== "" && tile.task.service === this.service);
	}

	all() {
		this.update({ nodes: new Set([...this.model.nodes.keys(), ""]), order: true });
	}

	// ---- rendering

	update(dirty) {
		const cards = [...dirty.nodes].map((id) => this.cards.get(id)).filter(Boolean);
		const tiles = this.cards.size > STILL_NODES ? [] : cards.flatMap((card) => [...card.tiles.values()]).concat([...this.strip.querySelectorAll(".tile")]);
		this.flight.before(tiles);
		if (dirty.order) this.arrange();
		for (const id of dirty.nodes) {
			const node = this.model.nodes.get(id), card = this.cards.get(id);
			if (node && card) this.renderCard(card, node);
		}
		if (dirty.nodes.has("")) this.renderWaiting();
		this.cards.size > STILL_NODES ? this.flight.settle() : this.flight.after();
		this.keepOneStop();
	}

	arrange() {
		const nodes = this.model.sortedNodes();
		const shown = nodes.filter((node) => this.matches(node));
		this.root.classList.toggle("dense", nodes.length > COMPACT_NODES);
		this.root.classList.toggle("few", shown.length <= 3);
		for (const [id, card] of this.cards) {
			if (this.model.nodes.has(id)) continue;
			this.seen.unobserve(card.element);
			this.cards.delete(id);
		}
		const elements = shown.map((node) => (this.cards.get(node.id) || this.makeCard(node)).element);
		order(this.root, elements);
		this.sayEmpty(nodes.length, shown.length);
	}

	sayEmpty(all, shown) {
		const note = byId("no-nodes");
		note.hidden = shown > 0;
		if (!this.model.whole) setText(note, "Reading the cluster…");
		else setText(note, all ? `No node or task matches “${this.filter}”.` : "No nodes yet.");
	}

	makeCard(node) {
		const card = { id: node.id, tiles: new Map(), near: false };
		card.name = el("span", { class: "node-name" });
		card.marks = el("span", { class: "node-marks" });
		card.trouble = el("span", { class: "chip", hidden: true });
		card.where = el("span", { class: "node-where" });
		card.total = el("span", { class: "node-total" });
		card.plots = el("div", { class: "plots" });
		card.title = el("button", { class: "node-title", type: "button", tabindex: -1 }, card.name, card.marks, card.trouble, card.total, card.where);
		card.tilesElement = el("div", { class: "tiles", role: "group" });
		card.element = el("article", { class: "node" }, card.title, card.plots, card.tilesElement);
		card.title.nodeId = node.id;
		card.element.card = card;
		this.cards.set(node.id, card);
		this.seen.observe(card.element);
		this.renderCard(card, node);
		return card;
	}

	renderCard(card, node) {
		const trouble = nodeTrouble(node);
		setText(card.name, node.name);
		setText(card.marks, node.leads ? "leader" : node.role === 1 ? "manager" : "");
		card.trouble.hidden = !trouble;
		if (trouble) {
			setText(card.trouble, trouble.text);
			setAttr(card.trouble, "data-kind", trouble.kind);
		}
		setText(card.where, node.address);
		setText(card.total, node.tasks.size ? count(node.tasks.size) : "");
		setAttr(card.element, "data-kind", trouble ? trouble.kind : "ok");
		setAttr(card.title, "title", node.message || null);
		setAttr(card.title, "aria-label", `Node ${node.name}${trouble ? ", " + trouble.text : ""}, ${plural(node.tasks.size, "task")}`);
		setAttr(card.tilesElement, "aria-label", `Tasks on ${node.name}`);
		card.element.classList.toggle("compact", node.tasks.size > COMPACT_TILES);
		this.renderTiles(card, node);
	}

	renderTiles(card, node) {
		const tasks = card.near ? this.model.sortTasks(node.tasks).filter((task) => this.taskMatches(task) || this.nodeMatches(node)) : [];
		const kept = new Set(tasks.map((task) => task.id));
		for (const [id, tile] of card.tiles) {
			if (kept.has(id)) continue;
			card.tiles.delete(id);
			this.leave(tile, card.near);
		}
		const tiles = tasks.map((task) => {
			let tile = card.tiles.get(task.id);
			if (!tile) card.tiles.set(task.id, (tile = this.makeTile(task)));
			this.renderTile(tile, task, node);
			return tile;
		});
		order(card.tilesElement, tiles);
		if (!card.near) card.tilesElement.style.setProperty("--tasks", node.tasks.size);
		card.tilesElement.classList.toggle("unmade", !card.near);
	}
	nodeMatches(node) {
		return `${node.name} ${node.address} ${node.id}`.toLowerCase().includes(this.filter);
	}

	leave(tile, animate) {
		const task = this.model.tasks.get(tile.task.id);
		if (tile === document.activeElement) this.focusNear(tile);
		if (animate && !task) this.flight.leaves(tile, tile.task.last);
		tile.remove();
	}

	makeTile(task) {
		const tile = el("button", { class: "tile", type: "button", tabindex: -1 },
			el("span", { class: "tile-sign", "aria-hidden": true }), el("span", { class: "tile-name" }), el("span", { class: "tile-slot" }));
		tile.task = task;
		this.flight.arrives(tile, task.key);
		return tile;
	}

	renderTile(tile, task, node) {
		const look = lookOf(task, node), [, name, slot] = tile.children;
		const label = `${this.model.taskName(task)}${node ? " on " + node.name : ""}: ${stateText(task, node)}${task.text ? ", " + task.text : ""}`;
		tile.task = task;
		setAttr(tile, "data-look", look);
		setAttr(tile, "aria-label", label);
		setAttr(tile, "title", label);
		setText(name, this.model.serviceName(task));
		setText(slot, task.slot ? String(task.slot) : "");
		this.markChosen(tile);
	}

	// ---- tasks that no node has yet

	renderWaiting() {
		const now = Date.now(), old = new Map([...this.strip.querySelectorAll(".tile")].map((tile) => [tile.task.id, tile]));
		const all = this.model.waiting();
		for (const task of all) task.seen ??= now;
		// Who gets a node in a moment is not worth moving the page for.
		const patient = all.filter((task) => old.has(task.id) || now - task.seen >= PATIENCE_MS);
		if (patient.length < all.length && !this.again)
			this.again = setTimeout(() => {
				this.again = 0;
				this.update({ nodes: new Set([""]), order: false });
			}, PATIENCE_MS);
		const tasks = this.model.sortTasks(patient).filter((task) => this.taskMatches(task));
		this.strip.hidden = tasks.length === 0;
		const tiles = tasks.slice(0, WAITING_MAX).map((task) => {
			const tile = old.get(task.id) || this.makeTile(task);
			this.renderTile(tile, task, null);
			return tile;
		});
		const reasons = [...new Set(tasks.map((task) => task.text).filter(Boolean))];
		fill(this.strip,
			el("h2", {}, `${plural(tasks.length, "task")} ${tasks.length === 1 ? "waits" : "wait"} for a node`),
			reasons.length ? el("p", { class: "soft" }, reasons[0] + (reasons.length > 1 ? `, and ${plural(reasons.length - 1, "other reason")}` : "")) : null,
			el("div", { class: "tiles", role: "group", "aria-label": "Tasks that wait for a node" }, tiles,
				tasks.length > WAITING_MAX ? el("span", { class: "soft more" }, `and ${count(tasks.length - WAITING_MAX)} more`) : null));
	}

	// ---- near the window or not

	onSeen(entries) {
		for (const { target, isIntersecting } of entries) {
			const card = target.card, node = this.model.nodes.get(card.id);
			if (card.near === isIntersecting) continue;
			card.near = isIntersecting;
			if (node) this.renderTiles(card, node);
		}
		this.flight.settle();
		this.keepOneStop();
		this.onNear?.();
	}
	nearNodes() {
		return [...this.cards.values()].filter((card) => card.near && card.element.isConnected);
	}

	// ---- choosing

	onClick(event) {
		const button = event.target.closest("button");
		if (!button) return;
		this.stopAt(button);
		if (button.task) this.on.onTask(button.task.id, button);
		else if (button.nodeId) this.on.onNode(button.nodeId, button);
	}
	stops() {
		return [...document.querySelectorAll(".board .tile, .board .node-title")];
	}
	stopAt(button) {
		if (this.stop && this.stop !== button) this.stop.tabIndex = -1;
		this.stop = button;
		button.tabIndex = 0;
	}
	// The board is one stop of the Tab key; arrows move inside.
	keepOneStop() {
		if (this.stop?.isConnected) return;
		const first = document.querySelector(".board .tile, .board .node-title");
		if (first) this.stopAt(first);
	}
	focusNear(tile) {
		const next = tile.nextElementSibling || tile.previousElementSibling || tile.closest(".node")?.querySelector(".node-title");
		if (!next || next.tagName !== "BUTTON") return;
		this.stopAt(next);
		next.focus({ preventScroll: true });
	}
	// The nearest one in the direction of an arrow key.
	move(from, dx, dy) {
		const here = from.getBoundingClientRect(), x = here.x + here.width / 2, y = here.y + here.height / 2;
		let best = null, least = Infinity;
		for (const stop of this.stops()) {
			if (stop === from) continue;
			const there = stop.getBoundingClientRect();
			const along = (there.x + there.width / 2 - x) * dx + (there.y + there.height / 2 - y) * dy;
			const across = dx ? gap(here.top, here.bottom, there.top, there.bottom) : gap(here.left, here.right, there.left, there.right);
			if (along < 4) continue;
			const cost = along + across * 6;
			if (cost < least) [least, best] = [cost, stop];
		}
		if (!best) return;
		this.stopAt(best);
		best.focus();
		best.scrollIntoView({ block: "nearest", inline: "nearest" });
	}
}

// Distance of two ranges; 0 when they overlap.
const gap = (a, b, c, d) => Math.max(0, c - b + 1, a - d + 1);

export function legend() {
	return Object.entries(looks).map(([look, text]) =>
		el("li", {}, el("span", { class: "tile sample", "data-look": look }, el("span", { class: "tile-sign" })), text));
}
