// What is known of one task, node or service, beside the board.

import { ago, byId, bytes, cores, count, el, fill, lasting, moment, plural, setText } from "./dom.js";
import { LogView } from "./log.js";
import { shortImage } from "./services.js";
import { SignedOut, askJson } from "./stream.js";
import { TASK, lookOf, looks, nodeTrouble, stateName, stateText, updateOf } from "./states.js";

const facts = (rows) => {
	const list = el("dl", { class: "facts" });
	for (const [name, value] of rows)
		if (value !== null && value !== undefined && value !== "" && value !== false) list.append(el("dt", {}, name), el("dd", {}, ...[value].flat()));
	return list;
};
const code = (text) => (text ? el("code", {}, text) : null);
const when = (at, form = "ago") => (at ? el("time", { title: moment(at), datetime: new Date(at).toISOString(), "data-form": form }, form === "ago" ? ago(at) : lasting(at)) : null);
const labels = (list) => (list?.length ? el("ul", { class: "labels" }, list.map(([key, value]) => el("li", {}, el("code", {}, value ? `${key}=${value}` : key)))) : null);
const resources = (r) => (r && (r.cpu || r.mem || r.pids) ? [r.cpu && `${cores(r.cpu)} CPU`, r.mem && bytes(r.mem), r.pids && `${count(r.pids)} pids`].filter(Boolean).join(" · ") : null);
const part = (title, ...content) => el("section", { class: "part" }, el("h3", {}, title), content);

export class Panel {
	constructor(model, { onService, onTask, onNode, onClose, onSignedOut }) {
		this.model = model;
		this.on = { onService, onTask, onNode, onClose, onSignedOut };
		this.root = byId("panel");
		this.shown = null;
		this.root.addEventListener("click", (event) => {
			const link = event.target.closest("[data-go]");
			if (link) this.on[link.dataset.go](link.dataset.id, link);
		});
		setInterval(() => this.refreshTimes(), 15000);
	}

	get open() {
		return this.shown !== null;
	}

	show(kind, id, opener) {
		this.log?.stop();
		this.log = null;
		this.shown = { kind, id, opener: opener || this.shown?.opener, seen: "" };
		this.title = el("h2", { id: "panel-title", tabindex: -1 });
		this.state = el("p", { class: "panel-state" });
		this.body = el("div", { class: "panel-body" });
		this.detail = el("div", { class: "panel-detail" }, el("p", { class: "soft" }, "Reading…"));
		const close = el("button", { type: "button", class: "quiet close", "aria-label": "Close (Esc)", on: { click: () => this.on.onClose() } }, "×");
		fill(this.root, el("header", { class: "panel-head" }, el("p", { class: "panel-kind" }, kind), this.title, close, this.state), this.body);
		this.root.hidden = false;
		this.root.dataset.kind = kind;
		document.body.classList.add("with-panel");
		this.usage = el("div", { class: "plots" });
		fill(this.body, this.usage, this.detail);
		if (kind === "task") {
			this.log = new LogView(id, this.on.onSignedOut);
			this.body.append(part("Log", this.log.element));
		}
		this.refresh(true);
		this.title.focus({ preventScroll: true });
	}

	// Nobody looks: no connection is held for that.
	rest() {
		this.log?.stop();
	}
	goOn() {
		this.log?.goOn();
	}

	close() {
		if (!this.open) return;
		const { opener } = this.shown;
		this.log?.stop();
		this.log = null;
		this.shown = null;
		this.root.hidden = true;
		fill(this.root);
		document.body.classList.remove("with-panel");
		if (opener?.isConnected) opener.focus({ preventScroll: true });
	}

	// The board knows first; what it does not know is asked for when what it knows has changed.
	refresh(ask) {
		if (!this.open) return;
		const { kind, id } = this.shown;
		const object = { task: this.model.tasks, node: this.model.nodes, service: this.model.services }[kind].get(id);
		const seen = object ? JSON.stringify({ ...object, tasks: null }) : "gone";
		this[kind + "Head"](object);
		if (!ask && seen === this.shown.seen) return;
		this.shown.seen = seen;
		this.ask(kind, id);
	}

	async ask(kind, id) {
		const turn = (this.turn = {});
		try {
			const detail = await askJson(`${kind}?id=${encodeURIComponent(id)}`);
			if (this.turn === turn && this.shown?.id === id) fill(this.detail, this[kind + "Detail"](detail));
		} catch (error) {
			if (error instanceof SignedOut) return this.on.onSignedOut();
			if (this.turn === turn && this.shown?.id === id && !this.detail.querySelector(".part, .facts"))
				fill(this.detail, el("p", { class: "soft" }, error.message));
		}
	}

	refreshTimes() {
		for (const time of this.root.querySelectorAll("time[datetime]")) setText(time, (time.dataset.form === "ago" ? ago : lasting)(Date.parse(time.dateTime)));
	}

	link(go, id, text) {
		return id && text ? el("button", { type: "button", class: "link", "data-go": go, "data-id": id }, text) : text || null;
	}

	// ---- task

	taskHead(task) {
		if (!task) {
			if (!this.title.textContent) setText(this.title, "Task");
			fill(this.state, el("span", { class: "chip", "data-kind": "quiet" }, "Gone"));
			return;
		}
		const node = this.model.nodes.get(task.node), look = lookOf(task, node);
		setText(this.title, this.model.taskName(task));
		fill(this.state, el("span", { class: "tile sample", "data-look": look }, el("span", { class: "tile-sign" })),
			el("span", { class: "panel-look" }, looks[look]),
			el("span", { class: "soft" }, stateText(task, node) === looks[look].toLowerCase() ? null : stateText(task, node) + " ", when(task.since, "for")));
	}

	taskDetail(d) {
		const task = this.model.tasks.get(d.id), failed = d.error || (d.exit ? `exit code ${d.exit}` : "");
		return [
			failed ? el("p", { class: "trouble" }, failed) : null,
			facts([
				["Service", task ? this.link("onService", task.service, this.model.serviceName(task)) : null],
				["Node", task ? this.link("onNode", task.node, this.model.nodeName(task.node)) : d.node],
				["Image", code(shortImage(d.image || ""))],
				["Health", this.health(d.health)],
				["Addresses", d.addresses?.length ? d.addresses.map(([network, address]) => el("span", { class: "line" }, code(address), el("span", { class: "soft" }, " " + network))) : null],
				["Limits", resources(d.limits)],
				["Labels", labels(d.labels)],
				["Made", when(d.created)],
				["Task", code(d.id)],
			]),
			part("History", el("ol", { class: "history" }, d.history.map((entry) => this.historyEntry(entry, d.id)))),
		];
	}

	health(h) {
		const text = h && ["", "first check to come", "healthy", "unhealthy"][h.state];
		if (!text) return null;
		return [el("span", { class: "line" }, text, h.streak ? `, ${plural(h.streak, "failure")} in a row` : "", " ", el("span", { class: "soft" }, when(h.at))),
			h.streak && h.output ? el("span", { class: "line why" }, h.output) : null];
	}

	historyEntry(entry, present) {
		const look = lookOf(entry, null), why = entry.error || (entry.exit ? `exit code ${entry.exit}` : "");
		return el("li", { "data-look": look, class: entry.id === present ? "present" : null },
			el("span", { class: "tile sample", "data-look": look }, el("span", { class: "tile-sign" })),
			el("div", {}, el("p", {}, el("b", {}, stateName(entry.state)), entry.node ? ` on ${entry.node}` : "", " ", el("span", { class: "soft" }, when(entry.since))),
				why ? el("p", { class: "why" }, why) : null));
	}

	// ---- node

	nodeHead(node) {
		const trouble = node && nodeTrouble(node);
		if (!node) return fill(this.state, el("span", { class: "chip", "data-kind": "quiet" }, "Removed"));
		setText(this.title, node.name);
		return fill(this.state, trouble ? el("span", { class: "chip", "data-kind": trouble.kind }, trouble.text) : el("span", { class: "chip", "data-kind": "ok" }, "Ready"),
			el("span", { class: "soft" }, node.message || (node.leads ? "leads the managers" : node.role === 1 ? "manager" : "worker"), node.since ? " · " : "", when(node.since, "for")));
	}

	nodeDetail(d) {
		const node = this.model.nodes.get(d.id);
		return [facts([
			["Address", code(node?.address)],
			["Manager", code(d.manager)],
			["Tasks", node ? plural(node.tasks.size, "task") : null],
			["Capacity", resources(d.capacity)],
			["Reserved", resources(d.reserved) || "nothing"],
			["Images", String(d.images ?? 0)],
			["Labels", labels(d.labels)],
			["System", [d.os, d.kernel, d.arch].filter(Boolean).join(" · ")],
			["Agent", d.version],
			["Certificate", d.certificate ? `until ${moment(d.certificate)}` : null],
			["Joined", when(d.created)],
			["Node", code(d.id)],
		])];
	}

	// ---- service

	serviceHead(service) {
		if (!service) return fill(this.state, el("span", { class: "chip", "data-kind": "quiet" }, "Removed"));
		const n = service.tally || this.model.countService(service), update = updateOf(service);
		setText(this.title, service.name);
		return fill(this.state, update ? el("span", { class: "chip", "data-kind": update.kind }, update.text) : null,
			el("span", {}, `${count(n.running)} of ${count(service.want)} run`),
			el("span", { class: "soft" }, [n.starting && `${count(n.starting)} starting`, n.waiting && `${count(n.waiting)} waiting`, n.stopping && `${count(n.stopping)} stopping`, n.failed && `${count(n.failed)} failed`].filter(Boolean).join(" · ")));
	}

	serviceDetail(d) {
		const service = this.model.services.get(d.id);
		const troubled = service ? this.model.sortTasks(service.tasks).filter((task) => task.text || task.state > TASK.RUNNING).slice(0, 20) : [];
		return [
			service?.update?.message ? el("p", { class: "soft" }, service.update.message) : null,
			facts([
				["Image", code(shortImage(service?.image || ""))],
				["Digest", code(d.digest)],
				["Mode", service ? (service.global ? "one task on every node" : plural(service.want, "replica")) : null],
				["Ports", d.ports?.length ? d.ports.map(([published, target, protocol, mode]) => el("span", { class: "line" }, code(`${published} → ${target}/${protocol}`), mode === "host" ? el("span", { class: "soft" }, " on the host") : null)) : null],
				["Networks", d.networks?.join(", ")],
				["Constraints", d.constraints?.length ? d.constraints.map((text) => el("span", { class: "line" }, code(text))) : null],
				["Reserves", resources(d.reservations)],
				["Limits", resources(d.limits)],
				["Labels", labels(d.labels)],
				["Changed", when(d.updated)],
				["Service", code(d.id)],
			]),
			troubled.length ? part("Needs a look", el("ul", { class: "history" }, troubled.map((task) => el("li", {},
				el("span", { class: "tile sample", "data-look": lookOf(task, null) }, el("span", { class: "tile-sign" })),
				el("div", {}, el("p", {}, this.link("onTask", task.id, this.model.taskName(task)), ` ${stateName(task.state)}`), task.text ? el("p", { class: "why" }, task.text) : null))))) : null,
		];
	}
}

