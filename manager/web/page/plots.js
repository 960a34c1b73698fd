// Small plots of CPU and memory: of the nodes on the screen, and of the node and task in the panel. Where a node tells nothing
// there is no plot.

import { bytes, el, fill, setText, svg } from "./dom.js";
import { Stream } from "./stream.js";

const SAMPLES = 60, NODES_MAX = 64, SETTLE_MS = 500;
const W = 120, H = 24;

// The samples' line from right to left, `top` being the height of the plot.
function outline(samples, top) {
	return samples.map((value, i) => `${(W - (samples.length - 1 - i) * (W / (SAMPLES - 1))).toFixed(1)},${(H - 1 - (Math.min(value / top, 1) * (H - 3))).toFixed(1)}`);
}

class Plot {
	constructor(name) {
		this.value = el("b", {});
		this.line = svg("path", { class: "plot-line" });
		this.area = svg("path", { class: "plot-area" });
		this.element = el("div", { class: "plot" }, el("span", {}, name), this.value,
			svg("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", "aria-hidden": "true" },
				svg("line", { class: "plot-floor", x1: 0, x2: W, y1: H - 0.5, y2: H - 0.5 }), this.area, this.line));
	}
	// A whole that is mostly unused would make every line flat: the plot is as high as the largest sample needs, but noise stays small.
	draw(samples, text, whole) {
		const points = outline(samples, Math.max(whole * 0.1, Math.max(...samples) * 1.15, 1));
		setText(this.value, text);
		this.line.setAttribute("d", "M" + points.join("L"));
		this.area.setAttribute("d", `M${points[0].split(",")[0]},${H}L${points.join("L")}L${W},${H}Z`);
	}
}

class Pair {
	constructor(root) {
		this.cpu = new Plot("CPU");
		this.mem = new Plot("Mem");
		fill(root, this.cpu.element, this.mem.element);
	}
	draw(history, cpuWhole, memWhole) {
		const cpu = history.cpu.at(-1), mem = history.mem.at(-1);
		// Of the whole node, or of one core.
		const percent = (100 * cpu) / (cpuWhole || 1e9);
		this.cpu.draw(history.cpu, `${percent < 9.95 ? percent.toFixed(1) : Math.round(percent)} %`, cpuWhole || 1e9);
		this.mem.draw(history.mem, memWhole ? `${bytes(mem)} of ${bytes(memWhole)}` : bytes(mem), memWhole || mem);
		this.mem.element.title = this.mem.value.textContent;
		setText(this.mem.value, bytes(mem));
	}
}

export class Plots {
	constructor(model, board, panel) {
		Object.assign(this, { model, board, panel });
		this.history = new Map(); // id of a node or task -> the newest samples
		this.pairs = new WeakMap();
		this.asked = "";
	}

	// What is on the screen has changed: ask for that, when it has settled.
	look() {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.track(), SETTLE_MS);
	}
	stop() {
		clearTimeout(this.timer);
		this.stream?.stop();
		this.asked = "";
	}

	track() {
		if (document.hidden) return; // asked again when it is seen
		const { kind, id } = this.panel.shown || {};
		const nodes = this.board.root.classList.contains("dense") ? [] : this.board.nearNodes().map((card) => card.id);
		const inPanel = kind === "node" ? id : kind === "task" ? this.model.tasks.get(id)?.node : "";
		const ids = [...new Set([inPanel, ...nodes])].filter((node) => this.model.nodes.has(node)).slice(0, NODES_MAX).sort().join(",");
		if (ids === this.asked) return;
		this.stream?.stop();
		this.asked = ids;
		if (!ids) return;
		this.stream = new Stream(`usage?nodes=${ids}`, { event: (type, sample) => this.onSample(sample), state: () => {} }).start();
	}

	add(id, cpu, mem) {
		let history = this.history.get(id);
		if (!history) this.history.set(id, (history = { cpu: [], mem: [] }));
		history.cpu.push(cpu);
		history.mem.push(mem);
		if (history.cpu.length > SAMPLES) history.cpu.shift(), history.mem.shift();
		return history;
	}

	onSample([id, cpu, mem, tasks]) {
		const node = this.model.nodes.get(id), card = this.board.cards.get(id);
		if (!node) return;
		const history = this.add(id, cpu, mem);
		if (card) this.draw(card.plots, history, node.cpu, node.mem);
		for (const [task, taskCpu, taskMem, limit] of tasks) this.add(task, taskCpu, taskMem).limit = limit;
		const { kind, id: shown } = this.panel.shown || {};
		if (kind === "node" && shown === id) this.draw(this.panel.usage, history, node.cpu, node.mem);
		const ofTask = kind === "task" && tasks.some(([task]) => task === shown) ? this.history.get(shown) : null;
		if (ofTask) this.draw(this.panel.usage, ofTask, 0, ofTask.limit);
		if (this.history.size > 4000) this.forget();
	}
	forget() {
		for (const known of this.history.keys()) if (!this.model.nodes.has(known) && !this.model.tasks.has(known)) this.history.delete(known);
	}

	draw(root, history, cpuWhole, memWhole) {
		if (!this.pairs.has(root)) this.pairs.set(root, new Pair(root));
		this.pairs.get(root).draw(history, cpuWhole, memWhole);
	}
}
