// The cluster as the stream tells it. Numbers in the stream are short names of nodes and services; they mean nothing after
// a reset, so everything here is found by id.

import { byName } from "./dom.js";
import { TASK } from "./states.js";

export class Model {
	constructor() {
		this.nodes = new Map();
		this.services = new Map();
		this.tasks = new Map();
		this.homeless = new Set(); // tasks that no node has
		this.whole = false;     // the first snapshot is complete
		this.numbers = new Map();
		this.unknown = new Map(); // number of a node or service that was not told yet -> tasks that wait for it
		this.stale = null;      // ids that a new snapshot has not confirmed yet
		this.dirty = { nodes: new Set(), services: new Set(), order: false };
	}

	// ---- from the stream

	reset() {
		this.numbers.clear();
		this.unknown.clear();
		this.stale = new Set([...this.nodes.keys(), ...this.services.keys(), ...this.tasks.keys()]);
	}

	apply(batch) {
		for (const node of batch.nodes || []) this.putNode(node);
		for (const service of batch.services || []) this.putService(service);
		for (const task of batch.tasks || []) this.putTask(task);
		for (const [kind, id, last] of batch.gone || []) this.drop(kind, id, last);
	}

	get partial() {
		return !this.whole || this.stale !== null;
	}

	complete() {
		for (const id of this.stale || []) {
			this.drop("task", id);
			this.drop("service", id);
			this.drop("node", id);
		}
		this.stale = null;
		this.whole = true;
	}

	named(num, id) {
		this.numbers.set(num, id);
		const waiting = this.unknown.get(num);
		this.unknown.delete(num);
		for (const fields of waiting || []) this.putTask(fields);
	}

	putNode(told) {
		const node = { state: 0, availability: 0, role: 0, address: "", message: "", name: told.id, ...told };
		const had = this.nodes.get(node.id);
		this.nodes.set(node.id, node);
		node.tasks = had ? had.tasks : new Set();
		if (!had || had.name !== node.name) this.dirty.order = true;
		this.touchNode(node.id);
		this.confirm(node.id);
		this.named(told.n, node.id);
	}

	putService(told) {
		const service = { want: 0, image: "", name: told.id, ...told };
		const had = this.services.get(service.id);
		this.services.set(service.id, service);
		service.tasks = had ? had.tasks : new Set();
		this.touchService(service.id);
		if (had && had.name !== service.name)
			for (const task of service.tasks) this.touchNode(task.node);
		this.confirm(service.id);
		this.named(told.n, service.id);
	}

	putTask(fields) {
		const [id, serviceNum, nodeNum, slot, state, desired, since, text = ""] = fields;
		for (const num of [serviceNum, nodeNum]) {
			if (num && !this.numbers.has(num)) {
				if (!this.unknown.has(num)) this.unknown.set(num, []);
				this.unknown.get(num).push(fields);
				return;
			}
		}
		const service = this.numbers.get(serviceNum) || "", node = this.numbers.get(nodeNum) || "";
		const had = this.tasks.get(id);
		const task = had || { id };
		if (had) this.unlink(had);
		Object.assign(task, { service, node, slot, state, desired, since, text, key: `${service}/${slot || node}` });
		this.tasks.set(id, task);
		this.services.get(service)?.tasks.add(task);
		(this.nodes.get(node)?.tasks || this.homeless).add(task);
		this.touchNode(node);
		this.touchService(service);
		this.confirm(id);
	}

	drop(kind, id, last = 0) {
		const map = { node: this.nodes, service: this.services, task: this.tasks }[kind];
		const object = map?.get(id);
		if (!object) return;
		if (kind === "task") {
			this.unlink(object);
			object.last = last;
			this.touchService(object.service);
		} else {
			this.dirty.order = true;
		}
		map.delete(id);
		if (kind === "node") this.touchNode(id);
		if (kind === "service") this.touchService(id);
	}

	unlink(task) {
		this.services.get(task.service)?.tasks.delete(task);
		this.nodes.get(task.node)?.tasks.delete(task);
		this.homeless.delete(task);
		this.touchNode(task.node);
	}

	confirm(id) {
		this.stale?.delete(id);
	}

	// "" are the tasks without a node.
	touchNode(id) {
		this.dirty.nodes.add(id);
	}
	touchService(id) {
		this.dirty.services.add(id);
	}

	// What changed since the last call.
	takeDirty() {
		const dirty = this.dirty;
		this.dirty = { nodes: new Set(), services: new Set(), order: false };
		return dirty;
	}

	// ---- to the page

	sortedNodes() {
		return [...this.nodes.values()].sort((a, b) => byName(a.name, b.name) || byName(a.id, b.id));
	}
	sortedServices() {
		return [...this.services.values()].sort((a, b) => byName(a.name, b.name));
	}
	sortTasks(tasks) {
		return [...tasks].sort((a, b) => byName(this.serviceName(a), this.serviceName(b)) || a.slot - b.slot || a.since - b.since);
	}
	// Also of a service that has just been removed while its tasks still stop.
	serviceName(task) {
		task.called = this.services.get(task.service)?.name || task.called;
		return task.called || "?";
	}
	nodeName(id) {
		return this.nodes.get(id)?.name || "";
	}
	// "web.3"; a global service has one task per node.
	taskName(task) {
		return `${this.serviceName(task)}.${task.slot || this.nodeName(task.node) || "?"}`;
	}
	waiting() {
		return [...this.homeless].filter((task) => !task.node);
	}

	// Count again what has changed; then every service has its numbers in `tally`, and the cluster in `sum`.
	count(ids) {
		for (const id of ids) {
			const service = this.services.get(id);
			if (service) service.tally = this.countService(service);
		}
		this.sum = { running: 0, want: 0 };
		for (const service of this.services.values()) {
			this.sum.running += service.tally?.running || 0;
			this.sum.want += service.want;
		}
	}

	// Tasks of a service: how many run, are on their way up, ended badly.
	countService(service) {
		const n = { running: 0, starting: 0, failed: 0, waiting: 0, stopping: 0 };
		for (const task of service.tasks) {
			const node = this.nodes.get(task.node);
			if (task.state > TASK.RUNNING) n.failed += task.state >= TASK.FAILED ? 1 : 0;
			else if (task.desired > TASK.RUNNING) n.stopping++;
			else if (task.state === TASK.RUNNING && (!node || node.state === 2)) n.running++;
			else if (task.node) n.starting++;
			else n.waiting++;
		}
		return n;
	}
}
