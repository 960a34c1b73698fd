// The list of services: how many tasks run and how many are wanted.

import { byId, count, el, order, setAttr, setText } from "./dom.js";
import { updateOf } from "./states.js";

// "docker.io/library/web:1@sha256:..." is known as "web:1".
export function shortImage(image) {
	return image.replace(/@sha256:[0-9a-f]+$/, "").replace(/^docker\.io\/(library\/)?/, "");
}

export class ServiceList {
	constructor(model, onService) {
		this.model = model;
		this.root = byId("services");
		this.rows = new Map();
		this.chosen = "";
		this.filter = "";
		this.root.addEventListener("click", (event) => {
			const button = event.target.closest("button");
			if (button) onService(button.serviceId, button);
		});
		this.root.addEventListener("keydown", (event) => this.onKey(event));
	}

	onKey(event) {
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (!step) return;
		const buttons = [...this.root.querySelectorAll("button")];
		const next = buttons[buttons.indexOf(document.activeElement) + step];
		if (next) next.focus();
		event.preventDefault();
	}

	choose(id) {
		this.chosen = id;
		for (const row of this.rows.values()) setAttr(row.button, "aria-pressed", String(row.button.serviceId === id));
	}
	setFilter(text) {
		this.filter = text.trim().toLowerCase();
		this.arrange();
	}

	update(dirty) {
		for (const id of dirty.services) {
			const service = this.model.services.get(id), row = this.rows.get(id);
			if (!service && row) {
				row.item.remove();
				this.rows.delete(id);
			} else if (service) {
				this.render(row || this.make(service), service);
			}
		}
		if (dirty.services.size) this.arrange();
	}

	arrange() {
		const services = this.model.sortedServices();
		const shown = services.filter((service) => !this.filter || `${service.name} ${service.image}`.toLowerCase().includes(this.filter) ||
			[...service.tasks].some((task) => `${this.model.taskName(task)} ${this.model.nodeName(task.node)}`.toLowerCase().includes(this.filter)));
		const items = shown.map((service) => this.rows.get(service.id)?.item).filter(Boolean);
		order(this.root, items);
		const note = byId("no-services");
		note.hidden = items.length > 0 || !this.model.whole;
		setText(note, services.length ? "No service matches." : "No services yet. clusterctl service create makes one.");
	}

	make(service) {
		const row = {};
		row.name = el("span", { class: "service-name" });
		row.image = el("span", { class: "service-image" });
		row.count = el("span", { class: "service-count" });
		row.note = el("span", { class: "service-note" });
		row.bar = el("span", { class: "service-bar", "aria-hidden": true }, el("i", { "data-look": "running" }), el("i", { "data-look": "starting" }), el("i", { "data-look": "failed" }));
		row.button = el("button", { type: "button", class: "service", "aria-pressed": "false" }, row.name, row.count, row.image, row.note, row.bar);
		row.item = el("li", {}, row.button);
		row.button.serviceId = service.id;
		setAttr(row.button, "aria-pressed", String(service.id === this.chosen));
		this.rows.set(service.id, row);
		return row;
	}

	render(row, service) {
		const n = service.tally, update = updateOf(service);
		const short = n.running < service.want;
		setText(row.name, service.name);
		setAttr(row.name, "title", service.name);
		setText(row.image, shortImage(service.image));
		setAttr(row.image, "title", service.image);
		setText(row.count, `${count(n.running)}/${count(service.want)}`);
		const note = update ? update.text : n.waiting ? `${count(n.waiting)} waiting` : n.failed && short ? `${count(n.failed)} failed` : service.global ? "on every node" : "";
		setText(row.note, note);
		setAttr(row.note, "data-kind", update ? update.kind : n.waiting || n.failed ? "bad" : null);
		setAttr(row.button, "data-kind", short ? "short" : "ok");
		setAttr(row.button, "aria-label", `Service ${service.name}: ${n.running} of ${service.want} tasks run${note ? ", " + note : ""}`);
		const all = Math.max(service.want, n.running + n.starting + n.failed, 1);
		for (const part of row.bar.children) part.style.width = `${(100 * n[part.dataset.look]) / all}%`;
	}
}
