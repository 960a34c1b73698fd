// The end of a task's log, and what comes after it.

import { clock, el, setText } from "./dom.js";
import { Stream } from "./stream.js";

const LINES_MAX = 2000;

// What programs send to colour a terminal; other control characters are shown as a dot.
const plain = (text) => text.replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])/g, "").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "·");

export class LogView {
	constructor(task, onSignedOut) {
		this.lines = el("div", { class: "log-lines" });
		this.note = el("p", { class: "log-note soft" }, "Reading…");
		this.element = el("div", { class: "log", tabindex: 0, role: "log", "aria-label": "Log", "aria-live": "off" }, this.lines, this.note);
		this.stream = new Stream(`log?task=${encodeURIComponent(task)}`, {
			event: (type, data) => this.add(data),
			state: (name, why) => {
				if (name === "signed-out") return onSignedOut();
				if (name === "live") this.say(this.lines.childElementCount ? "" : "Nothing was printed yet.");
				else if (name === "broken") this.say(`Interrupted: ${why}. Trying again…`);
				else if (name === "ended") (this.ended = true), this.say(why || (this.lines.childElementCount ? "End of the log." : "Nothing was printed."));
			},
		}).start();
	}

	stop() {
		this.stream.stop();
	}
	// Where it was; not when it has ended.
	goOn() {
		if (!this.ended) this.stream.start();
	}
	say(text) {
		setText(this.note, text);
		this.note.hidden = text === "";
	}

	add(batch) {
		const log = this.element, atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
		const lines = (batch.lines || []).map(([at, stream, text, cut]) =>
			el("div", { class: stream === 1 ? "log-line err" : "log-line" }, el("time", { class: "log-time" }, clock(at)),
				stream === 1 ? el("span", { class: "log-err" }, "err") : null, el("span", { class: "log-text" }, plain(text) + (cut ? "…" : ""))));
		this.lines.append(...lines);
		while (this.lines.childElementCount > LINES_MAX) this.lines.firstElementChild.remove();
		this.say(batch.warning || (this.lines.childElementCount ? "" : "Nothing was printed yet."));
		if (atEnd) log.scrollTop = log.scrollHeight;
	}
}
